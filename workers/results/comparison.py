"""What a report says of an earlier exam: what became of each nodule in codes and sentences, and its images."""

from collections import Counter
from collections.abc import Iterator

import highdicom.sr as hd
from pydicom import Dataset
from pydicom.sr.coding import Code

from node.domain.finding import Finding
from node.domain.prior import EarlierNodule, GoneNodule, Growth, NoduleChange, PriorComparison, Seen, Trend, day
from workers.results import codes as c
from workers.results.language import Speech
from workers.results.request import ResultRequest

QUALITATIVE_DIFFERENCE = Code("111049", "DCM", "Qualitative Difference")
TRENDS = {
    Trend.INCREASED: Code("15454001", "SCT", "Increase in size"),
    Trend.DECREASED: Code("19776001", "SCT", "Decrease in size"),
    Trend.STABLE: Code("129723006", "SCT", "No significant changes in the finding"),
}
"""CID 6134."""
NEW_FINDING = Code("129721008", "SCT", "New finding")
"""CID 6002; CID 6134 has no word for it."""
VOLUME_CHANGE = Code("VOLCHG", "99NODUS", "Change of volume since the earlier exam")
DIAMETER_CHANGE = Code("DIAMCHG", "99NODUS", "Change of mean diameter since the earlier exam")
DOUBLING_TIME = Code("VDT", "99NODUS", "Volume doubling time")
BY_VOLUME = Code("BYVOL", "99NODUS", "From the volumes of both exams")
BY_DIAMETER = Code("BYDIAM", "99NODUS", "From the mean diameters of both exams")
DAYS = Code("d", "UCUM", "day")

COMPARED = "Compared with the CT of {date} ({days} days earlier): {counts}."
"""Said where nodules were compared, and nowhere else."""
_TREND_WORDS = {
    Trend.INCREASED: "increased",
    Trend.DECREASED: "decreased",
    Trend.STABLE: "no significant change",
}


def time_point(request: ResultRequest) -> hd.TimePointContext | None:
    """TID 1502 of each nodule: this exam is the second of the two that were compared."""
    comparison = request.comparison
    if comparison is None or not comparison.is_made:
        return None
    return hd.TimePointContext(time_point_of(comparison, request.say), time_point_order=2)


def time_point_of(comparison: PriorComparison, say: Speech) -> str:
    """In words: how long after the earlier exam."""
    return say("{days} days after the CT of {date}", days=str(comparison.days), date=iso(comparison.study_date))


def measurements(finding: Finding, request: ResultRequest) -> Iterator[hd.Measurement]:
    """How much a nodule changed."""
    growth = growth_of(finding, request)
    if growth is None:
        return
    for name, value, unit, method in told(growth):
        yield hd.Measurement(name, value, unit, method=method)


def told(growth: Growth) -> Iterator[tuple[Code, float, Code, Code | None]]:
    """Name, value, unit and method of all that is measured of a change."""
    yield DIAMETER_CHANGE, round(growth.diameter_mm, 1), c.MM, None
    if growth.volume_share is not None:
        yield VOLUME_CHANGE, round(growth.volume_share * 100, 1), c.PERCENT, None
    if growth.doubling_days is not None:
        method = BY_VOLUME if growth.by_volume else BY_DIAMETER
        yield DOUBLING_TIME, round(growth.doubling_days, 0), DAYS, method


def growth_of(finding: Finding, request: ResultRequest) -> Growth | None:
    """How a nodule changed; None where that was not measured."""
    change = request.comparison.of(finding.ordinal) if request.comparison else None
    return change.growth if change else None


def evaluations(finding: Finding, request: ResultRequest) -> list[hd.QualitativeEvaluation]:
    """Whether it is new, or how it changed."""
    code = difference_of(finding, request)
    return [] if code is None else [hd.QualitativeEvaluation(QUALITATIVE_DIFFERENCE, code)]


def difference_of(finding: Finding, request: ResultRequest) -> Code | None:
    """The code of that; None where nobody knows."""
    change = request.comparison.of(finding.ordinal) if request.comparison else None
    if change is None:
        return None
    if change.seen is Seen.NEW:
        return NEW_FINDING
    return TRENDS[change.growth.trend] if change.growth else None


def has_private_codes(request: ResultRequest) -> bool:
    """Whether a change was measured."""
    return any(growth_of(finding, request) for finding in request.findings)


def evidence(request: ResultRequest) -> list[Dataset]:
    """The images of the earlier exam: of another study, so they go into Pertinent Other Evidence (PS3.3 C.17.2)."""
    found = []
    for image in request.comparison.images if request.comparison else ():
        reference = Dataset()
        reference.SOPClassUID, reference.SOPInstanceUID = image.sop_class_uid, image.sop_instance_uid
        reference.SeriesInstanceUID = image.series_instance_uid
        reference.StudyInstanceUID = request.comparison.study_instance_uid if request.comparison else ""
        found.append(reference)
    return found


def iso(study_date: str) -> str:
    """A StudyDate for people: YYYY-MM-DD."""
    found = day(study_date)
    return found.isoformat() if found else "unknown date"


def lines(request: ResultRequest) -> list[str]:
    """What a reader must know of the earlier exam: which, in short what changed, and what was not compared."""
    return [request.say.of(each) for each in exam_lines(request.comparison)]


def exam_lines(comparison: PriorComparison | None) -> list[str]:
    """The same in English."""
    if comparison is None:
        return []
    said = [comparison.notice] if comparison.notice else []
    if comparison.study_instance_uid:
        said += [_first(comparison), *(_gone(each, comparison) for each in comparison.gone)]
    return said


def _first(comparison: PriorComparison) -> str:
    when = f"the CT of {iso(comparison.study_date)}"
    if comparison.hindrance is not None:
        return f"Not compared with {when}: {comparison.hindrance}."
    limits = " The earlier exam could be read with limits only." if comparison.earlier_limited else ""
    counts = _counts(comparison)
    return COMPARED.format(date=iso(comparison.study_date), days=comparison.days, counts=counts) + limits


def _counts(comparison: PriorComparison) -> str:
    """How many nodules of each kind."""
    kinds = Counter(_kind(change) for change in comparison.changes)
    kinds["not found again by the model"] = len(comparison.gone)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count) or "nothing to compare"


def _kind(change: NoduleChange) -> str:
    if change.seen is Seen.NEW:
        return "new"
    if change.seen is Seen.UNSURE:
        return "not known whether new"
    return _TREND_WORDS[change.growth.trend] if change.growth else "seen before, sizes not compared"


def _gone(gone: GoneNodule, comparison: PriorComparison) -> str:
    return f"Nodule of {iso(comparison.study_date)} alone, {_earlier(gone.earlier)}: {gone.why}."


def _earlier(nodule: EarlierNodule) -> str:
    volume = "volume not measured" if nodule.volume_mm3 is None else f"{nodule.volume_mm3:.0f} mm3"
    side = {"right": "right lung", "left": "left lung"}.get(nodule.side, "side not determined")
    return f"{nodule.type}, {side}, mean diameter {nodule.mean_diameter_mm:.1f} mm, {volume}"


def nodule_line(finding: Finding, request: ResultRequest) -> str:
    """What became of one nodule, in one line; empty where nothing was compared."""
    return request.say.of(_nodule_line(finding, request))


def short_line(finding: Finding, request: ResultRequest) -> str:
    """The same below the nodule's row of a table: neither which one, nor what it was like then."""
    return request.say.of(change_since(finding, request.comparison))


def change_since(finding: Finding, comparison: PriorComparison | None) -> str:
    """That in English."""
    change = comparison.of(finding.ordinal) if comparison else None
    if comparison is None or change is None:
        return ""
    return f"since {iso(comparison.study_date)}: {_became(change)}"


def _became(change: NoduleChange) -> str:
    if change.seen is Seen.NEW:
        return "new"
    if change.seen is Seen.UNSURE:
        return "not known whether it is new"
    if change.growth is None:
        return "seen before, sizes not compared"
    return f"{_TREND_WORDS[change.growth.trend]}{_amount(change.growth)}"


def _nodule_line(finding: Finding, request: ResultRequest) -> str:
    comparison = request.comparison
    change = comparison.of(finding.ordinal) if comparison else None
    if comparison is None or change is None:
        return ""
    since = f"{finding.label} since {iso(comparison.study_date)}:"
    if change.seen is Seen.NEW:
        return f"{since} new, the model did not mark anything there then."
    if change.seen is Seen.UNSURE or change.earlier is None:
        return f"{since} not known whether it is new: {change.unsure}."
    then = f"then {_earlier(change.earlier)}"
    if change.growth is None:
        return f"{since} seen before, {then}; sizes not compared: {change.unmeasured}."
    return f"{since} {_became(change)}; {then}."


def _amount(growth: Growth) -> str:
    said = [f"mean diameter {growth.diameter_mm:+.1f} mm"]
    if growth.volume_share is not None:
        said.insert(0, f"volume {growth.volume_share:+.0%}")
    if growth.doubling_days is not None:
        by = "" if growth.by_volume else " by the mean diameter"
        said.append(f"volume doubling time {growth.doubling_days:.0f} days{by}")
    return f", {', '.join(said)}"
