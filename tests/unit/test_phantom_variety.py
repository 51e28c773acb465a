"""A seed decides a whole scanner and patient; a tilted gantry shears the images, and their headers say so."""

import subprocess
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from scipy import ndimage

from node.domain.eligibility import Level, judge
from node.errors import BadInput
from node.headers import read_header
from workers.phantom import Phantom, Spec, chest, varied
from workers.phantom.anatomy import Build
from workers.phantom.chest import image_grid
from workers.phantom.series import write_series
from workers.volume import load_volume

TILT = 15.0
STRAIGHT = Spec(
    6, nodules=3, matrix=128, step_mm=3.0, thickness_mm=3.0, sharpness=0.0, noise_hu=0.0, leaves=100, smallest_mm=12
)


@pytest.fixture(scope="module")
def straight() -> Phantom:
    return chest(STRAIGHT)


@pytest.fixture(scope="module")
def tilted() -> Phantom:
    return chest(replace(STRAIGHT, tilt_deg=TILT))


def test_equal_seeds_give_equal_specs_and_fields_that_are_given_win_alone() -> None:
    drawn, fixed = varied(7), varied(7, noise_hu=1.0, nodules=2)
    assert drawn == varied(7)
    differ = {one.name for one in fields(Spec) if getattr(drawn, one.name) != getattr(fixed, one.name)}
    assert (fixed.noise_hu, fixed.nodules) == (1.0, 2)
    assert differ <= {"noise_hu", "nodules"}


def test_specs_vary_as_scanners_and_patients_do() -> None:
    specs = [varied(seed) for seed in range(300)]
    for name, low, high in (
        ("thickness_mm", 0.6, 5.0),
        ("sharpness", 0.02, 0.98),
        ("noise_hu", 6.0, 50.0),
        ("field_mm", 290.0, 400.0),
        ("contrast_hu", 40.0, 280.0),
        ("nodules", 0, 10),
        ("matrix", 384, 768),
    ):
        values = [getattr(spec, name) for spec in specs]
        assert min(values) <= low and max(values) >= high, name
    assert any(spec.step_mm < spec.thickness_mm for spec in specs)
    assert max(abs(varied(seed, tilted=True).tilt_deg) for seed in range(60)) > 10


def test_every_spec_that_is_not_tilted_has_a_geometry_that_is_read() -> None:
    for spec in map(varied, range(300)):
        grid = image_grid(Build.random(spec.seed), spec)
        assert spec.tilt_deg == 0
        assert grid.shape_zyx[0] >= 40
        assert 0.3 <= grid.spacing_zyx_mm[1] <= 1.2
        assert spec.thickness_mm <= 5 and spec.step_mm <= 5


def test_contrast_is_in_the_blood_and_in_the_header(tmp_path: Path) -> None:
    for blood, agent in ((40.0, ""), (250.0, "IODINE")):
        phantom = chest(replace(STRAIGHT, nodules=0, contrast_hu=blood))
        heart = phantom.hu[np.abs(phantom.grid.axis_mm(0) - 20) < 10][:, 30:90, 40:90]
        assert np.percentile(heart, 95) == pytest.approx(blood, abs=40)
        first = write_series(phantom, tmp_path)[0]
        assert dcmread(first).get("ContrastBolusAgent", "") == agent


def test_the_field_of_view_is_the_width_of_the_image() -> None:
    phantom = chest(replace(STRAIGHT, nodules=0, field_mm=440.0))
    assert phantom.grid.spacing_zyx_mm[2] * phantom.grid.shape_zyx[2] == pytest.approx(440, abs=0.1)
    air = phantom.hu[:, :, [0, -1]]
    assert (air < -950).all()


def test_under_a_tilted_gantry_the_same_chest_lies_where_the_headers_say(
    straight: Phantom, tilted: Phantom, tmp_path: Path
) -> None:
    upright = np.linalg.inv(straight.grid.affine)
    slices = [dcmread(path) for path in write_series(tilted, tmp_path)]
    for number in (20, 40, 60):
        image = slices[number]
        down, right = np.array(image.ImageOrientationPatient[3:]), np.array(image.ImageOrientationPatient[:3])
        j, i = np.mgrid[10:118, 10:118]
        row_mm, column_mm = image.PixelSpacing
        at = np.array(image.ImagePositionPatient)[:, None] + np.outer(down, j.ravel() * row_mm)
        at = at + np.outer(right, i.ravel() * column_mm)
        index = (upright @ np.vstack([at, np.ones(at.shape[1])]))[:3]
        there = ndimage.map_coordinates(straight.hu.astype(np.float32), index, order=1, mode="nearest")
        here = image.pixel_array[j, i].ravel() + float(image.RescaleIntercept)
        assert np.corrcoef(here, there)[0, 1] > 0.97
        assert np.median(np.abs(here - there)) < 25


def test_the_headers_of_a_tilted_gantry_give_the_affine_of_the_grid(tilted: Phantom, tmp_path: Path) -> None:
    first, second = (dcmread(path) for path in write_series(tilted, tmp_path)[:2])
    position, orientation = np.array(first.ImagePositionPatient), np.array(first.ImageOrientationPatient).reshape(2, 3)
    affine = tilted.grid.affine
    assert np.allclose(position, affine[:3, 3], atol=1e-4)
    assert np.allclose(np.array(second.ImagePositionPatient) - position, affine[:3, 0], atol=1e-4)
    assert np.allclose(orientation[1] * first.PixelSpacing[0], affine[:3, 1], atol=1e-4)
    assert np.allclose(orientation[0] * first.PixelSpacing[1], affine[:3, 2], atol=1e-4)
    normal = np.cross(*orientation)
    assert np.degrees(np.arccos(abs(normal[2]))) == pytest.approx(TILT, abs=0.01)
    assert first.GantryDetectorTilt == TILT
    assert first.SpacingBetweenSlices == pytest.approx(3 * np.cos(np.radians(TILT)), abs=1e-4)


def test_nodules_of_a_tilted_gantry_lie_where_their_truth_says(straight: Phantom, tilted: Phantom) -> None:
    assert len(tilted.nodules) == 3
    for upright, nodule in zip(straight.nodules, tilted.nodules, strict=True):
        assert np.linalg.norm(np.subtract(nodule.center_lps_mm, upright.center_lps_mm)) < 1
        assert nodule.mask.sum() * tilted.grid.voxel_mm3 == pytest.approx(nodule.volume_mm3, rel=0.25)
        at = np.argwhere(nodule.mask) + nodule.offset_zyx
        center = (tilted.grid.affine @ [*at.mean(axis=0), 1])[:3]
        assert np.linalg.norm(center - nodule.center_lps_mm) < 2
        assert (tilted.lungs[tuple(at.T)] > 0).mean() > 0.8


def test_a_tilted_gantry_is_refused_by_its_headers_and_by_the_reader(tilted: Phantom, tmp_path: Path) -> None:
    paths = write_series(tilted, tmp_path)
    verdict = judge(read_header(path) for path in paths)
    assert verdict.level is Level.REFUSED
    assert "gantry-tilt" in verdict.refusals
    with pytest.raises(BadInput, match="sheared by 15"):
        load_volume(paths)


def test_dciodvfy_finds_no_error_in_tilted_and_enhanced_images(tmp_path: Path) -> None:
    phantom = chest(replace(STRAIGHT, nodules=0, tilt_deg=-TILT, contrast_hu=200.0))
    path = write_series(phantom, tmp_path)[30]
    with path.open("rb") as file:
        said = subprocess.run(["dciodvfy", "-new"], stdin=file, capture_output=True, text=True, check=False)
    assert "Error" not in said.stderr + said.stdout
