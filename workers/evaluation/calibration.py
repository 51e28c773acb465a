"""Whether scores are probabilities: reliability, expected calibration error, Brier score, temperature."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workers.evaluation.intervals import wilson

BINS = 15
FLATTEST, STEEPEST = 1e-3, 1e3
"""Bounds of 1 / temperature: scores that separate perfectly want it infinite."""


@dataclass(frozen=True)
class Bin:
    """Scores of about one height."""

    mean_score: float
    share: float
    """That is positive."""
    interval: tuple[float, float]
    """95 %, of the share."""
    n: int


def reliability(scores: ArrayLike, positive: ArrayLike, bins: int = BINS) -> tuple[Bin, ...]:
    """Bins of equal mass by rising score; fewer than `bins` where there are fewer scores."""
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    if not len(values):
        return ()
    parts = np.array_split(np.argsort(values, kind="stable"), min(bins, len(values)))
    return tuple(_bin(values[part], truth[part]) for part in parts)


def _bin(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> Bin:
    right, n = int(positive.sum()), len(positive)
    return Bin(float(scores.mean()), right / n, wilson(right, n), n)


def expected_calibration_error(scores: ArrayLike, positive: ArrayLike, bins: int = BINS) -> float:
    """Mean distance of score and share over bins of equal mass, weighted by their size; nan without scores."""
    table = reliability(scores, positive, bins)
    if not table:
        return float("nan")
    return sum(one.n * abs(one.mean_score - one.share) for one in table) / sum(one.n for one in table)


def brier(scores: ArrayLike, positive: ArrayLike) -> float:
    """Mean squared distance of scores and truth (Brier 1950); nan without scores."""
    distance = np.asarray(scores, dtype=np.float64) - np.asarray(positive, dtype=np.float64)
    return float((distance**2).mean()) if len(distance) else float("nan")


def logits(scores: ArrayLike) -> NDArray[np.float64]:
    """Log odds of scores in 0..1, those at the ends moved in by 1e-6."""
    inner = np.clip(np.asarray(scores, dtype=np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(inner / (1 - inner)))


def temperature(scores: ArrayLike, positive: ArrayLike) -> float:
    """The one number by which log odds are divided so that the likelihood of the truth is largest (Guo 2017).

    The slope of the likelihood falls with 1 / temperature, so halving finds its zero; 1 without scores.
    """
    z, truth = logits(scores), np.asarray(positive, dtype=np.float64)
    if not len(z):
        return 1.0
    low, high = np.log(FLATTEST), np.log(STEEPEST)
    for _ in range(60):
        middle = (low + high) / 2
        too_steep = float(((_sigmoid(np.exp(middle) * z) - truth) * z).mean()) > 0
        low, high = (low, middle) if too_steep else (middle, high)
    return float(np.exp(-(low + high) / 2))


def tempered(scores: ArrayLike, by: float) -> NDArray[np.float64]:
    """Scores after their log odds were divided by a temperature."""
    return _sigmoid(logits(scores) / by)


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(0.5 * (1 + np.tanh(z / 2)))
