"""The content tree of a report, by code: what must be in it is looked up, what else is in it does not matter."""

from collections.abc import Iterator

from pydicom import Dataset
from pydicom.sr.coding import Code

from node.domain.delivery import ResultKind
from node.domain.finding import Finding
from workers.results import codes as c
from workers.results.check.rules import Object
from workers.results.text import warning

ROOT = Code("126000", "DCM", "Imaging Measurement Report")
LANGUAGE = Code("121049", "DCM", "Language of Content Item and Descendants")
OBSERVER_TYPE = Code("121005", "DCM", "Observer Type")
DEVICE = Code("121007", "DCM", "Device")
DEVICE_UID = Code("121012", "DCM", "Device Observer UID")
PROCEDURE_REPORTED = Code("121058", "DCM", "Procedure reported")
IMAGING_MEASUREMENTS = Code("126010", "DCM", "Imaging Measurements")
MEASUREMENT_GROUP = Code("125007", "DCM", "Measurement Group")
TRACKING_ID = Code("112039", "DCM", "Tracking Identifier")
TRACKING_UID = Code("112040", "DCM", "Tracking Unique Identifier")
FINDING = Code("121071", "DCM", "Finding")
FINDING_SITE = Code("363698007", "SCT", "Finding Site")
SIDE = Code("272741003", "SCT", "Laterality")
DERIVATION = Code("121401", "DCM", "Derivation")
REFERENCED_SEGMENT = Code("121191", "DCM", "Referenced Segment")
IMAGE_REGION = Code("111030", "DCM", "Image Region")
LUNG_RADS_1 = Code("RID50136", "RADLEX", "Lung-RADS 1")
"""No nodules, or definitely benign ones."""

Key = tuple[str, str]
"""Code value and scheme: meanings are for people."""


def key(code: Code) -> Key:
    """Of a code that we know."""
    return code.value, code.scheme_designator


def key_in(item: Dataset, keyword: str) -> Key:
    """Of the first code of a sequence; empty where there is none."""
    sequence = item.get(keyword) or [Dataset()]
    return str(sequence[0].get("CodeValue", "")), str(sequence[0].get("CodingSchemeDesignator", ""))


def children(item: Dataset, name: Code) -> list[Dataset]:
    """Content items right below one, with this concept name, in order."""
    below = item.get("ContentSequence") or []
    return [each for each in below if key_in(each, "ConceptNameCodeSequence") == key(name)]


def below(item: Dataset, name: Code) -> Iterator[Dataset]:
    """The same at any depth."""
    yield from children(item, name)
    for each in item.get("ContentSequence") or []:
        yield from below(each, name)


def evidence(document: Dataset) -> Iterator[tuple[str, str, str]]:
    """Study, series and SOP Instance UID of each instance that a document lists."""
    for study in document.get("CurrentRequestedProcedureEvidenceSequence", []):
        for series in study.get("ReferencedSeriesSequence", []):
            for each in series.get("ReferencedSOPSequence", []):
                yield study.get("StudyInstanceUID"), series.get("SeriesInstanceUID"), each.ReferencedSOPInstanceUID


def groups(of: Object) -> list[Dataset]:
    """Measurement Groups of the report."""
    parts = children(of.dataset, IMAGING_MEASUREMENTS)
    return [group for part in parts for group in children(part, MEASUREMENT_GROUP)]


def on_segments(of: Object) -> list[Dataset]:
    """Groups that measure a segment (TID 1411): one a nodule."""
    return [group for group in groups(of) if children(group, REFERENCED_SEGMENT)]


def on_images(of: Object) -> list[Dataset]:
    """Groups that outline a nodule on an image (TID 1410)."""
    return [group for group in groups(of) if children(group, IMAGE_REGION) and not _is_solid_part(group)]


def on_solid_parts(of: Object) -> list[Dataset]:
    """Groups that outline the solid part of a nodule (TID 1410)."""
    return [group for group in groups(of) if children(group, IMAGE_REGION) and _is_solid_part(group)]


def _is_solid_part(group: Dataset) -> bool:
    return key(c.SOLID_PART) in [key_in(each, "ConceptCodeSequence") for each in children(group, FINDING)]


def examination(of: Object) -> list[Dataset]:
    """The group that says how the reading ended."""
    return [group for group in groups(of) if children(group, c.ALGORITHMS_SUMMARY)]


def pairs(of: Object, found: list[Dataset]) -> Iterator[tuple[Finding, Dataset]]:
    """Findings and their groups, in order; how many there are is another rule's."""
    yield from zip(of.request.findings, found, strict=False)


def comments(of: Object) -> list[str]:
    """The sentences for people."""
    return [str(each.get("TextValue", "")) for each in children(of.dataset, c.COMMENT)]


def first_sentence(of: Object) -> str:
    """What a report or picture says first: in a shadow reading after the warning, and nothing where that is gone."""
    above = warning(of.request)
    if of.encoded.kind is ResultKind.SR:
        said = comments(of)
        return "".join(said[len(above) : len(above) + 1]) if said[: len(above)] == above else ""
    text, begin = str(of.dataset.get("ImageComments", "")), "".join(f"{sentence} " for sentence in above)
    return text.removeprefix(begin) if text.startswith(begin) else ""
