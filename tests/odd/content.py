"""What a data set says, as another program may encode it anew: for comparing what dcmsend sent with its file."""

import numpy as np
from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian

TRAILING_PADDING = 0xFFFCFFFC


def content(ds: Dataset) -> dict[int, object]:
    """Tag to value. Without group 0002, group lengths and padding, which nobody must keep (PS3.5 7.2, PS3.10 7.1), and
    without the private elements of a file that does not tell their VR."""
    swap = getattr(ds.file_meta, "TransferSyntaxUID", "") == ExplicitVRBigEndian
    told = not (ds.original_encoding[0] or swap)
    return {
        int(each.tag): _value(each, swap)
        for each in ds
        if each.tag.element and each.tag != TRAILING_PADDING and (told or not each.tag.is_private)
    }


def says_the_same(original: Dataset, sent: Dataset) -> bool:
    """Whether everything in the original is in what was sent, and nothing else but private elements."""
    one, other = content(original), content(sent)
    more = other.keys() - one.keys()
    return all(other.get(tag) == value for tag, value in one.items()) and all(tag >> 16 & 1 for tag in more)


def _value(element: DataElement, swap: bool) -> object:
    value = element.value
    if isinstance(value, Sequence):
        return [{int(each.tag): _value(each, swap) for each in item if each.tag.element} for item in value]
    if isinstance(value, bytes):
        swapped = np.frombuffer(value, ">u2").astype("<u2").tobytes() if swap and element.VR == "OW" else value
        return swapped.rstrip(b"\0 ")
    return value or None
