"""Receiver operating characteristic of a score."""

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
