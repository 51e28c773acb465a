"""Structured report: TID 1500 with one group for the examination and one or two for each nodule."""

from collections.abc import Sequence

import highdicom.sr as hd
import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage, EnhancedSRStorage, SegmentationStorage

from node.domain.delivery import ResultKind
from node.domain.finding import Finding, KeyImage, Measurements, NoduleType, SolidPart
from node.domain.guidance import Risk
from node.domain.outcome import Outcome
from node.errors import AnalysisError
from workers.results import codes as c
from workers.results import comparison
from workers.results.document import device_uid, encode, plain_source
from workers.results.language import TAGS
from workers.results.request import EncodedResult, ResultRequest
from workers.results.text import lines

SR_LADDER = (str(Comprehensive3DSRStorage), str(ComprehensiveSRStorage), str(EnhancedSRStorage))
"""Best first; the same tree in each. A destination gets the first that it accepts."""
_DOCUMENTS = dict(zip(SR_LADDER, (hd.Comprehensive3DSR, hd.ComprehensiveSR, hd.EnhancedSR), strict=True))


def encode_sr(request: ResultRequest, sop_class_uid: str = SR_LADDER[0]) -> EncodedResult:
    """Encode the report as one rung of SR_LADDER: preliminary, unverified, complete."""
    if sop_class_uid not in _DOCUMENTS:
        raise AnalysisError(f"{sop_class_uid} is not an SR class that is written here.")
    document = _DOCUMENTS[sop_class_uid](
        evidence=_evidence(request),
        content=_content(request),
        series_instance_uid=request.series_uid(sop_class_uid),
        series_number=1,
        sop_instance_uid=request.instance_uid(sop_class_uid),
        instance_number=1,
        manufacturer=request.equipment.manufacturer,
        is_complete=True,
        is_final=False,
        is_verified=False,
        requested_procedures=_requests(request.headers[0]),
        previous_versions=_predecessors(request, sop_class_uid),
        coding_schemes=[c.NODUS_SCHEME] if _has_private_codes(request) else None,
    )
    for item in (*document.ConceptNameCodeSequence, *document.ContentSequence):
        request.say.name_codes(item)
    return encode(document, ResultKind.SR, request)


def _evidence(request: ResultRequest) -> list[Dataset]:
    """Every image that was read and the SEG; the first carries what highdicom copies."""
    evidence = [plain_source(request)]
    for header in request.headers[1:]:
        evidence.append(_reference(header))
    if request.findings:
        seg = Dataset()
        seg.SOPClassUID, seg.SOPInstanceUID = SegmentationStorage, request.seg_uid
        seg.StudyInstanceUID = request.headers[0].StudyInstanceUID
        seg.SeriesInstanceUID = request.series_uid(SegmentationStorage)
        evidence.append(seg)
    return evidence + comparison.evidence(request)


def _reference(header: Dataset) -> Dataset:
    reference = Dataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(reference, keyword, header[keyword].value)
    return reference


def _predecessors(request: ResultRequest, sop_class_uid: str) -> list[Dataset] | None:
    earlier = request.predecessors.get(sop_class_uid)
    if earlier is None:
        return None
    reference = Dataset()
    reference.StudyInstanceUID, reference.SeriesInstanceUID = earlier.study_instance_uid, earlier.series_instance_uid
    reference.SOPClassUID, reference.SOPInstanceUID = earlier.sop_class_uid, earlier.sop_instance_uid
    return [reference]


def _requests(header: Dataset) -> list[Dataset] | None:
    """The orders that the scanner worked on, as items of Referenced Request Sequence."""
    items = []
    for order in header.get("RequestAttributesSequence", []):
        item = Dataset()
        item.StudyInstanceUID, item.ReferencedStudySequence = header.StudyInstanceUID, []
        item.RequestedProcedureCodeSequence = order.get("RequestedProcedureCodeSequence", [])
        for keyword in ("AccessionNumber", "RequestedProcedureID", "RequestedProcedureDescription"):
            setattr(item, keyword, order.get(keyword, ""))
        item.PlacerOrderNumberImagingServiceRequest = item.FillerOrderNumberImagingServiceRequest = ""
        items.append(item)
    return items or None


def _content(request: ResultRequest) -> hd.MeasurementReport:
    """The tree, with the sentences for people before the groups for machines (TID 1500 is extensible)."""
    groups = [_examination(request)]
    for finding in request.findings:
        groups.append(_nodule(finding, request))
        if request.style.outlines:
            groups.append(_on_key_image(finding, request))
    groups += [_solid_part(*each, request) for each in request.solid_parts]
    report = hd.MeasurementReport(
        observation_context=_observer(request),
        procedure_reported=c.PROCEDURE_REPORTED,
        imaging_measurements=groups,
        language_of_content_item_and_descendants=hd.LanguageOfContentItemAndDescendants(TAGS[request.style.language]),
    )
    root = report[0]
    comments = [
        hd.TextContentItem(name=c.COMMENT, value=line, relationship_type=hd.RelationshipTypeValues.CONTAINS)
        for line in lines(request)
    ]
    items = list(root.ContentSequence)
    root.ContentSequence = hd.ContentSequence([*items[:-1], *comments, items[-1]])
    return report


def _observer(request: ResultRequest) -> hd.ObservationContext:
    equipment = request.equipment
    device = hd.DeviceObserverIdentifyingAttributes(
        uid=device_uid(request),
        name=equipment.ae_title,
        manufacturer_name=equipment.manufacturer,
        model_name=equipment.model_name,
        serial_number=equipment.installation_id,
    )
    return hd.ObservationContext(
        observer_device_context=hd.ObserverContext(
            observer_type=codes.DCM.Device, observer_identifying_attributes=device
        )
    )


def _algorithm(request: ResultRequest, rules: Sequence[str] = ()) -> hd.AlgorithmIdentification:
    """The networks; `rules`: names of the clinical rules that had a part in a group."""
    return hd.AlgorithmIdentification(
        name=request.model.name,
        version=request.model.version,
        family=c.ARTIFICIAL_INTELLIGENCE,
        manufacturer=request.equipment.manufacturer,
        parameters=list(rules) or None,
    )


def _examination(request: ResultRequest) -> hd.MeasurementsAndQualitativeEvaluations:
    """The group that says how the reading ended. Without findings there is no Finding item; see PS3.16 CID 6047.

    The number of findings is left out where it would be read as a total and is none. Lung-RADS is coded where one
    category alone is possible; where several are, the sentences name them.
    """
    outcome, count = request.conclusion.outcome, len(request.findings)
    evaluations = [hd.QualitativeEvaluation(c.ALGORITHMS_SUMMARY, c.summary_code(outcome, count > 0))]
    if outcome is Outcome.NO_FINDINGS:
        evaluations.append(hd.QualitativeEvaluation(c.NODULE_OF_LUNG, c.ABSENT))
    categories, rules = (request.guidance.lung_rads, request.guidance.rules) if request.guidance else ((), ())
    if len(categories) == 1:
        evaluations.append(hd.QualitativeEvaluation(c.LUNG_RADS, c.LUNG_RADS_CATEGORIES[categories[0]]))
    analysed = outcome is not Outcome.NOT_ANALYSED
    number = hd.Measurement(c.NUMBER_OF_FINDINGS, count, c.NODULES)
    number[0].MeasuredValueSequence[0].NumericValue = str(count)
    return hd.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.TrackingIdentifier(request.identity.uid("examination"), "Exam summary"),
        algorithm_id=_algorithm(request, rules),
        finding_sites=[hd.FindingSite(c.LUNG)] if analysed else None,
        measurements=[number] if analysed and not request.more_findings else None,
        qualitative_evaluations=evaluations,
    )


def _nodule(finding: Finding, request: ResultRequest) -> hd.VolumetricROIMeasurementsAndQualitativeEvaluations:
    """TID 1411: everything measured, on a segment of the SEG."""
    return hd.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.TrackingIdentifier(request.tracking_uid(finding), finding.label),
        referenced_segment=hd.ReferencedSegment(
            sop_class_uid=SegmentationStorage,
            sop_instance_uid=request.seg_uid,
            segment_number=finding.ordinal,
            source_series=hd.SourceSeriesForSegmentation(request.headers[0].SeriesInstanceUID),
        ),
        finding_category=c.ABNORMAL_STRUCTURE,
        finding_type=c.NODULE,
        finding_sites=[_site(finding)],
        algorithm_id=_algorithm(request),
        time_point_context=comparison.time_point(request),
        measurements=[
            *_measurements(finding),
            *_risks(finding, request),
            *comparison.measurements(finding, request),
        ],
        qualitative_evaluations=[*_evaluations(finding), *comparison.evaluations(finding, request)],
    )


def _on_key_image(finding: Finding, request: ResultRequest) -> hd.PlanarROIMeasurementsAndQualitativeEvaluations:
    """TID 1410: the outline and both axes on the key image, for viewers that show no segments; same tracking UID."""
    return hd.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.TrackingIdentifier(request.tracking_uid(finding), finding.label),
        referenced_region=_outline(finding.key_image),
        finding_category=c.ABNORMAL_STRUCTURE,
        finding_type=c.NODULE,
        finding_sites=[_site(finding)],
        algorithm_id=_algorithm(request),
        measurements=_axes(finding.measurements),
    )


def _solid_part(
    finding: Finding, part: SolidPart, request: ResultRequest
) -> hd.PlanarROIMeasurementsAndQualitativeEvaluations:
    """TID 1410 of its own: a segment of it would lie on that of its nodule, which some viewers do not draw."""
    identifier, uid = request.solid_tracking(finding)
    return hd.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.TrackingIdentifier(uid, identifier),
        referenced_region=_outline(part.key_image),
        finding_category=c.ABNORMAL_STRUCTURE,
        finding_type=c.SOLID_PART,
        finding_sites=[_site(finding)],
        algorithm_id=_algorithm(request),
        measurements=[
            hd.Measurement(c.DIAMETER, part.mean_diameter_mm, c.MM, derivation=c.MEAN, method=c.OPENED),
            *_axes(part),
        ],
    )


def _outline(key: KeyImage) -> hd.ImageRegion:
    """Closed, on its image."""
    image = hd.SourceImageForRegion(
        referenced_sop_class_uid=key.sop_class_uid,
        referenced_sop_instance_uid=key.sop_instance_uid,
        referenced_frame_numbers=None if key.frame_number is None else [key.frame_number],
    )
    closed = np.array([*key.outline, key.outline[0]], dtype=np.float32)
    return hd.ImageRegion(hd.GraphicTypeValues.POLYLINE, closed, image)


def _axes(sizes: Measurements | SolidPart) -> list[hd.Measurement]:
    return [
        hd.Measurement(c.LONG_AXIS, sizes.long_axis_mm, c.MM),
        hd.Measurement(c.SHORT_AXIS, sizes.short_axis_mm, c.MM),
    ]


def _site(finding: Finding) -> hd.FindingSite:
    return hd.FindingSite(c.LUNG, laterality=c.LATERALITY.get(finding.side))


def _measurements(finding: Finding) -> Sequence[hd.Measurement]:
    sizes = finding.measurements
    measured = [
        hd.Measurement(c.DIAMETER, sizes.mean_diameter_mm, c.MM, derivation=c.MEAN),
        *_axes(sizes),
        hd.Measurement(c.ATTENUATION, sizes.mean_hu, c.HU, derivation=c.MEAN),
        hd.Measurement(c.CERTAINTY, round(finding.confidence * 100, 1), c.PERCENT),
    ]
    if sizes.volume_mm3 is not None:
        measured.insert(3, hd.Measurement(c.VOLUME, sizes.volume_mm3, c.MM3, method=c.PARTIAL_VOLUME))
    return measured


def _risks(finding: Finding, request: ResultRequest) -> list[hd.Measurement]:
    """What a risk calculator says: its value, or least and most where some of its inputs are not known."""
    guidance = request.guidance_on(finding)
    risk: Risk | None = guidance.risk if guidance else None
    if risk is None:
        return []
    method = c.RISK_CALCULATORS[risk.calculator]
    bounds = ((risk.lower, c.MINIMUM), (risk.upper, c.MAXIMUM)) if risk.missing else ((risk.upper, None),)
    return [
        hd.Measurement(c.PROBABILITY_OF_CANCER, round(share * 100, 1), c.PERCENT, derivation=derivation, method=method)
        for share, derivation in bounds
    ]


def _evaluations(finding: Finding) -> list[hd.QualitativeEvaluation]:
    kind: Code = c.NODULE_TYPES[finding.type]
    evaluations = [hd.QualitativeEvaluation(c.ATTENUATION_CHARACTERISTIC, kind)]
    if finding.type is NoduleType.CALCIFIED:
        evaluations.append(hd.QualitativeEvaluation(c.CALCIFICATIONS, c.PRESENT))
    return evaluations


def _has_private_codes(request: ResultRequest) -> bool:
    """Of the way volumes are measured, of solid parts, of a risk calculator, or of growth."""
    has_risk = any(each.risk for each in request.guidance.nodules) if request.guidance else False
    has_more = has_risk or bool(request.solid_parts) or comparison.has_private_codes(request)
    return has_more or any(finding.measurements.volume_mm3 is not None for finding in request.findings)
