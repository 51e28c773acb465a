"""A reading beside the truth: what was hit, how well it was outlined, measured and named."""

from collections.abc import Mapping
from dataclasses import dataclass

from node.domain.finding import NoduleType
from workers.assessment.scan import Nodule, Scan
from workers.assessment.surface import hd95_mm, together
from workers.evaluation.matching import Matched, Scored, best_hits, match
from workers.evaluation.overlap import dice
from workers.pipeline import Reading


@dataclass(frozen=True)
class Compared:
    """One nodule that counts; None is "not known" or, without a score, "missed"."""

    diameter_mm: float
    type: NoduleType | None
    outlined: bool
    """The truth has a mask."""
    score: float | None
    """Best of its hits."""
    named: NoduleType | None = None
    dice: float | None = None
    hd95_mm: float | None = None
    volume_error_percent: float | None = None
    """Measured minus true, of the true volume."""


@dataclass(frozen=True)
class Result:
    """One scan beside its truth."""

    name: str
    groups: Mapping[str, str]
    matched: Matched
    nodules: tuple[Compared, ...]
    refusal: str
    seconds: float
    """That the pipeline took."""


def compare(scan: Scan) -> Result:
    """Match the findings of a scan with its nodules; without a reading all are missed."""
    reading = scan.reading
    found = [Scored(one.center_lps_mm, one.confidence) for one in reading.findings] if reading else []
    truths = [nodule.truth for nodule in scan.nodules]
    nodules = [
        _compared(nodule, reading, index)
        for nodule, index in zip(scan.nodules, best_hits(truths, found), strict=True)
        if nodule.truth.counts
    ]
    seconds = sum(reading.timings_s.values()) if reading else 0.0
    return Result(scan.name, scan.groups, match(truths, found), tuple(nodules), scan.refusal, round(seconds, 1))


def _compared(nodule: Nodule, reading: Reading | None, index: int | None) -> Compared:
    known = (nodule.truth.diameter_mm, nodule.type, nodule.mask is not None)
    if reading is None or index is None:
        return Compared(*known, None)
    finding, mask = reading.findings[index], reading.masks[index]
    overlap = distance = error = None
    if nodule.mask is not None:
        ours, theirs = together(mask, nodule.mask)
        overlap, distance = dice(ours, theirs), hd95_mm(ours, theirs, reading.volume.spacing_zyx_mm)
    measured = finding.measurements.volume_mm3
    if measured is not None and nodule.volume_mm3:
        error = 100 * (measured / nodule.volume_mm3 - 1)
    return Compared(*known, finding.confidence, finding.type, overlap, distance, error)
