"""Walks a data set from its first element to its last without copying the pixels."""

import mmap
import os
from collections.abc import Collection
from io import BytesIO
from typing import Any, BinaryIO, cast

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.filereader import data_element_generator
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from node.errors import BadInput
from node.headers.deflated import inflated

LARGE_VALUE_BYTES = 4096
"""Longer values are skipped, not read: no attribute of the catalog is that long, but for..."""
FUNCTIONAL_GROUPS = (0x52009229, 0x52009230)
"""...the shared and per-frame groups of a multi-frame image, which hold its geometry."""


def read_elements(file: BinaryIO, transfer_syntax_uid: str, whole: Collection[int] = FUNCTIONAL_GROUPS) -> Dataset:
    """Walk a data set from the file's position to its end; keep everything but long values of other tags than `whole`.

    Raises BadInput when the bytes do not parse, or end before the last element does. A deflated data set is inflated
    as it is walked. Neither costs a copy of the pixels.
    """
    syntax = UID(transfer_syntax_uid)
    if syntax == DeflatedExplicitVRLittleEndian:
        file = inflated(file)
    try:
        elements = _walk(file, syntax, whole)
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"The data set does not parse ({type(error).__name__}).") from error
    return elements


def _walk(file: BinaryIO, syntax: UID, whole: Collection[int]) -> Dataset:
    start = file.tell()
    end = file.seek(0, os.SEEK_END)
    if start == end:
        raise BadInput("The data set is empty.")
    if not syntax.is_deflated and not isinstance(file, BytesIO):  # asking a file where it is costs more than reading it
        file = cast("BinaryIO", mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    file.seek(start)
    elements: dict[Any, Any] = {}
    done = start
    generator = data_element_generator(
        file, syntax.is_implicit_VR, syntax.is_little_endian, defer_size=LARGE_VALUE_BYTES
    )
    for element in generator:
        done = file.tell()
        if done > end or (isinstance(element, RawDataElement) and _is_cut(element)):
            raise BadInput("The data set ends before its last element does.")
        if not (isinstance(element, RawDataElement) and element.value is None and element.length):
            elements[element.tag] = element
        elif element.tag in whole:
            elements[element.tag] = element._replace(value=_bytes_at(file, element.value_tell, element.length))
    if done != end:
        raise BadInput("The data set ends inside the head of an element.")
    return Dataset(elements)


def _bytes_at(file: BinaryIO, start: int, length: int) -> bytes:
    """Read there, and return to where the file stood."""
    here = file.tell()
    file.seek(start)
    raw = file.read(length)
    file.seek(here)
    return raw


def _is_cut(element: RawDataElement) -> bool:
    defined = element.length not in (0, 0xFFFFFFFF)
    return defined and element.value is not None and len(element.value) < element.length
