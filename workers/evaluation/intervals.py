"""Confidence intervals of shares and means."""

import numpy as np
from numpy.typing import ArrayLike

Z_95 = 1.959964
"""Of the normal distribution, two-sided 95 %."""


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927); (0, 1) where nothing was tried."""
    if not trials:
        return 0.0, 1.0
    share, z2 = successes / trials, Z_95**2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z_95 * np.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))


def bootstrap_mean(values: ArrayLike, seed: int, rounds: int = 2000) -> tuple[float, float]:
    """95 % interval of a mean from resampling the values."""
    sample = np.asarray(values, dtype=np.float64)
    drawn = np.random.default_rng(seed).choice(sample, (rounds, len(sample)))
    low, high = np.percentile(drawn.mean(axis=1), [2.5, 97.5])
    return float(low), float(high)
