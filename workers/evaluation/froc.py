"""Free-response ROC: sensitivity against false positives per scan, with scan-level bootstrap intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.evaluation.matching import Matched

Curve = NDArray[np.float64]

LUNA16_RATES = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)
"""False positives per scan at which sensitivities are averaged to the CPM."""


@dataclass(frozen=True)
class Froc:
    """One point for each score that occurs, from the strictest to the loosest."""

    threshold: Curve
    false_positives_per_scan: Curve
    sensitivity: Curve


def froc(scans: Sequence[Matched]) -> Froc:
    """The curve over all scans; sensitivity is nan where no nodule counts."""
    hits = np.array([score for scan in scans for score in scan.hits if score is not None])
    wrong = np.array([score for scan in scans for score in scan.false_positives])
    nodules = sum(len(scan.hits) for scan in scans)
    thresholds = np.unique(np.concatenate([hits, wrong]))[::-1]
    found = (hits[None] >= thresholds[:, None]).sum(axis=1)
    fired = (wrong[None] >= thresholds[:, None]).sum(axis=1)
    return Froc(
        thresholds, fired / max(len(scans), 1), found / nodules if nodules else np.full(len(thresholds), np.nan)
    )


def sensitivity_at(curve: Froc, rate: float) -> float:
    """Sensitivity at a number of false positives per scan, linear between points, the first joined to (0, 0).

    Beyond the last point the curve stays where it is.
    """
    x = np.concatenate([[0.0], curve.false_positives_per_scan])
    y = np.concatenate([[0.0], curve.sensitivity])
    last = np.append(np.diff(x) > 0, True)
    return float(np.interp(rate, x[last], y[last]))


def cpm(curve: Froc) -> float:
    """Mean sensitivity at the seven rates of LUNA16."""
    return float(np.mean([sensitivity_at(curve, rate) for rate in LUNA16_RATES]))


def cpm_interval(scans: Sequence[Matched], seed: int, rounds: int = 1000) -> tuple[float, float]:
    """95 % interval of the CPM from resampling whole scans."""
    rng = np.random.default_rng(seed)
    drawn = [[scans[k] for k in rng.integers(len(scans), size=len(scans))] for _ in range(rounds)]
    scores = [cpm(froc(some)) for some in drawn if any(scan.hits for scan in some)]
    low, high = np.percentile(scores, [2.5, 97.5])
    return float(low), float(high)
