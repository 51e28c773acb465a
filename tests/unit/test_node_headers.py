"""headers.py: tags to InstanceHeader, from clean, odd and broken data sets."""

import random
import struct
import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from node.domain.eligibility import Level, judge
from node.domain.instance import CtAttributes, InstanceHeader
from node.errors import BadInput
from node.headers import data_set_digest, header_of, read_elements, read_header
from tests.builders import enhanced_ct
from tests.sender import Payload, payload_of, payload_of_file
from tests.studies import Series, header_of_payload

NAMES = {
    "chrArab.dcm": "قباني^لنزار",
    "chrFren.dcm": "Buc^Jérôme",
    "chrFrenMulti.dcm": "Buc^Jérôme",
    "chrGerm.dcm": "Äneas^Rüdiger",
    "chrGreek.dcm": "Διονυσιος",
    "chrH31.dcm": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "chrH32.dcm": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "chrHbrw.dcm": "שרון^דבורה",
    "chrI2.dcm": "Hong^Gildong=洪^吉洞=홍^길동",
    "chrJapMulti.dcm": "やまだ^たろう",
    "chrJapMultiExplicitIR6.dcm": "やまだ^たろう",
    "chrKoreanMulti.dcm": "김희중",
    "chrRuss.dcm": "Люкceмбypг",
    "chrX1.dcm": "Wang^XiaoDong=王^小東",
    "chrX2.dcm": "Wang^XiaoDong=王^小东",
}
UIDS = {
    (0x0008, 0x0016): CTImageStorage,
    (0x0008, 0x0018): "1.2.3",
    (0x0020, 0x000D): "1.2.4",
    (0x0020, 0x000E): "1.2.5",
}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # as `logs.configure` does: pydicom's name values


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    """Explicit VR Little Endian, the value as it is but for padding."""
    value += (b"\0" if vr in (b"UI", b"OB") else b" ") * (len(value) % 2)
    long = vr in (b"OB", b"OW", b"SQ", b"UN", b"UT")
    head = struct.pack(
        "<HH2sHI" if long else "<HH2sH", group, number, vr, *((0, len(value)) if long else (len(value),))
    )
    return head + value


def raw_data_set(*more: tuple[int, int, bytes, bytes]) -> bytes:
    """The four UIDs and what is asked for, in order."""
    elements = {(g, n): element(g, n, b"UI", str(uid).encode()) for (g, n), uid in UIDS.items()}
    elements |= {(group, number): element(group, number, vr, value) for group, number, vr, value in more}
    return b"".join(raw for _, raw in sorted(elements.items()))


def read(raw: bytes, syntax: str = ExplicitVRLittleEndian) -> InstanceHeader:
    return header_of(read_elements(BytesIO(raw), syntax), syntax)


def ct_of(header: InstanceHeader) -> CtAttributes:
    assert header.ct is not None
    return header.ct


def transcoded(dataset: Dataset, syntax: str) -> Payload:
    dataset.file_meta.TransferSyntaxUID = syntax
    return payload_of(dataset)


def test_every_field_of_a_ct_slice_is_read() -> None:
    series = Series().having(
        IssuerOfPatientID="Clinic", ReferringPhysicianName="Ref^Phys", ProtocolName="Thorax nativ",
        ConvolutionKernel="B60f", GantryDetectorTilt="0.5", BurnedInAnnotation="YES", LossyImageCompression="01",
        ContrastBolusAgent="Iod",
    )  # fmt: skip
    header = header_of_payload(series.payloads([4])[0])
    assert header == InstanceHeader(
        sop_instance_uid=series.instance_uid(4), sop_class_uid=CTImageStorage,
        transfer_syntax_uid=ExplicitVRLittleEndian, study_instance_uid=series.study_uid,
        series_instance_uid=series.series_uid, patient_id="TEST-1", issuer_of_patient_id="Clinic",
        patient_name="Nodus^Test", patient_birth_date="19600102", patient_sex="O", study_date="20240203",
        study_time="101112", accession_number="ACC-1", study_id="1", study_description="CT Thorax",
        referring_physician_name="Ref^Phys", modality="CT", series_number=3, series_description="Thorax 2.5",
        body_part_examined="CHEST", protocol_name="Thorax nativ",
        frame_of_reference_uid=header.frame_of_reference_uid, instance_number=5, rows=4, columns=4, ct=header.ct,
    )  # fmt: skip
    ct = ct_of(header)
    assert ct.frames[0].position == (-150.0, -150.0, -190.0)
    assert ct.frames[0].orientation == (1, 0, 0, 0, 1, 0)
    assert ct.image_type == ("ORIGINAL", "PRIMARY", "AXIAL")
    assert (ct.rows, ct.columns, ct.pixel_spacing_mm, ct.slice_thickness_mm) == (4, 4, (0.7, 0.7), 2.5)
    assert (ct.gantry_tilt_deg, ct.convolution_kernel, ct.acquisition_number) == (0.5, "B60f", 1)
    assert (ct.contrast, ct.lossy, ct.burned_in, ct.rescaled) == (True, True, True, True)
    assert (ct.content_time, ct.patient_age_years) == ("101112", 64)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_every_encoding_reads_the_same(syntax: str) -> None:
    plain = header_of_payload(Series().payloads([0])[0])
    dataset = Series().datasets([0])[0]
    if syntax == ExplicitVRBigEndian:
        del dataset.PixelData
    header = header_of_payload(transcoded(dataset, syntax))
    assert header == InstanceHeader(**{**plain.__dict__, "transfer_syntax_uid": syntax})


@pytest.mark.realdata
@pytest.mark.parametrize("name", sorted(NAMES))
def test_names_in_every_character_set_are_decoded(corpus: Path, name: str) -> None:
    assert read_header(corpus / "pydicom-charset" / name).patient_name.rstrip("=") == NAMES[name]


def test_an_unknown_character_set_costs_nothing_but_the_letters() -> None:
    header = read(raw_data_set((0x0008, 0x0005, b"CS", b"ISO_IR 999"), (0x0010, 0x0010, b"PN", b"M\xfcller")))
    assert header.patient_name.startswith("M")
    assert header.sop_instance_uid == "1.2.3"


def test_text_that_is_not_in_its_character_set_costs_nothing_but_the_letters() -> None:
    header = read(raw_data_set((0x0008, 0x0005, b"CS", b"ISO_IR 192"), (0x0010, 0x0010, b"PN", b"M\xfcller")))
    assert header.patient_name.startswith("M")
    header.patient_name.encode()  # no lone surrogate, which no database takes


@pytest.mark.parametrize("long", [False, True], ids=["delimited", "of explicit length"])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_an_enhanced_ct_is_judged_like_the_slices_it_holds(tmp_path: Path, syntax: str, long: bool) -> None:
    dataset = enhanced_ct(np.zeros((200, 8, 8), np.int16))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset["PerFrameFunctionalGroupsSequence"].is_undefined_length = not long
    dcmwrite(tmp_path / "ct.dcm", dataset, enforce_file_format=True)
    header = read_header(tmp_path / "ct.dcm")
    ct = ct_of(header)
    assert len(ct.frames) == 200
    assert (ct.pixel_spacing_mm, ct.slice_thickness_mm, ct.rescaled) == ((0.7, 0.7), 1.0, True)
    assert judge([header]).level is Level.FULL


def test_one_frame_without_a_place_leaves_the_whole_without_geometry() -> None:
    dataset = enhanced_ct(np.zeros((20, 8, 8), np.int16))
    del dataset.PerFrameFunctionalGroupsSequence[7].PlanePositionSequence
    header = header_of_payload(payload_of(dataset))
    assert ct_of(header).frames == ()
    assert judge([header]).refusals == ("geometry-missing",)


@pytest.mark.parametrize(
    ("vr", "number", "value", "field"),
    [
        (b"IS", (0x0020, 0x0013), b"seven", "instance_number"),
        (b"IS", (0x0020, 0x0013), b"", "instance_number"),
        (b"IS", (0x0020, 0x0013), b"2147483648", "instance_number"),
        (b"IS", (0x0020, 0x0011), b"nan", "series_number"),
        (b"IS", (0x0020, 0x0011), b"inf", "series_number"),
        (b"US", (0x0028, 0x0010), b"", "rows"),
    ],
)
def test_a_broken_number_is_absent(vr: bytes, number: tuple[int, int], value: bytes, field: str) -> None:
    assert getattr(read(raw_data_set((*number, vr, value))), field) is None


def test_the_largest_number_that_a_column_takes_is_read() -> None:
    assert read(raw_data_set((0x0020, 0x0013, b"IS", b"2147483647"))).instance_number == 2147483647


@pytest.mark.parametrize("value", [b"1\\2", b"1\\2\\x", b"nan\\nan\\nan", b"1\\2\\inf", b"1\\2\\1e999", b"", b"\\\\"])
def test_a_broken_position_is_no_geometry(value: bytes) -> None:
    orientation = (0x0020, 0x0037, b"DS", b"1\\0\\0\\0\\1\\0")
    header = read(raw_data_set((0x0020, 0x0032, b"DS", value), orientation))
    assert ct_of(header).frames == ()


@pytest.mark.parametrize("value", [b"0.7", b"nan\\nan", b"0.7\\x", b"0.7\\inf", b"0.7\\0.7\\0.7"])
def test_a_broken_pixel_spacing_is_absent(value: bytes) -> None:
    assert ct_of(read(raw_data_set((0x0028, 0x0030, b"DS", value)))).pixel_spacing_mm is None


@pytest.mark.parametrize(
    ("age", "years"),
    [
        (b"064Y", 64),
        (b"018M", 1),
        (b"103W", 1),
        (b"729D", 1),
        (b"000Y", None),
        (b"64", None),
        (b"abcY", None),
        (b"", None),
    ],
)
def test_ages_are_whole_years(age: bytes, years: int | None) -> None:
    assert ct_of(read(raw_data_set((0x0010, 0x1010, b"AS", age)))).patient_age_years == years


def test_text_is_stripped_of_padding_and_joined() -> None:
    header = read(raw_data_set((0x0010, 0x0020, b"LO", b"  P1 \0"), (0x0008, 0x103E, b"LO", b"a\\b")))
    assert (header.patient_id, header.series_description) == ("P1", "a\\b")


def test_a_value_of_the_wrong_vr_is_read_by_its_bytes() -> None:
    header = read(raw_data_set((0x0010, 0x0020, b"UN", b"P1"), (0x0008, 0x0060, b"LO", b"CT")))
    assert (header.patient_id, header.modality) == ("P1", "CT")


@pytest.mark.parametrize("missing", sorted(UIDS))
def test_without_one_of_the_four_uids_there_is_no_instance(missing: tuple[int, int]) -> None:
    with pytest.raises(BadInput, match=r"UID is missing\.$"):
        read(raw_data_set((*missing, b"UI", b"")))


@pytest.mark.parametrize("long", sorted(UIDS))
def test_a_uid_longer_than_the_standard_allows_is_refused(long: tuple[int, int]) -> None:
    read(raw_data_set((*long, b"UI", b"1." + b"2" * 62)))
    with pytest.raises(BadInput, match=r"UID is longer than 64 characters\.$"):
        read(raw_data_set((*long, b"UI", b"1." + b"2" * 63)))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_data_set_cut_inside_an_element_is_refused(syntax: str) -> None:
    dataset = Series().datasets([0])[0]
    whole = transcoded(dataset, syntax).data_set
    heads = {struct.pack("<HH", each.tag.group, each.tag.element) for each in dataset}
    for cut in range(1, len(whole)):
        if whole[cut : cut + 4] not in heads:
            with pytest.raises(BadInput):
                read(whole[:cut], syntax)


@pytest.mark.parametrize("raw", [b"", b"\0", b"\xff" * 100, b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)), b"\0" * 1000])
@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_garbage_is_bad_input_in_every_syntax(raw: bytes, syntax: str) -> None:
    with pytest.raises(BadInput):
        read(raw, syntax)


def test_a_deflated_data_set_that_is_cut_is_refused() -> None:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(raw_data_set()) + packer.flush()
    assert read(packed, DeflatedExplicitVRLittleEndian).sop_instance_uid == "1.2.3"
    with pytest.raises(BadInput, match="deflated"):
        read(packed[:-1], DeflatedExplicitVRLittleEndian)


def deflated(*parts: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return b"".join([*map(packer.compress, parts), packer.flush()])


def test_a_deflated_data_set_whose_pixels_are_cut_before_they_were_deflated_is_refused() -> None:
    whole = raw_data_set() + pixels(1 << 20)
    assert read(deflated(whole), DeflatedExplicitVRLittleEndian).sop_instance_uid == "1.2.3"
    with pytest.raises(BadInput, match="ends before"):
        read(deflated(whole[:-1]), DeflatedExplicitVRLittleEndian)


def pixels(size: int) -> bytes:
    """The head of so many bytes of pixels, and the pixels: noise, so that they do not deflate well."""
    return struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, size) + random.Random(size).randbytes(size)


@pytest.mark.parametrize("source", ["memory", "file"])
def test_a_deflated_data_set_that_inflates_to_a_thousand_times_its_size_is_refused_in_little_memory(
    tmp_path: Path, source: str
) -> None:
    """One MiB on the wire that would be one GiB in a receiver."""
    head, mib = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, 1 << 30), bytes(1 << 20)
    packed = deflated(raw_data_set(), head, *[mib] * 1024)
    assert len(packed) < 2 << 20
    path = tmp_path / "bomb"
    path.write_bytes(packed)
    tracemalloc.start()
    try:
        with path.open("rb") if source == "file" else BytesIO(packed) as file, pytest.raises(BadInput, match="absurd"):
            read_elements(file, DeflatedExplicitVRLittleEndian)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_the_header_of_a_large_deflated_image_costs_little_memory(tmp_path: Path) -> None:
    """It is walked to its end all the same: 32 MiB of pixels, not one of them kept."""
    path = tmp_path / "large"
    path.write_bytes(deflated(raw_data_set(), pixels(32 << 20)))
    tracemalloc.start()
    try:
        with path.open("rb") as file:
            header = header_of(read_elements(file, DeflatedExplicitVRLittleEndian), DeflatedExplicitVRLittleEndian)
        assert header.sop_instance_uid == "1.2.3"
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\0" * 128 + b"DICM", b"\0" * 200, b"\0" * 128 + b"DICM" + b"\xff" * 64]
)
def test_a_file_that_is_not_dicom_is_bad_input(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(content)
    with pytest.raises(BadInput):
        read_header(path)


def test_the_digest_of_a_data_set_ignores_its_file_meta(tmp_path: Path) -> None:
    dataset = Series().datasets([0])[0]
    for name in ("a", "bb"):
        dataset.file_meta.ImplementationVersionName = name
        dcmwrite(tmp_path / name, dataset, enforce_file_format=True)
    assert data_set_digest(tmp_path / "a") == data_set_digest(tmp_path / "bb")


@pytest.mark.realdata
def test_every_corpus_file_is_read_like_pydicom_does_or_refused_in_a_sentence(corpus: Path) -> None:
    read_count = 0
    for path in sorted(each for each in corpus.rglob("*") if each.is_file()):
        try:
            header = header_of_payload(payload_of_file(path))
        except BadInput as error:
            assert str(error).endswith(".")
            continue
        read_count += 1
        dataset = dcmread(path, force=True, stop_before_pixels=True)
        assert header.sop_instance_uid == dataset.SOPInstanceUID
        assert header.patient_id == str(dataset.get("PatientID") or "").strip()
        assert header.modality == str(dataset.get("Modality") or "")
        assert header.rows == dataset.get("Rows")
        assert (header.ct is not None) == dataset.SOPClassUID.startswith("1.2.840.10008.5.1.4.1.1.2")
    assert read_count > 200
