"""Agreement of a measurement with the truth (Bland and Altman 1986)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from workers.evaluation.intervals import Z_95


@dataclass(frozen=True)
class Agreement:
    """What is to be expected of one more difference."""

    bias: float
    low: float
    """95 % of the differences lie above."""
    high: float
    n: int


def agreement(differences: ArrayLike) -> Agreement:
    """Bias and limits of agreement: mean and mean -+ 1.96 SD (n - 1); nan where there are too few to tell."""
    values = np.asarray(differences, dtype=np.float64)
    bias = float(values.mean()) if len(values) else float("nan")
    spread = Z_95 * float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    return Agreement(bias, bias - spread, bias + spread, len(values))
