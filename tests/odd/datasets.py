"""Data sets as no scanner writes them: any element, any VR, any value, nested and cut in every way."""

import re
import struct
import zlib
from dataclasses import dataclass
from typing import NamedTuple

from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
)

from node.domain.uids import derived_uid
from node.errors import BadInput
from tests.sender import Payload
from tests.studies import header_of_payload

SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
LONG_VRS = ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
OTHER_VRS = ("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST",
             "TM", "UI", "UL", "US")  # fmt: skip
UNKNOWN_VRS = ("ZZ", "\0\0", "??")
UNDEFINED = 0xFFFFFFFF
UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
READ_KEYWORDS = (
    "SpecificCharacterSet", "ImageType", "StudyDate", "StudyTime", "ContentTime", "AccessionNumber", "Modality",
    "ReferringPhysicianName", "StudyDescription", "SeriesDescription", "PatientName", "PatientID",
    "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientAge", "BodyPartExamined", "SliceThickness",
    "ProtocolName", "GantryDetectorTilt", "ConvolutionKernel", "ContrastBolusAgent", "ContrastBolusAgentSequence",
    "StudyID", "SeriesNumber", "AcquisitionNumber", "InstanceNumber", "ImagePositionPatient",
    "ImageOrientationPatient", "FrameOfReferenceUID", "Rows", "Columns", "PixelSpacing", "BurnedInAnnotation",
    "RescaleSlope", "LossyImageCompression", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "PixelMeasuresSequence", "PlanePositionSequence", "PlaneOrientationSequence", "CTImageFrameTypeSequence",
)  # fmt: skip
"""What the catalog reads."""


class Element(NamedTuple):
    """One element, in no encoding yet."""

    tag: int
    vr: str
    value: "bytes | tuple[tuple[Element, ...], ...]"
    """Bytes as they are, or the items of a sequence."""
    undefined_length: bool = False
    lie: int = 0
    """Added to the length that is written."""


@dataclass(frozen=True)
class Encoding:
    """How elements become bytes (PS3.5 7.1)."""

    explicit: bool
    order: str

    def data_set(self, elements: "tuple[Element, ...]") -> bytes:
        """In the order given."""
        return b"".join(map(self._element, elements))

    def _element(self, element: Element) -> bytes:
        value = element.value if isinstance(element.value, bytes) else self._items(element)
        length = UNDEFINED if element.undefined_length else max(0, len(value) + element.lie)
        tail = self._delimiter(0xE0DD) if element.undefined_length else b""
        return self._head(element, length) + value + tail

    def _head(self, element: Element, length: int) -> bytes:
        tag = struct.pack(self.order + "HH", element.tag >> 16, element.tag & 0xFFFF)
        if not self.explicit:
            return tag + struct.pack(self.order + "I", length)
        vr = element.vr.encode("latin-1")
        if element.vr not in LONG_VRS:
            return tag + vr + struct.pack(self.order + "H", length & 0xFFFF)
        return tag + vr + struct.pack(self.order + "HI", 0, length)

    def _items(self, element: Element) -> bytes:
        raw = b""
        for item in element.value:
            assert isinstance(item, tuple)
            body = self.data_set(item)
            length = UNDEFINED if element.undefined_length else len(body)
            raw += struct.pack(self.order + "HHI", 0xFFFE, 0xE000, length) + body
            raw += self._delimiter(0xE00D) if element.undefined_length else b""
        return raw

    def _delimiter(self, element: int) -> bytes:
        return struct.pack(self.order + "HHI", 0xFFFE, element, 0)


def encoded(elements: tuple[Element, ...], syntax: str) -> bytes:
    """A data set in one of SYNTAXES."""
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    raw = Encoding(syntax != ImplicitVRLittleEndian, order).data_set(elements)
    if syntax != DeflatedExplicitVRLittleEndian:
        return raw
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(raw) + packer.flush()


def _tag(keyword: str) -> int:
    number = tag_for_keyword(keyword)
    assert number is not None
    return number


ODD_VALUES = (
    b"", b" ", b"\0\0", b"\\", b"\\\\\\", b"1", b"-1", b"0", b"NaN", b"inf", b"1e308\\1e308\\-1e308", b"1e-320",
    b"9" * 40, b"9" * 5000, b"0.7\\0.7", b"1\\0\\0\\0\\1\\0", b"0\\0\\1e300", b"1e200\\1e200\\1e200\\1e200\\1\\1",
    b"1.2.3", b"1.2.3 ", b"1..2", b"1.2." + b"3" * 100, "1.2.３".encode(), b"\xff\xfe\xfd", b"\x1b$B", b"\x1b(Z",
    b"ISO_IR 192", b"\\ISO 2022 IR 87", b"ISO_IR 999", b"unicode_escape", b"utf_16", b"zlib_codec", b"\\ud800\xff",
    "Ünïcödé^名前".encode(), "Ünïcödé".encode("latin-1"), b"ORIGINAL\\PRIMARY\\AXIAL", b"DERIVED\\\\", b"CT", b"CHEST",
    b"000Y", b"064Y", b"\xb2\xb2\xb2Y", b"-01M", b"99999999", b"\x00\x00\x00\x80", b"\xff" * 8, b"01", b"YES",
)  # fmt: skip

values = st.sampled_from(ODD_VALUES) | st.binary(max_size=48)
any_vr = st.sampled_from(OTHER_VRS + LONG_VRS + UNKNOWN_VRS)
known_tags = st.sampled_from([_tag(keyword) for keyword in READ_KEYWORDS])
private_tags = st.integers(0x0009, 0x00FF).map(lambda group: (2 * group + 1) << 16 | 0x10) | st.integers(
    0x1001, 0x10FF
).map(lambda number: 0x0009 << 16 | number)
tags = known_tags | known_tags | private_tags | st.integers(0x00080000, 0x7FDFFFFF)
lies = st.sampled_from([0] * 60 + [-1, 1, 2, 1000, 1 << 30])


@st.composite
def _plain(draw: st.DrawFn) -> Element:
    tag = draw(tags)
    vr = draw(any_vr) if draw(st.integers(0, 3)) == 0 or not _vr_of(tag) else _vr_of(tag)
    if vr == "SQ":
        return Element(tag, vr, draw(st.sampled_from([(), ((),), ((), ())])), draw(st.booleans()))
    return Element(tag, vr, draw(values), lie=draw(lies))


def _vr_of(tag: int) -> str:
    try:
        return dictionary_VR(tag)[:2]
    except KeyError:
        return ""


def _sequence_of(inner: st.SearchStrategy[tuple[Element, ...]]) -> st.SearchStrategy[Element]:
    items = st.lists(inner, max_size=3).map(tuple)
    return st.builds(Element, tags, st.just("SQ"), items, st.booleans(), lies)


_leaf = st.lists(_plain(), max_size=4).map(tuple)
_nested = st.recursive(
    _leaf, lambda inner: st.lists(_plain() | _sequence_of(inner), max_size=4).map(tuple), max_leaves=6
)


@st.composite
def _identity(draw: st.DrawFn) -> tuple[Element, ...]:
    """The four UIDs, now and then one that is missing or wrong."""
    number = str(draw(st.integers(0, 40)))
    right = (
        draw(st.sampled_from([CTImageStorage, CTImageStorage, EnhancedCTImageStorage, MRImageStorage])),
        derived_uid("odd instance", number, str(draw(st.integers(0, 1 << 30)))),
        derived_uid("odd study", number),
        derived_uid("odd series", number),
    )
    wrong = draw(st.sampled_from([*[None] * 12, *UIDS]))
    found = []
    for keyword, uid in zip(UIDS, right, strict=True):
        value = draw(st.none() | values) if keyword == wrong else uid.encode() + b"\0" * (len(uid) % 2)
        if value is not None:
            found.append(Element(_tag(keyword), "UI", value))
    return tuple(found)


@st.composite
def _slice(draw: st.DrawFn) -> tuple[Element, ...]:
    """What makes an image readable as a slice of a CT, some of it odd."""
    place = str(draw(st.integers(-3, 80))).encode()
    right = {
        "Modality": b"CT",
        "ImageType": b"ORIGINAL\\PRIMARY\\AXIAL ",
        "ImagePositionPatient": b"0\\0\\" + place,
        "ImageOrientationPatient": b"1\\0\\0\\0\\1\\0 ",
        "PixelSpacing": b"0.7\\0.7 ",
        "SliceThickness": b"1 ",
        "RescaleSlope": b"1 ",
        "PatientAge": b"064Y",
    }
    wrong = draw(st.sampled_from([*[""] * 4, *right]))
    return tuple(
        Element(_tag(keyword), dictionary_VR(_tag(keyword)), draw(values) if keyword == wrong else value)
        for keyword, value in right.items()
    )


@st.composite
def payloads(draw: st.DrawFn) -> Payload:
    """One instance on its way, announced as what it says that it is, where it says so."""
    syntax = draw(st.sampled_from(SYNTAXES))
    elements = (*draw(st.just(()) | _slice()), *draw(_identity()), *draw(_nested))
    if draw(st.integers(0, 5)):
        elements = tuple(sorted({element.tag: element for element in elements}.values()))
    raw = encoded(elements, syntax)
    if draw(st.integers(1, 16)) == 7:
        raw = raw[: draw(st.integers(0, len(raw)))]
    return announced(Payload("", "", str(syntax), raw))


def announced(payload: Payload) -> Payload:
    """The same bytes under their own UIDs; what cannot be read, or proposed as a class, is announced as a CT image."""
    try:
        header = header_of_payload(payload)
    except BadInput:
        return payload._replace(sop_class_uid=CTImageStorage, sop_instance_uid="1.2.3.4")
    proposed = header.sop_class_uid if re.fullmatch(r"[0-9.]+", header.sop_class_uid, re.ASCII) else CTImageStorage
    return payload._replace(sop_class_uid=proposed, sop_instance_uid=header.sop_instance_uid)
