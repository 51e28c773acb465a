"""What a series becomes: HU, order, spacing, affine."""

import random
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from tests.builders import Scan, ct_series, enhanced_ct, write_series
from tests.peers import require
from workers.volume import load_series, load_volume

RNG = np.random.default_rng(7)
HU = RNG.integers(-1000, 1500, (12, 20, 24)).astype(np.int16)
TURNED = (0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
OBLIQUE = (0.96, 0.28, 0.0, -0.28, 0.96, 0.0)


def load(datasets: list[Dataset], folder: Path, min_slices: int = 10) -> np.ndarray:
    return load_volume(write_series(datasets, folder), min_slices).hu


@pytest.mark.parametrize("scan", [Scan(), Scan(signed=True), Scan(signed=True, intercept=0), Scan(intercept=-2048)])
def test_stored_values_become_hounsfield_units(scan: Scan, tmp_path: Path) -> None:
    assert (load(ct_series(HU, scan), tmp_path) == HU).all()


def test_a_fractional_slope_is_applied_and_rounded(tmp_path: Path) -> None:
    datasets = ct_series(HU)
    for dataset in datasets:
        dataset.RescaleSlope = "0.5"
    expected = np.clip(np.rint((HU + 1024) * 0.5 - 1024), -1024, None)
    assert np.abs(load(datasets, tmp_path) - expected).max() <= 1


def test_slices_are_ordered_by_position_not_by_name_or_instance_number(tmp_path: Path) -> None:
    datasets = ct_series(HU)
    numbers = list(range(1, 13))
    random.Random(3).shuffle(datasets)
    random.Random(4).shuffle(numbers)
    for dataset, number in zip(datasets, numbers, strict=True):
        dataset.InstanceNumber = number
    series = load_series(write_series(datasets, tmp_path))
    assert (series.volume.hu == HU).all()
    by_uid = {str(dataset.SOPInstanceUID): int(dataset.InstanceNumber) for dataset in datasets}
    assert [s.instance_number for s in series.volume.slices] == [
        by_uid[s.sop_instance_uid] for s in series.volume.slices
    ]
    assert [header.SOPInstanceUID for header in series.headers] == [s.sop_instance_uid for s in series.volume.slices]
    assert not any("PixelData" in header for header in series.headers)


@pytest.mark.parametrize(
    ("orientation", "step"),
    [
        ((1, 0, 0, 0, 1, 0), (0, 0, 1)),
        ((-1, 0, 0, 0, -1, 0), (0, 0, 1)),
        (OBLIQUE, (0, 0, 1)),
        ((1, 0, 0, 0, 0.8, 0.6), (0, -0.6, 0.8)),
    ],
)
def test_the_affine_gives_every_slice_its_own_position(
    orientation: tuple[float, ...], step: tuple[float, float, float], tmp_path: Path
) -> None:
    scan = Scan(spacing_zyx_mm=(1.25, 0.7, 0.9), orientation=orientation, step_direction=step)
    datasets = ct_series(HU, scan)
    volume = load_volume(write_series(datasets, tmp_path))
    assert volume.spacing_zyx_mm == pytest.approx((1.25, 0.7, 0.9))
    corners = volume.to_lps_mm(np.array([[z, 0, 0] for z in range(12)], float))
    expected = np.array([dataset.ImagePositionPatient for dataset in datasets], float)
    assert np.abs(corners - expected).max() < 1e-6
    along_row = volume.to_lps_mm(np.array([[0, 0, 1.0]])) - volume.to_lps_mm(np.zeros((1, 3)))
    assert along_row[0] == pytest.approx(np.array(orientation[:3]) * 0.9)
    point = np.array([[3.2, 5.5, 7.25]])
    assert volume.to_zyx(volume.to_lps_mm(point)) == pytest.approx(point)


def test_slices_stored_from_head_to_feet_rise_toward_the_head(tmp_path: Path) -> None:
    volume = load_volume(write_series(ct_series(HU, Scan(step_direction=(0, 0, -1))), tmp_path))
    assert volume.affine[2, 0] > 0
    assert (volume.hu == HU[::-1]).all()


def test_a_mirrored_image_plane_still_rises_toward_the_head(tmp_path: Path) -> None:
    volume = load_volume(write_series(ct_series(HU, Scan(orientation=(1, 0, 0, 0, -1, 0))), tmp_path))
    assert volume.affine[2, 0] > 0
    assert (volume.hu == HU).all()


def test_spacing_comes_from_positions_not_from_slice_thickness(tmp_path: Path) -> None:
    datasets = ct_series(HU, Scan(spacing_zyx_mm=(0.8, 0.7, 0.7)))
    for dataset in datasets:
        dataset.SliceThickness, dataset.SpacingBetweenSlices = "5", "5"
    assert load_volume(write_series(datasets, tmp_path)).spacing_zyx_mm[0] == pytest.approx(0.8)


@pytest.mark.parametrize("last", [0, 5, 11])
def test_the_affine_does_not_depend_on_which_file_is_read_first(last: int, tmp_path: Path) -> None:
    datasets = ct_series(HU)
    for index, dataset in enumerate(datasets):
        dataset.PixelSpacing = ["0.7", f"{0.7 + index * 1e-5:.5f}"]
    paths = write_series(datasets, tmp_path)
    moved = [*paths[last:], *paths[:last]]
    assert (load_volume(moved).affine == load_volume(paths).affine).all()


@pytest.mark.parametrize("padding", [-2000, -2048, -3024, 63536 - 1024])
def test_padding_becomes_air(padding: int, tmp_path: Path) -> None:
    scan = Scan(signed=padding < 0, intercept=-1024)
    hu = HU.astype(np.int32)
    hu[:, :3, :3] = padding
    datasets = ct_series(hu, scan)  # type: ignore[arg-type]
    for dataset in datasets:
        dataset.add_new("PixelPaddingValue", "SS" if padding < 0 else "US", padding + 1024)
    loaded = load(datasets, tmp_path)
    assert (loaded[:, :3, :3] == -1024).all()
    assert (loaded[:, 3:, 3:] == HU[:, 3:, 3:]).all()


def test_padding_declared_within_tissue_does_not_erase_tissue(tmp_path: Path) -> None:
    scan = Scan(signed=True, intercept=0)
    hu = np.full((12, 20, 24), 0, np.int16)
    datasets = ct_series(hu, scan)
    for dataset in datasets:
        dataset.add_new("PixelPaddingValue", "SS", 0)
    assert (load(datasets, tmp_path) == 0).all()


def test_twelve_stored_bits_ignore_what_is_above_them(tmp_path: Path) -> None:
    datasets = ct_series(HU)
    for dataset in datasets:
        dataset.BitsStored, dataset.HighBit = 12, 11
        dirty = np.frombuffer(dataset.PixelData, "<u2") | 0x8000
        dataset.PixelData = dirty.astype("<u2").tobytes()
    assert (load(datasets, tmp_path) == HU).all()


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless], ids=lambda uid: str(uid.name))
@pytest.mark.parametrize("signed", [False, True])
def test_compressed_slices_are_decoded(syntax: str, signed: bool, tmp_path: Path) -> None:
    hu = np.kron(HU, np.ones((1, 4, 4), np.int16))
    datasets = ct_series(hu, Scan(signed=signed))
    for dataset in datasets:
        dataset.compress(syntax, generate_instance_uid=False)
    assert (load(datasets, tmp_path) == hu).all()


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
    ids=lambda uid: str(uid.name),
)
def test_uncompressed_syntaxes_are_read(syntax: str, tmp_path: Path) -> None:
    datasets = ct_series(HU)
    for dataset in datasets:
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    paths = [tmp_path / f"{number}.dcm" for number in range(len(datasets))]
    for path, dataset in zip(paths, datasets, strict=True):
        dcmwrite(path, dataset, implicit_vr=syntax == ImplicitVRLittleEndian, enforce_file_format=True)
    assert (load_volume(paths).hu == HU).all()


@pytest.mark.parametrize("option", ["+el", "+e1"])
def test_jpeg_lossless_slices_are_decoded(option: str, tmp_path: Path) -> None:
    encoder = require("dcmcjpeg", package="dcmtk")
    paths = write_series(ct_series(HU), tmp_path)
    for path in paths:
        subprocess.run([encoder, option, str(path), str(path)], check=True)
    assert dcmread(paths[0]).file_meta.TransferSyntaxUID.is_compressed
    assert (load_volume(paths).hu == HU).all()


@pytest.mark.parametrize("compressed", [False, True])
def test_an_enhanced_ct_is_the_same_volume_with_frame_numbers(compressed: bool, tmp_path: Path) -> None:
    dataset = enhanced_ct(HU)
    if compressed:
        dataset.compress(RLELossless, generate_instance_uid=False)
    series = load_series(write_series([dataset], tmp_path))
    assert (series.volume.hu == HU).all()
    assert [s.frame_number for s in series.volume.slices] == list(range(12, 0, -1))
    assert len(series.headers) == 1


def test_each_frame_of_an_enhanced_ct_keeps_its_own_rescale(tmp_path: Path) -> None:
    dataset = enhanced_ct(HU)
    first = dataset.PerFrameFunctionalGroupsSequence[-1].PixelValueTransformationSequence[0]
    first.RescaleIntercept = "-1000"
    loaded = load_volume(write_series([dataset], tmp_path)).hu
    assert (loaded[0] == HU[0] + 24).all()
    assert (loaded[1:] == HU[1:]).all()


def test_what_a_frame_says_of_itself_counts_more_than_what_all_share(tmp_path: Path) -> None:
    dataset = enhanced_ct(HU)
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        measures = Dataset()
        measures.PixelSpacing = ["0.5", "0.6"]
        groups.PixelMeasuresSequence = [measures]
    assert load_volume(write_series([dataset], tmp_path)).spacing_zyx_mm == pytest.approx((1.0, 0.5, 0.6))


def test_two_multi_frame_files_make_one_volume(tmp_path: Path) -> None:
    lower, upper = enhanced_ct(HU[:6]), enhanced_ct(HU[6:], replace(Scan(), origin_lps_mm=(-50, -60, 106)))
    upper.SOPInstanceUID += ".2"
    upper.file_meta.MediaStorageSOPInstanceUID = upper.SOPInstanceUID
    assert (load([upper, lower], tmp_path) == HU).all()
