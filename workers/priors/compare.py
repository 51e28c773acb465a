"""Two exams of one patient to what became of each nodule."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from node.domain.finding import Finding, Measurements
from node.domain.prior import (
    EarlierNodule,
    GoneNodule,
    Growth,
    Hindrance,
    Missing,
    NoduleChange,
    PriorComparison,
    Seen,
    Trend,
    Unmeasured,
    Unsure,
)
from workers.guidelines.growth import (
    diameter_changed,
    doubling_time_by_diameter_days,
    doubling_time_days,
    volume_changed,
)
from workers.priors.alignment import Alignment, align
from workers.priors.matching import is_sure, pair
from workers.priors.nearby import Exam, Place, Spot, find_again
from workers.priors.reconstruction import Reconstruction, difference

MOST_GAP_MM = 5.0
LEAST_SEEN = 0.4
STRETCH = (0.7, 1.45)
"""An alignment beyond any of these is none: another patient, half a lung, or a collapsed one."""


@dataclass(frozen=True)
class Read:
    """One exam as it was read."""

    exam: Exam
    findings: Sequence[Finding]
    reconstruction: Reconstruction
    limited: bool
    """Something limits the reading: what was not found may be there."""
    smallest_mm: float = 0.0
    """Nodules below this mean diameter are not assessed."""


@dataclass(frozen=True)
class Earlier:
    """The earlier exam."""

    read: Read
    tracking_uids: Sequence[str]
    """Of its findings; empty where one was not reported."""


def compare(prior: PriorComparison, now: Read, then: Earlier, least_mm: float) -> PriorComparison:
    """`prior`, completed by what became of each nodule. `least_mm`: change of a mean diameter from which it counts."""
    alignment = align(now.exam.lungs, then.read.exam.lungs)
    if not is_good(alignment):
        return replace(prior, hindrance=Hindrance.NOT_ALIGNED)
    places = [find_again(_spot(each), now.exam, then.read.exam, alignment) for each in now.findings]
    pairs = pair(now.findings, places, then.read.findings)
    changes = []
    for index, (finding, place) in enumerate(zip(now.findings, places, strict=True)):
        if (match := pairs.both.get(index)) is None:
            changes.append(_unmatched(finding, place, then.read))
        else:
            changes.append(_matched(finding, match, now, then, Limits(prior.days, least_mm)))
    gone = tuple(_gone(index, now, then, alignment) for index in pairs.only_then)
    return replace(prior, changes=tuple(changes), gone=gone, earlier_limited=then.read.limited)


def is_good(found: Alignment) -> bool:
    """Whether an alignment can be trusted."""
    least, most = found.stretch
    return found.gap_mm <= MOST_GAP_MM and found.share_seen >= LEAST_SEEN and STRETCH[0] <= least <= most <= STRETCH[1]


@dataclass(frozen=True)
class Limits:
    """What a change is measured by."""

    days: int
    least_mm: float


def growth_of(then: Measurements, now: Measurements, limits: Limits) -> Growth:
    """By volume where both have one, else by the mean diameter."""
    diameter = round(now.mean_diameter_mm - then.mean_diameter_mm, 1)
    if then.volume_mm3 and now.volume_mm3:
        trend = _trend(now.volume_mm3 - then.volume_mm3, volume_changed(then.volume_mm3, now.volume_mm3))
        days = doubling_time_days(then.volume_mm3, now.volume_mm3, limits.days)
        share = (now.volume_mm3 - then.volume_mm3) / then.volume_mm3
    else:
        trend = _trend(diameter, diameter_changed(then.mean_diameter_mm, now.mean_diameter_mm, limits.least_mm))
        days = doubling_time_by_diameter_days(then.mean_diameter_mm, now.mean_diameter_mm, limits.days)
        share = None
    return Growth(trend, share is not None, diameter, share, days if trend is Trend.INCREASED else None)


def _trend(difference: float, significant: bool) -> Trend:
    if not significant:
        return Trend.STABLE
    return Trend.INCREASED if difference > 0 else Trend.DECREASED


def _matched(finding: Finding, match: int, now: Read, then: Earlier, limits: Limits) -> NoduleChange:
    earlier = then.read.findings[match]
    other_type = Unmeasured.TYPE if finding.type is not earlier.type else None
    why = other_type or difference(now.reconstruction, then.read.reconstruction)
    growth = None if why else growth_of(earlier.measurements, finding.measurements, limits)
    known = _nodule(earlier, then.tracking_uids[match])
    return NoduleChange(finding.ordinal, Seen.MATCHED, None, known, growth, why)


def _unmatched(finding: Finding, place: Place, then: Read) -> NoduleChange:
    """New only where the earlier exam would have shown it."""
    doubt = None
    if not _shows(then, place.lps_mm):
        doubt = Unsure.OUTSIDE
    elif not is_sure(place):
        doubt = Unsure.NOT_FOUND
    elif then.limited:
        doubt = Unsure.LIMITED
    return NoduleChange(finding.ordinal, Seen.UNSURE if doubt else Seen.NEW, doubt)


def _gone(index: int, now: Read, then: Earlier, alignment: Alignment) -> GoneNodule:
    earlier = then.read.findings[index]
    (place,) = alignment.back(np.array([earlier.center_lps_mm]))
    why = Missing.NOT_FOUND
    if not _shows(now, place):
        why = Missing.OUTSIDE
    elif earlier.measurements.mean_diameter_mm < now.smallest_mm:
        why = Missing.TOO_SMALL
    return GoneNodule(_nodule(earlier, then.tracking_uids[index]), why)


def _spot(finding: Finding) -> Spot:
    return Spot(np.array(finding.center_lps_mm), finding.measurements.long_axis_mm / 2)


def _shows(read: Read, point: NDArray[np.float64]) -> bool:
    """Whether images show a point."""
    (zyx,) = read.exam.volume.to_zyx(point[None])
    return bool((zyx >= 0).all() and (zyx <= np.array(read.exam.volume.hu.shape) - 1).all())


def _nodule(finding: Finding, tracking_uid: str) -> EarlierNodule:
    sizes = finding.measurements
    return EarlierNodule(
        tracking_uid, finding.type, finding.side, finding.center_lps_mm, sizes.mean_diameter_mm, sizes.volume_mm3
    )
