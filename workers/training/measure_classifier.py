"""What the second look adds on held-out nodules."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from workers.classify import combined_score, look
from workers.evaluation.froc import froc, sensitivity_at
from workers.evaluation.intervals import wilson
from workers.evaluation.matching import Matched, Scored, match
from workers.evaluation.roc import auc
from workers.networks.classifier import Classifier
from workers.networks.nodenet import NodeNet
from workers.networks.operating import OperatingPoint
from workers.networks.patches import Line, sample, validity
from workers.training.backgrounds import Background
from workers.training.card import Figure, Figures
from workers.training.compose import Bank
from workers.training.crowded import Chest, crowded, peaks_in
from workers.training.measure_detector import SEED, froc_figures
from workers.training.progress import Report
from workers.training.real import RealNodule
from workers.training.window import window

CLEAR_MM = 8.0
"""From a nodule's rim: what is nearer may be a part of it."""


@dataclass(frozen=True)
class Looked:
    """One candidate of the detector after a second look."""

    center_xyz: tuple[float, float, float]
    detector_score: float
    logit: float


def measure_classifier(detector: NodeNet, classifier: Classifier, bank: Bank, report: Report) -> Figures:
    """FROC of detector and classifier together, threshold and its yield."""
    figures: list[Figure] = []
    for backgrounds, where in ((bank.lungs, "a held-out real lung"), (bank.phantoms, "held-out phantoms")):
        chests = _chests(bank, backgrounds)
        looked = [look_at(detector, classifier, chest) for chest in chests]
        if chests:
            figures.extend(_figures(chests, looked, f"held-out LIDC nodules put into {where}", report))
    return (*figures, *_outscoring(detector, classifier, bank.nodules, report))


def _outscoring(
    detector: NodeNet, classifier: Classifier, nodules: Sequence[RealNodule], report: Report
) -> list[Figure]:
    """How often nothing in the 6 cm around a nodule is more like one."""
    chests = [window(nodule, np.random.default_rng([SEED, number, 8])) for number, nodule in enumerate(nodules)]
    won = sum(is_first(chest, look_at(detector, classifier, chest)) for chest in chests)
    if not chests:
        return []
    n, on = len(chests), "held-out LIDC nodules in their own slices, quiet lung beyond; detector and classifier"
    figure = Figure("nodule has the highest score of its surroundings", won / n, wilson(won, n), n, on)
    report(f"{figure.name} {figure.value:.3f} (n {n})")
    return [figure]


def is_first(chest: Chest, looked: Sequence[Looked]) -> bool:
    """Whether the nodule was found, and by a higher score than all that is farther from its rim than `CLEAR_MM`."""
    (truth,) = chest.truths
    away = [float(np.linalg.norm(np.subtract(one.center_xyz, truth.center_lps_mm))) for one in looked]
    scores = [combined_score(one.detector_score, one.logit) for one in looked]
    radius = truth.diameter_mm / 2
    own = max((score for score, mm in zip(scores, away, strict=True) if mm <= radius), default=0.0)
    return own > max((score for score, mm in zip(scores, away, strict=True) if mm > radius + CLEAR_MM), default=0.0)


def _chests(bank: Bank, backgrounds: Sequence[Background]) -> list[Chest]:
    shares = np.array_split(np.arange(len(bank.nodules)), max(len(backgrounds), 1))
    return [
        chest
        for background, share in zip(backgrounds, shares, strict=True)
        for chest in crowded([bank.nodules[k] for k in share], background, SEED)
    ]


def look_at(detector: NodeNet, classifier: Classifier, chest: Chest) -> list[Looked]:
    """The detector's candidates in a chest with the classifier's opinion."""
    point = OperatingPoint()
    peaks = [peak for peak in peaks_in(detector, chest) if peak[4] >= point.candidate_score][: point.most_candidates]
    if not peaks:
        return []
    size = classifier.config.patch
    lines = [tuple(Line.around(c, classifier.config.spacing_mm(d), size) for c in (z, y, x)) for z, y, x, d, _ in peaks]
    hu = torch.stack([sample(chest.hu, (a, b, c)) for a, b, c in lines])
    seen = torch.stack([validity(chest.hu.shape, (a, b, c)) for a, b, c in lines])
    logits = look(classifier, hu, seen, [peak[3] for peak in peaks])
    return [Looked((x, y, z), score, float(row[0])) for (z, y, x, _, score), row in zip(peaks, logits, strict=True)]


def _figures(chests: Sequence[Chest], looked: Sequence[Sequence[Looked]], on: str, report: Report) -> list[Figure]:
    alone = [_matched(chest, ones, lambda one: one.detector_score) for chest, ones in zip(chests, looked, strict=True)]
    both = [
        _matched(chest, ones, lambda one: combined_score(one.detector_score, one.logit))
        for chest, ones in zip(chests, looked, strict=True)
    ]
    figures = froc_figures(both, f"{on}; detector and classifier")
    scores = [score for scan in both for score in scan.hits if score is not None]
    wrong = [score for scan in both for score in scan.false_positives]
    truth = [True] * len(scores) + [False] * len(wrong)
    figures.append(Figure("AUC among candidates", auc(scores + wrong, truth), None, len(truth), on))
    figures.extend(_at_operating_point(both, on))
    report(f"on {on}: sensitivity at 1 false positive {sensitivity_at(froc(alone), 1):.3f} alone")
    for one in figures:
        report(f"{one.name} {one.value:.3f} (n {one.n})")
    return figures


def _matched(chest: Chest, ones: Sequence[Looked], score: Callable[[Looked], float]) -> Matched:
    return match(chest.truths, [Scored(one.center_xyz, score(one)) for one in ones])


def _at_operating_point(scans: Sequence[Matched], on: str) -> list[Figure]:
    least = OperatingPoint().finding_score
    hits = [score is not None and score >= least for scan in scans for score in scan.hits]
    wrong = sum(score >= least for scan in scans for score in scan.false_positives)
    return [
        Figure(
            f"sensitivity at the finding score {least:g}",
            sum(hits) / len(hits),
            wilson(sum(hits), len(hits)),
            len(hits),
            on,
        ),
        Figure(f"false positives per volume at {least:g}", wrong / len(scans), None, len(scans), on),
    ]
