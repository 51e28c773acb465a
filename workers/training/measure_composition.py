"""How often the composition is named as readers name it, and what the same densities say about malignancy."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from workers.evaluation.intervals import wilson
from workers.evaluation.roc import auc
from workers.networks.composition import Composition
from workers.training.card import Figure, Figures
from workers.training.composition import CONFIG, Seen, fit, fit_composition, kinds, logistic_weights
from workers.training.progress import Report
from workers.training.real import FOLDS, RealNodule, fold_of

SEED = 7
ROUNDS = 1000
MALIGNANT, UNDECIDED = 4, 3
"""Least rating that counts as malignant, and the rating of readers who cannot tell."""
ON = "LIDC nodules outlined by the segmenter, five folds by patient"


def measure_composition(nodules: Sequence[RealNodule], seen: Seen, report: Report) -> Figures:
    """Confusion of types and AUC of malignancy, each nodule by a model that never saw its patient."""
    patients = np.array([nodule.patient for nodule in nodules])
    folds = np.array([fold_of(patient) for patient in patients])
    figures = [*_types(kinds(nodules), _named(seen, kinds(nodules), folds), patients)]
    rating = np.array([nodule.malignancy for nodule in nodules])
    for told, note in ((rating != UNDECIDED, "without those rated 3"), (rating > 0, "those rated 3 as benign")):
        figures.extend(_malignancy(seen[told], rating[told] >= MALIGNANT, folds[told], patients[told], note))
    for one in figures:
        report(f"{one.name} {one.value:.3f} (n {one.n})")
    return tuple(figures)


def _named(seen: Seen, kind: NDArray[np.int64], folds: NDArray[np.int64]) -> NDArray[np.int64]:
    named = np.zeros(len(kind), np.int64)
    for fold in range(FOLDS):
        network = fit_composition(seen[folds != fold], kind[folds != fold])
        named[folds == fold] = network(torch.from_numpy(seen[folds == fold])).argmax(dim=1).numpy()
    return named


def _types(kind: NDArray[np.int64], named: NDArray[np.int64], patients: NDArray[np.str_]) -> list[Figure]:
    """Balanced accuracy and every cell of the confusion matrix."""
    interval = _interval(lambda rows: _balanced(kind[rows], named[rows]), patients)
    figures = [Figure("type, balanced accuracy", _balanced(kind, named), interval, len(kind), ON)]
    for true, truth in enumerate(CONFIG.types):
        for said, name in enumerate(CONFIG.types):
            hits, n = int(((kind == true) & (named == said)).sum()), int((kind == true).sum())
            figures.append(Figure(f"named {name} where readers say {truth}", hits / n, wilson(hits, n), n, ON))
    return figures


def _balanced(kind: NDArray[np.int64], named: NDArray[np.int64]) -> float:
    return float(np.mean([(named[kind == one] == one).mean() for one in np.unique(kind)]))


def _malignancy(
    seen: Seen, malignant: NDArray[np.bool_], folds: NDArray[np.int64], patients: NDArray[np.str_], note: str
) -> list[Figure]:
    """The readers' own opinion, not pathology: how well diameter alone tells it, and how well all densities do."""
    diameter, learned = seen[:, 0], np.zeros(len(seen), np.float32)
    for fold in range(FOLDS):
        network = Composition(replace(CONFIG, types=("benign", "malignant")))
        known, label = folds != fold, malignant.astype(np.int64)
        fit(network, seen[known], label[known], logistic_weights(label[known], 2))
        with torch.inference_mode():
            logits = network(torch.from_numpy(seen[~known]))
        learned[~known] = (logits[:, 1] - logits[:, 0]).numpy()

    def gain(rows: NDArray[np.int64]) -> float:
        return auc(learned[rows], malignant[rows]) - auc(diameter[rows], malignant[rows])

    n, every = len(seen), np.arange(len(seen))
    name = f"malignancy as readers rate it, {note}: AUC of"
    return [
        Figure(
            f"{name} the diameter alone", auc(diameter, malignant), _auc_interval(diameter, malignant, patients), n, ON
        ),
        Figure(f"{name} all densities", auc(learned, malignant), _auc_interval(learned, malignant, patients), n, ON),
        Figure(f"{name} all densities, less that of the diameter", gain(every), _interval(gain, patients), n, ON),
    ]


def _auc_interval(
    score: NDArray[np.float32], truth: NDArray[np.bool_], patients: NDArray[np.str_]
) -> tuple[float, float]:
    return _interval(lambda rows: auc(score[rows], truth[rows]), patients)


def _interval(value: Callable[[NDArray[np.int64]], float], patients: NDArray[np.str_]) -> tuple[float, float]:
    """95 % interval of a value of rows from resampling patients with all their nodules."""
    rng = np.random.default_rng(SEED)
    rows = [np.flatnonzero(patients == one) for one in np.unique(patients)]
    drawn = (rng.integers(len(rows), size=len(rows)) for _ in range(ROUNDS))
    values = [value(np.concatenate([rows[k] for k in chosen])) for chosen in drawn]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
