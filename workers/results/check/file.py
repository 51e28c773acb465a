"""The file and its identity: it parses, and says everywhere which object it is."""

import warnings
from collections.abc import Iterator

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage

from workers.results.check.rules import Object
from workers.results.check.values import texts_in

UNDEFINED = 0xFFFFFFFF
"""As a length: up to a delimiter."""


def unreadable(of: Object) -> Iterator[str]:
    """Reads and decodes every element."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield from _cut_short(of)
        if not of.elements:
            yield "no elements"
    texts = [str(each.message) for each in said]
    if any("Failed to decode" in text for text in texts) and not _is_spoiled(of.request.headers[0]):
        yield "text that its character set cannot hold"


def _is_spoiled(source: Dataset) -> bool:
    """Whether a text of the source does not fit its own character set: its bytes are copied as they are."""
    return any("\ufffd" in text for text in texts_in(source))


def _cut_short(of: Object) -> Iterator[str]:
    """Elements with fewer bytes than they announce, before any is decoded: pydicom takes what there is."""
    for tag in list(of.dataset.keys()):
        raw: object = of.dataset.get_item(tag)
        if isinstance(raw, RawDataElement) and raw.value is not None and len(raw.value) < raw.length < UNDEFINED:
            yield "end of file"


def unasked_segmentation(of: Object) -> Iterator[str]:
    """A SEG without findings would hold empty frames."""
    if of.encoded.sop_class_uid == SegmentationStorage and not of.request.findings:
        yield "no findings"


def wrong_identity(of: Object) -> Iterator[str]:
    """Derived from the reading: a retry has the same; of no image and no other result."""
    request, dataset, claimed = of.request, of.dataset, of.encoded
    expected = {
        "SOPClassUID": claimed.sop_class_uid,
        "SOPInstanceUID": request.instance_uid(claimed.sop_class_uid, claimed.refers_to),
        "SeriesInstanceUID": request.series_uid(claimed.sop_class_uid),
    }
    yield from (keyword for keyword, uid in expected.items() if str(dataset.get(keyword, "")) != uid)
    if (claimed.sop_instance_uid, claimed.series_instance_uid) != tuple(expected.values())[1:]:
        yield "as it is entered into the outbox"
    if {claimed.sop_instance_uid, claimed.series_instance_uid} & _uids_of_source(of):
        yield "the UID of an image"


def _uids_of_source(of: Object) -> set[str]:
    keywords = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
    return {str(header.get(keyword, "")) for header in of.request.headers for keyword in keywords}


def wrong_meta(of: Object) -> Iterator[str]:
    """PS3.10 7.1: what the file meta says of the data set."""
    meta, dataset = of.dataset.file_meta, of.dataset
    if meta.get("MediaStorageSOPClassUID") != dataset.get("SOPClassUID"):
        yield "MediaStorageSOPClassUID"
    if meta.get("MediaStorageSOPInstanceUID") != dataset.get("SOPInstanceUID"):
        yield "MediaStorageSOPInstanceUID"
    if meta.get("TransferSyntaxUID") != ExplicitVRLittleEndian:
        yield "TransferSyntaxUID"
