"""A report in another class with the same bytes: what was found of the first holds for it, but for its own UIDs."""

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.uid import Comprehensive3DSRStorage

from workers.results.check.rules import Object
from workers.volume.planes import PARSE_ERRORS

OWN = frozenset(tag_for_keyword(keyword) for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"))
OF_EACH = frozenset({"own-uids", "file-meta"})
"""Rules about those; the modules of Comprehensive 3D SR ask for all that those of the other classes do."""

Raw = dict[int, tuple[str | None, bytes | None]]


def is_twin(one: Object, first: Object) -> bool:
    """Whether two reports differ in nothing but their class and UIDs. Not where each names its own predecessor."""
    if first.encoded.sop_class_uid != Comprehensive3DSRStorage or first.encoded.kind is not one.encoded.kind:
        return False
    if one.request.predecessors:
        return False
    try:
        return _raw(Object(one.encoded, one.request).dataset) == _raw(Object(first.encoded, first.request).dataset)
    except PARSE_ERRORS:
        return False


def _raw(dataset: Dataset) -> Raw:
    """The bytes of each element but its own; those that were decoded on reading, as they are written."""
    found: Raw = {}
    for tag in set(dataset.keys()) - OWN:
        element: object = dataset.get_item(tag)
        if isinstance(element, RawDataElement):
            found[tag] = element.VR, element.value
        else:
            found[tag] = dataset[tag].VR, repr(dataset[tag].value).encode()
    return found
