"""What a report says of an earlier exam: as the comparison has it, nothing without one, and its images as evidence."""

import math
from collections.abc import Iterator

from pydicom import Dataset
from pydicom.sr.coding import Code

from workers.results import comparison as told
from workers.results.check import tree
from workers.results.check.rules import Object

OTHER_EVIDENCE = "PertinentOtherEvidenceSequence"
TIME_POINT = Code("C2348792", "UMLS", "Time Point")
NUMBERS = (told.VOLUME_CHANGE, told.DIAMETER_CHANGE, told.DOUBLING_TIME)
ROUNDING = 1e-6


def other_change(of: Object) -> Iterator[str]:
    """Of each nodule: new or not, the trend, how much, and since when; none of it where it was not compared."""
    for finding, group in tree.pairs(of, tree.on_segments(of)):
        code = told.difference_of(finding, of.request)
        named = [tree.key_in(each, "ConceptCodeSequence") for each in tree.children(group, told.QUALITATIVE_DIFFERENCE)]
        if named != ([tree.key(code)] if code else []):
            yield f"{finding.label} {told.QUALITATIVE_DIFFERENCE.meaning}"
        growth = told.growth_of(finding, of.request)
        wanted = {name.value: (value, unit) for name, value, unit, _ in told.told(growth)} if growth else {}
        for name in NUMBERS:
            found = [_measured(each) for each in tree.children(group, name)]
            expected = [(wanted[name.value][0], tree.key(wanted[name.value][1]))] if name.value in wanted else []
            if not _are(found, expected):
                yield f"{finding.label} {name.meaning}"
        if _time_points(group) != _expected_time_point(of):
            yield f"{finding.label} {TIME_POINT.meaning}"


def _measured(item: Dataset) -> tuple[float, tree.Key]:
    value = item.MeasuredValueSequence[0]
    return float(value.NumericValue), tree.key_in(value, "MeasurementUnitsCodeSequence")


def _are(found: list[tuple[float, tree.Key]], expected: list[tuple[float, tree.Key]]) -> bool:
    return len(found) == len(expected) and all(
        math.isclose(one, other, rel_tol=ROUNDING, abs_tol=ROUNDING) and unit == wanted
        for (one, unit), (other, wanted) in zip(found, expected, strict=True)
    )


def _time_points(group: Dataset) -> list[str]:
    return [str(each.get("TextValue", "")) for each in tree.children(group, TIME_POINT)]


def _expected_time_point(of: Object) -> list[str]:
    comparison = of.request.comparison
    return [told.time_point_of(comparison, of.request.say)] if comparison and comparison.is_made else []


def unsaid(of: Object) -> Iterator[str]:
    """Each sentence on an earlier exam, and none that names one where none was compared."""
    said = tree.comments(of)
    for number, sentence in enumerate(told.lines(of.request), 1):
        if sentence not in said:
            yield f"sentence {number}"
    for finding in of.request.findings:
        sentence = told.nodule_line(finding, of.request)
        if sentence and sentence not in said:
            yield finding.label
    comparison = of.request.comparison
    if not (comparison and comparison.is_made) and any(of.request.say.begins(told.COMPARED, each) for each in said):
        yield "compared"


def other_evidence(of: Object) -> Iterator[str]:
    """The images of the earlier exam are listed as pertinent other evidence, with study and series, and no others."""
    comparison = of.request.comparison
    images = comparison.images if comparison else ()
    study = comparison.study_instance_uid if comparison else ""
    wanted = {(study, each.series_instance_uid, each.sop_instance_uid) for each in images}
    listed = {
        (str(other.get("StudyInstanceUID")), str(series.get("SeriesInstanceUID")), str(each.ReferencedSOPInstanceUID))
        for other in of.dataset.get(OTHER_EVIDENCE) or []
        for series in other.get("ReferencedSeriesSequence") or []
        for each in series.get("ReferencedSOPSequence") or []
    }
    if listed != wanted:
        yield f"{len(listed ^ wanted)} instances"
