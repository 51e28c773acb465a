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
    return _curve([_scores(scan) for scan in scans])


@dataclass(frozen=True)
class _Scores:
    """One scan as arrays: what is pooled again and again."""

    hits: Curve
    wrong: Curve
    nodules: int


def _scores(scan: Matched) -> _Scores:
    hits = np.array([score for score in scan.hits if score is not None], dtype=np.float64)
    return _Scores(hits, np.array(scan.false_positives, dtype=np.float64), len(scan.hits))


def _curve(scans: Sequence[_Scores]) -> Froc:
    hits, wrong = (np.sort(np.concatenate([np.empty(0), *part])) for part in _parts(scans))
    nodules = sum(scan.nodules for scan in scans)
    thresholds = np.unique(np.concatenate([hits, wrong]))[::-1]
    found = len(hits) - np.searchsorted(hits, thresholds)
    fired = len(wrong) - np.searchsorted(wrong, thresholds)
    share = found / nodules if nodules else np.full(len(thresholds), np.nan)
    return Froc(thresholds, fired / max(len(scans), 1), share)


def _parts(scans: Sequence[_Scores]) -> tuple[list[Curve], list[Curve]]:
    return [scan.hits for scan in scans], [scan.wrong for scan in scans]


def threshold_at(curve: Froc, rate: float) -> float:
    """The loosest threshold that gives at most this many false positives per scan; inf where none does."""
    allowed = curve.threshold[curve.false_positives_per_scan <= rate]
    return float(allowed.min()) if len(allowed) else float("inf")


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


def resampled(scans: Sequence[Matched], seed: int, rounds: int = 1000, rates: Sequence[float] = LUNA16_RATES) -> Curve:
    """Sensitivities at `rates` in resamples of whole scans: (rounds, rates), without rounds that drew no nodule."""
    rng, scores = np.random.default_rng(seed), [_scores(scan) for scan in scans]
    drawn = ([scores[k] for k in rng.integers(len(scores), size=len(scores))] for _ in range(rounds))
    curves = [_curve(some) for some in drawn if any(scan.nodules for scan in some)]
    return np.array([[sensitivity_at(curve, rate) for rate in rates] for curve in curves]).reshape(-1, len(rates))


def cpm_interval(scans: Sequence[Matched], seed: int, rounds: int = 1000) -> tuple[float, float]:
    """95 % interval of the CPM from resampling whole scans."""
    low, high = np.percentile(resampled(scans, seed, rounds).mean(axis=1), [2.5, 97.5])
    return float(low), float(high)
