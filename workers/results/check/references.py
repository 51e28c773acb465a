"""References: to images that were read or compared, to results of this reading, to what is replaced; nowhere else."""

from collections.abc import Iterator, Sequence

from pydicom import Dataset
from pydicom.uid import SegmentationStorage

from node.domain.delivery import ResultKind
from node.domain.prior import ImageReference
from workers.results.check.rules import Element, Object
from workers.results.check.tree import evidence
from workers.results.document import COPIED
from workers.results.request import ResultRequest
from workers.results.sr import SR_LADDER

OTHER_EVIDENCE = "PertinentOtherEvidenceSequence"
PREDECESSORS = "PredecessorDocumentsSequence"
OF_OTHERS = frozenset({*COPIED, "ReferencedRequestSequence", "ReferencedPerformedProcedureStepSequence"})
"""Copied from the source: they point to orders and procedure steps that we do not have."""


def known(request: ResultRequest) -> dict[str, str]:
    """SOP Instance UID to class, of every image that was read, the segmentation and each encoding of the report."""
    images = {str(header.SOPInstanceUID): str(header.SOPClassUID) for header in request.headers}
    reports = {request.instance_uid(each): each for each in SR_LADDER}
    return images | reports | ({request.seg_uid: str(SegmentationStorage)} if request.findings else {})


def earlier_images(request: ResultRequest) -> Sequence[ImageReference]:
    """Those of the exam that it was compared with."""
    return request.comparison.images if request.comparison else ()


def _references(of: Object) -> Iterator[tuple[Element, str]]:
    """Each reference, and the class that it should name; empty where nobody knows the instance."""
    instances = known(of.request)
    replaced = {each.sop_instance_uid: each.sop_class_uid for each in of.request.predecessors.values()}
    earlier = {each.sop_instance_uid: each.sop_class_uid for each in earlier_images(of.request)}
    places = {PREDECESSORS: replaced, OTHER_EVIDENCE: earlier}
    for each in of.elements:
        if each.path[-1] == "ReferencedSOPInstanceUID" and each.path[0] not in OF_OTHERS:
            place = places.get(each.path[0], instances)
            yield each, place.get(str(each.element.value), "")


def to_strangers(of: Object) -> Iterator[str]:
    """References to what is no image of the reading and no result of it."""
    for (path, *_), sop_class_uid in _references(of):
        if not sop_class_uid:
            yield ".".join(path[-3:-1])


def of_other_class(of: Object) -> Iterator[str]:
    """References that name another SOP class than the instance has."""
    for (path, parent, _), sop_class_uid in _references(of):
        if sop_class_uid and parent.get("ReferencedSOPClassUID") != sop_class_uid:
            yield ".".join(path[-3:-1])


def not_listed(of: Object) -> Iterator[str]:
    """What was read, and the segmentation, as evidence of the report; what was read, as sources of the segmentation."""
    if of.encoded.kind is ResultKind.SR:
        listed, expected = set(evidence(of.dataset)), _expected_evidence(of.request)
    else:
        study = str(of.dataset.get("StudyInstanceUID"))
        listed = {(study, *each) for each in _sources(of.dataset)}
        expected = {(study, *_place(header)[1:]) for header in of.request.headers}
    if absent := expected - listed:
        yield f"{len(absent)} instances"


Place = tuple[str, str, str]
"""Study, series and SOP Instance UID."""


def _expected_evidence(request: ResultRequest) -> set[Place]:
    places = {_place(header) for header in request.headers}
    if request.findings:
        study = str(request.headers[0].StudyInstanceUID)
        places.add((study, request.series_uid(SegmentationStorage), request.seg_uid))
    return places


def _place(header: Dataset) -> Place:
    return str(header.StudyInstanceUID), str(header.SeriesInstanceUID), str(header.SOPInstanceUID)


def _sources(segmentation: Dataset) -> Iterator[tuple[str, str]]:
    for series in segmentation.get("ReferencedSeriesSequence", []):
        for each in series.get("ReferencedInstanceSequence", []):
            yield series.get("SeriesInstanceUID"), each.ReferencedSOPInstanceUID


def no_successor(of: Object) -> Iterator[str]:
    """A report that replaces another names it."""
    earlier = of.request.predecessors.get(of.encoded.sop_class_uid)
    named = {
        str(each.element.value)
        for each in of.elements
        if each.path[0] == PREDECESSORS and each.path[-1] == "ReferencedSOPInstanceUID"
    }
    if named != ({earlier.sop_instance_uid} if earlier else set()):
        yield PREDECESSORS
