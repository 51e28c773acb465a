"""headers/versions.py: what two files of one SOP Instance UID are to each other, attribute by attribute."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from node.domain.study import VersionKind
from node.headers.versions import CONFLICTING, DESCRIBING, compare, content_of
from tests.sender import payload_of_file
from tests.studies import Series
from workers.results.document import COPIED

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # as `logs.configure` does: pydicom's name values
DUPLICATE, DEMOGRAPHICS, CONFLICT = VersionKind.DUPLICATE, VersionKind.DEMOGRAPHICS, VersionKind.CONFLICT
Change = Callable[[Dataset], object]


def image() -> Dataset:
    (one,) = Series(count=1).datasets()
    one.PixelData = np.random.default_rng(3).integers(0, 4096, (4, 4), "<u2").tobytes()
    return one


def written(path: Path, ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> Path:
    ds.file_meta.TransferSyntaxUID = syntax
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    dcmwrite(path, ds, implicit_vr=implicit, little_endian=little, enforce_file_format=True)
    return path


def beside(folder: Path, second: Dataset, syntax: str = ExplicitVRLittleEndian) -> VersionKind:
    """What a data set is beside `image()`; to be compared it makes no difference which came first."""
    paths = written(folder / "first.dcm", image()), written(folder / "second.dcm", second, syntax)
    assert compare(*paths) is compare(*reversed(paths))
    return compare(*paths)


def setting(**attributes: Any) -> Change:
    def change(ds: Dataset) -> None:
        for keyword, value in attributes.items():
            setattr(ds, keyword, value)

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (setting(), DUPLICATE),
        (setting(WindowCenter="40", WindowWidth="400"), DUPLICATE),
        (setting(RetrieveAETitle="OTHER", InstitutionName="Elsewhere", StationName="CT9"), DUPLICATE),
        (setting(DataSetTrailingPadding=b"\0" * 8), DUPLICATE),
        (setting(InstanceCreationTime="235959", ContentTime="235959", SeriesNumber="9"), DUPLICATE),
        (lambda ds: ds.private_block(0x0011, "NODUS", create=True).add_new(1, "LO", "x"), DUPLICATE),
        (setting(PixelSpacing=["0.70", "7e-1"], RescaleSlope="1.000"), DUPLICATE),
        (setting(PatientName="Nodus^Test^^", OtherPatientIDs=None), DUPLICATE),
        (setting(PatientName="Other^Person"), DEMOGRAPHICS),
        (setting(PatientID="TEST-2"), DEMOGRAPHICS),
        (setting(PatientSex=None), DEMOGRAPHICS),
        (setting(PatientBirthDate="19600201"), DEMOGRAPHICS),
        (setting(AccessionNumber="ACC-2"), DEMOGRAPHICS),
        (setting(StudyDate="20240204"), DEMOGRAPHICS),
        (setting(OtherPatientIDsSequence=[Dataset()]), DEMOGRAPHICS),
        (setting(BodyPartExamined="HEAD"), DEMOGRAPHICS),
        (setting(ImagePositionPatient=[-150, -150, -199]), CONFLICT),
        (setting(ImageOrientationPatient=[1, 0, 0, 0, -1, 0]), CONFLICT),
        (setting(PixelSpacing=["0.8", "0.8"]), CONFLICT),
        (setting(SliceThickness="5"), CONFLICT),
        (setting(RescaleIntercept="0"), CONFLICT),
        (setting(SeriesInstanceUID="1.2.3"), CONFLICT),
        (setting(Modality="PT"), CONFLICT),
        (setting(ImageType=["DERIVED", "SECONDARY"]), CONFLICT),
        (setting(FrameOfReferenceUID=None), CONFLICT),
        (setting(PixelData=b"\7" * 32), CONFLICT),
        (setting(PixelData=b"\7" * 32, PatientName="Other^Person"), CONFLICT),
    ],
)
def test_a_difference_is_what_the_tables_say(tmp_path: Path, change: Change, expected: VersionKind) -> None:
    second = image()
    change(second)
    assert beside(tmp_path, second) is expected


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian], ids=lambda uid: uid.keyword
)
def test_the_encoding_of_a_data_set_makes_no_other_version_of_it(tmp_path: Path, syntax: str) -> None:
    second = image()
    if syntax == ExplicitVRBigEndian:
        second.PixelData = np.frombuffer(second.PixelData, "<u2").astype(">u2").tobytes()
    assert beside(tmp_path, second, syntax) is DUPLICATE


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless], ids=lambda uid: uid.keyword)
@pytest.mark.parametrize(("same", "expected"), [(True, DUPLICATE), (False, CONFLICT)])
def test_pixels_behind_lossless_compression_are_compared_as_they_decode(
    tmp_path: Path, syntax: str, same: bool, expected: VersionKind
) -> None:
    pixels = np.random.default_rng(4).integers(0, 4096, (64, 64), "<u2")
    plain = image()
    plain.Rows = plain.Columns = 64
    plain.PixelData = pixels.tobytes()
    first = written(tmp_path / "first.dcm", plain)
    plain.set_pixel_data(pixels if same else pixels ^ 1, "MONOCHROME2", 12, generate_instance_uid=False)
    plain.BitsAllocated, plain.BitsStored, plain.HighBit = 16, 16, 15
    plain.compress(syntax, generate_instance_uid=False)
    second = tmp_path / "second.dcm"
    dcmwrite(second, plain, enforce_file_format=True)
    assert compare(first, second) is expected


def test_the_same_pixels_after_a_lossy_way_are_a_conflict(tmp_path: Path) -> None:
    second = image()
    second.compress(RLELossless, generate_instance_uid=False)
    second.file_meta.TransferSyntaxUID = JPEGLSNearLossless
    dcmwrite(tmp_path / "second.dcm", second, enforce_file_format=True)
    assert compare(written(tmp_path / "first.dcm", image()), tmp_path / "second.dcm") is CONFLICT


def test_without_a_decoder_the_bytes_are_compared(tmp_path: Path) -> None:
    second = image()
    second.compress(RLELossless, generate_instance_uid=False)
    first, compressed = written(tmp_path / "first.dcm", image()), tmp_path / "second.dcm"
    dcmwrite(compressed, second, enforce_file_format=True)
    assert compare(first, compressed, lambda _: None) is CONFLICT
    assert compare(compressed, shutil.copy(compressed, tmp_path / "third.dcm"), lambda _: None) is DUPLICATE


def test_the_character_set_a_text_is_written_in_says_nothing(tmp_path: Path) -> None:
    first, second = image(), image()
    for each, charset in ((first, "ISO_IR 100"), (second, "ISO_IR 192")):
        each.SpecificCharacterSet, each.PatientName = charset, "Müller^Jörg"
    assert compare(written(tmp_path / "1.dcm", first), written(tmp_path / "2.dcm", second)) is DUPLICATE
    second.PatientName = "Muller^Jorg"
    assert compare(tmp_path / "1.dcm", written(tmp_path / "2.dcm", second)) is DEMOGRAPHICS


@pytest.mark.parametrize(
    ("inside", "expected"),
    [({"WindowWidth": "80"}, DUPLICATE), ({"ImagePositionPatient": ["0", "0", "7"]}, CONFLICT)],
    ids=["window", "position"],
)
def test_of_a_multi_frame_image_only_what_counts_of_each_frame_does(
    tmp_path: Path, inside: dict[str, Any], expected: VersionKind
) -> None:
    def multi_frame(**attributes: Any) -> Dataset:
        ds, place, group = image(), Dataset(), Dataset()
        place.ImagePositionPatient = ["0", "0", "0"]
        setting(**attributes)(place)
        group.PlanePositionSequence = Sequence([place])
        ds.PerFrameFunctionalGroupsSequence = Sequence([group])
        return ds

    first = written(tmp_path / "1.dcm", multi_frame())
    assert compare(first, written(tmp_path / "2.dcm", multi_frame(**inside))) is expected


def test_a_file_that_cannot_be_read_is_a_conflict_and_raises_nothing(tmp_path: Path) -> None:
    first = written(tmp_path / "1.dcm", image())
    (tmp_path / "2.dcm").write_bytes(b"garbage")
    assert compare(first, tmp_path / "2.dcm") is CONFLICT
    assert compare(first, tmp_path / "gone.dcm") is CONFLICT


def test_whatever_results_take_from_an_image_makes_another_description_of_it() -> None:
    described = {name for names in DESCRIBING.values() for name in names}
    read = {name for names in CONFLICTING.values() for name in names}
    assert set(COPIED) - described - read == {"SpecificCharacterSet"}
    assert not described & read
    assert all(Tag(name) for name in described | read)  # raises for what the dictionary does not know


@pytest.mark.realdata
def test_every_corpus_file_is_a_duplicate_of_itself(corpus: Path, tmp_path: Path) -> None:
    compared = 0
    for path in sorted(each for each in corpus.rglob("*") if each.is_file()):
        if payload_of_file(path).sop_instance_uid:
            assert content_of(dcmread(path, force=True)) == content_of(dcmread(path, force=True)), path
            compared += 1
    assert compared > 200


@pytest.mark.parametrize(
    ("vr", "values"), [("DS", (b"seven", b"eight")), ("US", (b"abc", b"abd")), ("XX", (b"ab", b"ac"))]
)
def test_a_value_that_does_not_convert_is_compared_by_its_bytes(vr: str, values: tuple[bytes, bytes]) -> None:
    def broken(value: bytes) -> Dataset:
        tag = Tag("SliceThickness")
        return Dataset({tag: RawDataElement(tag, vr, len(value), value, 0, False, True)})

    assert content_of(broken(values[0])) == content_of(broken(values[0]))
    assert content_of(broken(values[0])) != content_of(broken(values[1]))
