"""Key Object Selection "Of Interest": the key images, the segmentation and the report, for viewers that show no others.

A destination gets the encoding that names only what it has: which report it took, and whether it took a segmentation,
is known when the selection goes out, after both.
"""

from itertools import product

import highdicom.sr as sr
from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import KeyObjectSelectionDocumentStorage, SegmentationStorage

from node.domain.delivery import ResultKind
from workers.results.captions import selection_description
from workers.results.codes import OF_INTEREST
from workers.results.document import device_uid, encode
from workers.results.presentation import key_images
from workers.results.request import EncodedResult, ResultRequest
from workers.results.sr import SR_LADDER


def encode_kos(request: ResultRequest) -> tuple[EncodedResult, ...]:
    """Every encoding, the one that names most first; none without findings."""
    if not request.findings:
        return ()
    return tuple(_encoded(request, each) for each in selections(request))


def selections(request: ResultRequest) -> list[tuple[Dataset, ...]]:
    """Which results each encoding names beside the key images: with and without each, one report at most."""
    seg = _result(request, SegmentationStorage)
    seg.Rows, seg.Columns = request.headers[0].Rows, request.headers[0].Columns  # an image, as highdicom tells them
    reports = [(_result(request, each),) for each in SR_LADDER]
    return [(*images, *report) for images, report in product([(seg,), ()], [*reports, ()])]


def _result(request: ResultRequest, sop_class_uid: str) -> Dataset:
    result = Dataset()
    result.SOPClassUID, result.SOPInstanceUID = sop_class_uid, request.instance_uid(sop_class_uid)
    result.StudyInstanceUID = request.headers[0].StudyInstanceUID
    result.SeriesInstanceUID = request.series_uid(sop_class_uid)
    return result


def _encoded(request: ResultRequest, results: tuple[Dataset, ...]) -> EncodedResult:
    objects = [*key_images(request), *results]
    refers_to = tuple(str(each.SOPInstanceUID) for each in results)
    content = KeyObjectSelection(
        document_title=OF_INTEREST,
        referenced_objects=objects,
        observer_device_context=_observer(request),
        description=selection_description(request),
    )
    document = KeyObjectSelectionDocument(
        evidence=objects,
        content=content,
        series_instance_uid=request.series_uid(KeyObjectSelectionDocumentStorage),
        series_number=1,
        sop_instance_uid=request.instance_uid(KeyObjectSelectionDocumentStorage, refers_to),
        instance_number=1,
        manufacturer=request.equipment.manufacturer,
    )
    _mend(document, request)
    return encode(document, ResultKind.KOS, request, refers_to)


def _mend(document: Dataset, request: ResultRequest) -> None:
    """highdicom names what is referred to, which TID 2010 forbids, and knows no frames."""
    frames: dict[str, list[int]] = {}
    for key in (finding.key_image for finding in request.findings):
        if key.frame_number is not None:
            frames.setdefault(key.sop_instance_uid, []).append(key.frame_number)
    for item in document.ContentSequence:
        if item.ValueType in ("IMAGE", "COMPOSITE"):
            del item.ConceptNameCodeSequence
            reference = item.ReferencedSOPSequence[0]
            if of_image := frames.get(reference.ReferencedSOPInstanceUID):
                reference.ReferencedFrameNumber = sorted(set(of_image))


def _observer(request: ResultRequest) -> sr.ObserverContext:
    """This installation."""
    equipment = request.equipment
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=device_uid(request),
        name=equipment.ae_title,
        manufacturer_name=equipment.manufacturer,
        model_name=equipment.model_name,
        serial_number=equipment.installation_id,
    )
    return sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
