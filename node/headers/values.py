"""Values of a data set by keyword: what is absent or broken is absent, and never costs an instance."""

import math
import struct
import warnings
from collections.abc import Sequence
from functools import cache
from typing import cast

from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence as Items
from pydicom.tag import BaseTag

from node.errors import BadInput

BINARY_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
PN_DELIMS, TEXT_VR_DELIMS = {0x5C, 0x3D, 0x5E}, {0x5C, 0x0D, 0x0A, 0x0C, 0x09}
"""Bytes after which a character set falls back to the first (PS3.5 6.1.2.5.3)."""

LONGEST_UID = 64
"""PS3.5 9.1."""
LONGEST_TEXT = 512
"""Characters kept; the standard allows 64 to 324, PostgreSQL's indexes 2.7 kB."""


def sequence(ds: Dataset, keyword: str) -> Sequence[Dataset]:
    """The items of a sequence; none when it is absent or broken: one bad attribute never costs an instance."""
    if _tag(keyword) not in ds:
        return ()
    try:
        value = ds[_tag(keyword)].value
    except Exception:  # noqa: BLE001 - conversion of a broken value may raise anything; the catalog shows it as absent
        return ()
    return value if isinstance(value, Items) else ()


@cache
def _tag(keyword: str) -> BaseTag:
    number = tag_for_keyword(keyword)
    assert number is not None
    return BaseTag(number)


def _raw(ds: Dataset, keyword: str) -> bytes | None:
    """The bytes of a value: converting them here costs a tenth of what pydicom's elements do."""
    tag = _tag(keyword)
    if tag not in ds:
        return None
    element = ds.get_item(tag, keep_deferred=True)  # otherwise an empty value of an unknown VR raises
    if element.VR == "SQ":
        return None
    return element.value if isinstance(element.value, bytes) else str(element.value or "").encode()


def text(ds: Dataset, keyword: str) -> str:
    """A string, decoded, without its padding; several values joined by a backslash."""
    raw = _raw(ds, keyword)
    if not raw:
        return ""
    plain = raw.isascii() and b"\x1b" not in raw
    readable = raw.decode("ascii") if plain else _decoded(raw, ds, keyword)
    return readable.replace("\0", "").strip()[:LONGEST_TEXT]


def _decoded(raw: bytes, ds: Dataset, keyword: str) -> str:
    """By SpecificCharacterSet (PS3.3 C.12.1.1.2); what does not decode is kept readable as far as it can be."""
    names = (_raw(ds, "SpecificCharacterSet") or b"").decode("ascii", "replace").strip("\0 ").split("\\")
    delimiters = PN_DELIMS if dictionary_VR(_tag(keyword)) == "PN" else TEXT_VR_DELIMS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            decoded = decode_bytes(raw, convert_encodings(names), delimiters)
            return decoded.encode("utf-8", "replace").decode()  # no lone surrogates: no database takes them
    except Exception:  # noqa: BLE001 - an unknown or lying character set never costs an instance
        return raw.decode("latin-1")


def uid(ds: Dataset, keyword: str) -> str:
    """A UID that must be there. Raises BadInput."""
    found = text(ds, keyword)
    if not found:
        raise BadInput(f"{keyword} is missing.")
    if len(found) > LONGEST_UID:
        raise BadInput(f"{keyword} is longer than {LONGEST_UID} characters.")
    return found


def numbers(ds: Dataset, keyword: str) -> list[float]:
    """Values of a decimal or integer string; FD and US by their bytes. None at all when one is no finite number."""
    raw = _raw(ds, keyword)
    if not raw:
        return []
    try:
        found = _unpacked(ds, keyword, raw) or [float(part) for part in raw.decode("ascii").strip("\0 ").split("\\")]
    except (ValueError, struct.error):
        return []
    return found if all(map(math.isfinite, found)) else []


def _unpacked(ds: Dataset, keyword: str, raw: bytes) -> list[float]:
    """Values of a binary VR; none for a string."""
    code = BINARY_NUMBERS.get(dictionary_VR(_tag(keyword)))
    if code is None:
        return []
    element = cast("RawDataElement", ds.get_item(_tag(keyword)))
    size, order = struct.calcsize(code), "<" if element.is_little_endian else ">"
    return [float(number) for (number,) in struct.iter_unpack(order + code, raw[: len(raw) // size * size])]


def number(ds: Dataset, keyword: str) -> float | None:
    """The first of some numbers."""
    found = numbers(ds, keyword)
    return found[0] if found else None


def integer(ds: Dataset, keyword: str) -> int | None:
    """A whole number that an INTEGER column takes."""
    found = number(ds, keyword)
    return int(found) if found is not None and abs(found) < 1 << 31 else None


def years(age: str) -> int | None:
    """PatientAge (AS) in whole years; None also for zero, which is written where nobody knows."""
    per_year = {"Y": 1, "M": 12, "W": 52, "D": 365}
    if len(age) != 4 or not age.isascii() or not age[:3].isdigit() or age[3] not in per_year or age[:3] == "000":
        return None
    return int(age[:3]) // per_year[age[3]]
