"""How many nodules are found, at how many false positives a scan."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.assessment.compare import Result
from workers.assessment.figure import SHIPPED_SCORE, Figure, is_found
from workers.evaluation.froc import LUNA16_RATES, cpm, froc, resampled, sensitivity_at
from workers.evaluation.intervals import wilson

DRAWN_RATES = tuple(float(rate) for rate in np.geomspace(LUNA16_RATES[0], LUNA16_RATES[-1], 37))
"""Where the curve of the plot is drawn; the seven of LUNA16 are among them."""


@dataclass(frozen=True)
class Band:
    """The FROC with its 95 % interval, at each of `rates` false positives per scan."""

    rates: tuple[float, ...]
    sensitivity: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def detection_figures(results: Sequence[Result], seed: int) -> tuple[Figure, ...]:
    """Sensitivities at the seven rates, their mean, and what the shipped threshold does; nothing without nodules."""
    scans, nodules = [one.matched for one in results], sum(len(one.nodules) for one in results)
    wrong = sum(score >= SHIPPED_SCORE for scan in scans for score in scan.false_positives)
    false = Figure(
        f"false positives per scan at the finding score {SHIPPED_SCORE:g}", wrong / len(scans), None, len(scans)
    )
    if not nodules:
        return (false,)
    curve, drawn = froc(scans), resampled(scans, seed)
    figures = [
        Figure(
            f"sensitivity at {rate:g} false positives per scan",
            sensitivity_at(curve, rate),
            _interval(some, len(scans)),
            nodules,
        )
        for rate, some in zip(LUNA16_RATES, drawn.T, strict=True)
    ]
    found = sum(is_found(nodule) for one in results for nodule in one.nodules)
    name = f"sensitivity at the finding score {SHIPPED_SCORE:g}"
    shipped = Figure(name, found / nodules, wilson(found, nodules), nodules)
    return (*figures, Figure("CPM", cpm(curve), _interval(drawn.mean(axis=1), len(scans)), nodules), shipped, false)


def band_of(results: Sequence[Result], seed: int) -> Band:
    """What is drawn; empty without nodules."""
    scans = [one.matched for one in results]
    if not any(scan.hits for scan in scans):
        return Band((), (), (), ())
    curve, drawn = froc(scans), resampled(scans, seed, rates=DRAWN_RATES)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    points = tuple(sensitivity_at(curve, rate) for rate in DRAWN_RATES)
    return Band(DRAWN_RATES, points, tuple(low.tolist()), tuple(high.tolist()))


def _interval(drawn: NDArray[np.float64], scans: int) -> tuple[float, float] | None:
    """None for a single scan: resamples of it are all alike."""
    if scans < 2:
        return None
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)
