"""What the reader does not trust, it refuses in one sentence; nothing else ever comes out of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, Sequence
from pydicom.uid import MRImageStorage, RLELossless

from node.errors import BadInput, Unavailable
from tests.builders import Scan, ct_series, enhanced_ct, write_series
from workers.volume import load_volume

HU = np.random.default_rng(7).integers(-1000, 1500, (12, 20, 24)).astype(np.int16)
Change = Callable[[list[Dataset]], None]


def move(index: int, dx: float = 0.0, dz: float = 0.0) -> Change:
    def change(datasets: list[Dataset]) -> None:
        x, y, z = datasets[index].ImagePositionPatient
        datasets[index].ImagePositionPatient = [x + dx, y, z + dz]

    return change


def put(index: int, **values: object) -> Change:
    def change(datasets: list[Dataset]) -> None:
        for keyword, value in values.items():
            setattr(datasets[index], keyword, value)

    return change


def drop(keyword: str) -> Change:
    def change(datasets: list[Dataset]) -> None:
        delattr(datasets[5], keyword)

    return change


def remove(index: int) -> Change:
    def change(datasets: list[Dataset]) -> None:
        del datasets[index]

    return change


REFUSED: dict[str, tuple[Change, str]] = {
    "position missing": (drop("ImagePositionPatient"), "no usable ImagePositionPatient"),
    "orientation missing": (drop("ImageOrientationPatient"), "no usable ImageOrientationPatient"),
    "pixel spacing missing": (drop("PixelSpacing"), "no usable PixelSpacing"),
    "slope missing": (drop("RescaleSlope"), "no usable RescaleSlope"),
    "intercept missing": (drop("RescaleIntercept"), "no usable RescaleIntercept"),
    "frame of reference missing": (drop("FrameOfReferenceUID"), "differ in FrameOfReferenceUID"),
    "pixels missing": (drop("PixelData"), "pixels of an image cannot be read"),
    "zero spacing": (put(3, PixelSpacing=["0", "0.7"]), "not positive"),
    "same position twice": (move(4, dz=1.0), "same position"),
    "slice missing": (remove(4), "unevenly spaced"),
    "slice moved by a tenth": (move(4, dz=0.1), "unevenly spaced"),
    "slice shifted sideways": (move(4, dx=2.0), "shifted"),
    "one slice turned": (put(4, ImageOrientationPatient=["0", "1", "0", "-1", "0", "0"]), "not parallel"),
    "orientation not unit": (put(4, ImageOrientationPatient=["2", "0", "0", "0", "1", "0"]), "unit vectors"),
    "other pixel spacing": (put(4, PixelSpacing=["0.8", "0.8"]), "differ in PixelSpacing"),
    "other matrix": (put(4, Rows=24, Columns=20), "differ in Rows"),
    "other frame of reference": (put(4, FrameOfReferenceUID="1.2.3"), "differ in FrameOfReferenceUID"),
    "other patient": (put(4, PatientID="SOMEBODY-ELSE"), "differ in PatientID"),
    "other study": (put(4, StudyInstanceUID="1.2.3"), "differ in StudyInstanceUID"),
    "other series": (put(4, SeriesInstanceUID="1.2.3"), "differ in SeriesInstanceUID"),
    "not CT": (put(4, SOPClassUID=MRImageStorage), "not CT"),
    "not HU": (put(4, RescaleType="US"), "not Hounsfield"),
    "colour": (put(4, SamplesPerPixel=3), "grey values"),
    "pixels cut short": (put(4, PixelData=b"\0" * 100), "pixels of an image cannot be read"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_series_is_refused_for(name: str, tmp_path: Path) -> None:
    change, sentence = REFUSED[name]
    datasets = ct_series(HU)
    change(datasets)
    with pytest.raises(BadInput, match=sentence) as refused:
        load_volume(write_series(datasets, tmp_path))
    assert "SOMEBODY" not in str(refused.value)


def test_the_same_image_twice_is_refused(tmp_path: Path) -> None:
    paths = write_series(ct_series(HU), tmp_path)
    with pytest.raises(BadInput, match="same image twice"):
        load_volume([*paths, paths[3]])


def test_too_few_slices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="5 slices"):
        load_volume(write_series(ct_series(HU[:5]), tmp_path))
    with pytest.raises(BadInput, match="0 slices"):
        load_volume([])


def test_a_file_that_is_away_is_no_fault_of_the_images(tmp_path: Path) -> None:
    """A shared volume that cannot be reached is tried again; it must not end as "not analysed"."""
    paths = write_series(ct_series(HU), tmp_path)
    paths[4].unlink()
    with pytest.raises(Unavailable, match=r"cannot be read now \(ENOENT\)"):
        load_volume(paths)
    paths[4].mkdir()
    with pytest.raises(Unavailable, match=r"cannot be read now \(EISDIR\)"):
        load_volume(paths)


def test_gantry_tilt_is_refused(tmp_path: Path) -> None:
    tilted = Scan(step_direction=(0.0, 0.0872, 0.9962))
    with pytest.raises(BadInput, match="sheared by 5"):
        load_volume(write_series(ct_series(HU, tilted), tmp_path))


def test_steps_that_differ_by_less_than_a_twentieth_are_accepted(tmp_path: Path) -> None:
    datasets = ct_series(HU)
    move(4, dz=0.02)(datasets)
    assert load_volume(write_series(datasets, tmp_path)).spacing_zyx_mm[0] == pytest.approx(1.0)


@pytest.mark.parametrize("step_mm", [0.5, 0.7])
def test_thin_slices_may_differ_by_the_rounding_of_the_tag(step_mm: float, tmp_path: Path) -> None:
    datasets = ct_series(HU, Scan(spacing_zyx_mm=(step_mm, 0.7, 0.7)))
    move(4, dz=0.045)(datasets)
    volume = load_volume(write_series(datasets, tmp_path))
    assert volume.spacing_zyx_mm[0] == pytest.approx(step_mm)


def test_an_enhanced_ct_that_does_not_describe_its_frames_is_refused(tmp_path: Path) -> None:
    dataset = enhanced_ct(HU)
    del dataset.PerFrameFunctionalGroupsSequence[0]
    with pytest.raises(BadInput, match="each of its frames"):
        load_volume(write_series([dataset], tmp_path))


def test_an_enhanced_ct_with_two_time_points_is_refused(tmp_path: Path) -> None:
    dataset = enhanced_ct(np.concatenate([HU, HU]))
    groups = dataset.PerFrameFunctionalGroupsSequence
    dataset.PerFrameFunctionalGroupsSequence = Sequence([*groups[12:], *groups[12:]])
    with pytest.raises(BadInput, match="same position"):
        load_volume(write_series([dataset], tmp_path))


@pytest.mark.parametrize("content", [b"", b"garbage", b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM" + b"\xff" * 400])
def test_files_that_are_not_dicom_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(BadInput):
        load_volume([path])


def test_a_damaged_code_stream_is_refused(tmp_path: Path) -> None:
    datasets = ct_series(HU)
    for dataset in datasets:
        dataset.compress(RLELossless, generate_instance_uid=False)
    datasets[2].PixelData = datasets[2].PixelData[:60]
    with pytest.raises(BadInput):
        load_volume(write_series(datasets, tmp_path))


@given(seed=st.integers(0, 100_000), single=st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bytes_give_a_volume_or_a_refusal(seed: int, single: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    scan = replace(Scan(), study=str(seed))
    datasets = ct_series(HU[:, :6, :6], scan) if single else [enhanced_ct(HU[:, :6, :6], scan)]
    paths = write_series(datasets, tmp_path)
    damaged = paths[int(rng.integers(len(paths)))]
    content = bytearray(damaged.read_bytes())
    for _ in range(int(rng.integers(1, 6))):
        content[int(rng.integers(132, len(content)))] = int(rng.integers(256))
    damaged.write_bytes(content)
    try:
        assert load_volume(paths).hu.shape[0] >= 10
    except BadInput as refused:
        assert str(refused).endswith(".")
