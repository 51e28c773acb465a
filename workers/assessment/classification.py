"""Whether scores tell nodules from the rest, whether they are probabilities, and how nodules are named."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from node.domain.finding import NoduleType
from workers.assessment.compare import Compared, Result
from workers.assessment.figure import Figure, is_found, mean_figure
from workers.evaluation.calibration import (
    Bin,
    brier,
    expected_calibration_error,
    reliability,
    temperature,
    tempered,
)
from workers.evaluation.intervals import wilson
from workers.evaluation.roc import auc, auc_interval

Candidates = tuple[list[float], list[bool]]
"""Scores, and whether each hit a nodule; more hits of one nodule and hits of irrelevant findings are neither."""


def classification_figures(results: Sequence[Result], seed: int) -> tuple[Figure, ...]:
    """AUC, calibration before and after a temperature, and the share of types that are named rightly."""
    each = [_candidates([one]) for one in results]
    scores, truth = _candidates(results)
    area = auc(scores, truth) if scores else float("nan")
    if np.isnan(area):
        return _types(results)
    return (
        Figure("AUC of the score, nodule or not, among candidates", area, auc_interval(each, seed), len(scores)),
        Figure("expected calibration error of the score", expected_calibration_error(scores, truth), None, len(scores)),
        Figure("Brier score", brier(scores, truth), None, len(scores)),
        Figure("temperature, fitted on all candidates", temperature(scores, truth), None, len(scores)),
        *_after_temperature(results),
        *_types(results),
    )


def _after_temperature(results: Sequence[Result]) -> list[Figure]:
    """Calibration error of each half of the scans after the temperature of the other half."""
    halves = [_candidates(results[0::2]), _candidates(results[1::2])]
    if not all(any(truth) and not all(truth) for _, truth in halves):
        return []
    crossed = [tempered(scores, temperature(*other)) for (scores, _), other in zip(halves, halves[::-1], strict=True)]
    values, truth = np.concatenate(crossed), halves[0][1] + halves[1][1]
    name = "expected calibration error after the temperature of the other half of the scans"
    return [Figure(name, expected_calibration_error(values, truth), None, len(truth))]


def reliability_of(results: Sequence[Result]) -> tuple[Bin, ...]:
    """Score against share of nodules among candidates."""
    return reliability(*_candidates(results))


def _candidates(results: Sequence[Result]) -> Candidates:
    right = [score for one in results for score in one.matched.hits if score is not None]
    wrong = [score for one in results for score in one.matched.false_positives]
    return right + wrong, [True] * len(right) + [False] * len(wrong)


def _types(results: Sequence[Result]) -> tuple[Figure, ...]:
    """Recall of each type, and their mean."""
    named = {kind: [one.named is kind for one in ones] for kind, ones in _by_type(results).items()}
    recalls = [sum(right) / len(right) for right in named.values()]
    figures = [
        Figure(f"type named rightly where it is {kind}", sum(ones) / len(ones), wilson(sum(ones), len(ones)), len(ones))
        for kind, ones in named.items()
    ]
    return (*figures, mean_figure("balanced accuracy of the type", recalls)) if recalls else ()


def confusion_of(results: Sequence[Result]) -> dict[str, dict[str, int]]:
    """True type to named type to number, of nodules that were found."""
    return {
        str(kind): {str(name): sum(one.named is name for one in ones) for name in NoduleType}
        for kind, ones in _by_type(results).items()
    }


def _by_type(results: Sequence[Result]) -> dict[NoduleType, list[Compared]]:
    """Found nodules of known type."""
    found: dict[NoduleType, list[Compared]] = defaultdict(list)
    for one in results:
        for nodule in one.nodules:
            if nodule.type is not None and is_found(nodule):
                found[nodule.type].append(nodule)
    return {kind: found[kind] for kind in NoduleType if kind in found}
