"""Receiver operating characteristic of a score."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def auc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Probability that a positive outscores a negative, ties counting half (Mann-Whitney); nan where one is missing."""
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    above, below = values[truth], np.sort(values[~truth])
    if not len(above) or not len(below):
        return float("nan")
    lower = np.searchsorted(below, above, side="left")
    level = np.searchsorted(below, above, side="right")
    return float((lower + level).mean() / 2 / len(below))


def auc_interval(
    groups: Sequence[tuple[ArrayLike, ArrayLike]], seed: int, rounds: int = 1000
) -> tuple[float, float] | None:
    """95 % interval of the AUC from resampling groups (scans) of scores and truths; None where it cannot be told."""
    rng = np.random.default_rng(seed)
    scores = [np.asarray(values, dtype=np.float64) for values, _ in groups]
    truths = [np.asarray(truth, dtype=bool) for _, truth in groups]
    areas = []
    for _ in range(rounds):
        drawn = rng.integers(len(groups), size=len(groups))
        areas.append(auc(np.concatenate([scores[k] for k in drawn]), np.concatenate([truths[k] for k in drawn])))
    known = [area for area in areas if not np.isnan(area)]
    if not known:
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)
