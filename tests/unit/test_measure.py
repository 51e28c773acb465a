"""Sizes of digital spheres and hand-made masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import LUNG_HU, Sphere, as_volume, half_max_mask, spheres_hu
from workers.measure import Measured, measure
from workers.volume import Mask

SHAPE = (28, 40, 40)
SPACING = (1.0, 0.7, 0.7)


def measured(
    diameter_mm: float, hu: float = 40.0, spacing: tuple[float, float, float] = SPACING, seed: int = 0
) -> Measured:
    """A sphere near the middle at a random sub-voxel place; noisy image, mask at half maximum without noise."""
    shift = np.random.default_rng(seed).uniform(-1, 1, 3)
    sphere = Sphere((13 + shift[0], 14 + shift[1], 14 + shift[2]), diameter_mm, hu)
    shape = tuple(round(28 / step) for step in spacing)
    mask = half_max_mask(as_volume(spheres_hu(shape, spacing, [sphere]), spacing), sphere)
    return measure(as_volume(spheres_hu(shape, spacing, [sphere], noise_hu=25, seed=seed), spacing), mask)


def volume_errors(diameter_mm: float, hu: float) -> np.ndarray:
    true_mm3 = np.pi / 6 * diameter_mm**3
    found = [measured(diameter_mm, hu, seed=seed).measurements.volume_mm3 for seed in range(6)]
    return np.array(found, float) / true_mm3 - 1


@pytest.mark.parametrize("diameter_mm", [6, 8, 12])
def test_the_volume_of_a_solid_sphere_is_right_within_5_percent(diameter_mm: float) -> None:
    errors = volume_errors(diameter_mm, 40)
    assert abs(errors.mean()) <= 0.05
    assert errors.std() <= 0.05


@pytest.mark.parametrize("diameter_mm", [4, 5])
def test_the_volume_of_a_small_solid_sphere_is_right_within_10_percent(diameter_mm: float) -> None:
    assert abs(volume_errors(diameter_mm, 40).mean()) <= 0.10


@pytest.mark.parametrize("diameter_mm", [8, 12])
def test_the_volume_of_a_ground_glass_sphere_is_right_within_10_percent(diameter_mm: float) -> None:
    assert abs(volume_errors(diameter_mm, -600).mean()) <= 0.10


@pytest.mark.parametrize("diameter_mm", [5, 6, 8, 12])
@pytest.mark.parametrize("step_mm", [0.6, 1.0, 2.5])
def test_diameters_of_spheres_are_right_within_half_a_millimetre(diameter_mm: float, step_mm: float) -> None:
    found = [measured(diameter_mm, spacing=(step_mm, 0.7, 0.7), seed=seed).measurements for seed in range(4)]
    assert abs(np.mean([each.mean_diameter_mm for each in found]) - diameter_mm) <= 0.5


def test_a_vessel_beside_the_mask_adds_little_to_the_volume() -> None:
    sphere = Sphere((14, 14, 14), 8)
    hu = spheres_hu(SHAPE, SPACING, [sphere])
    mask = half_max_mask(as_volume(hu, SPACING), sphere)
    with_vessel = hu.copy()
    with_vessel[13:16, :, 19:22] = 40
    plain = measure(as_volume(hu, SPACING), mask).measurements.volume_mm3
    found = measure(as_volume(with_vessel, SPACING), mask).measurements.volume_mm3
    assert found == pytest.approx(plain, rel=0.05)


def test_volume_is_not_measured_where_slices_are_too_far_apart() -> None:
    assert measured(12, spacing=(2.5, 0.7, 0.7)).measurements.volume_mm3 is not None
    assert measured(12, spacing=(3.0, 0.7, 0.7)).measurements.volume_mm3 is None


def test_a_single_voxel_has_the_size_of_a_voxel() -> None:
    hu = np.full(SHAPE, LUNG_HU, np.int16)
    hu[10, 20, 30] = 0
    found = measure(as_volume(hu, (1.0, 0.5, 0.5)), Mask(np.ones((1, 1, 1), bool), (10, 20, 30)))
    assert found.measurements.long_axis_mm == found.measurements.short_axis_mm == 0.5
    assert found.voxel_volume_mm3 == pytest.approx(0.25)
    assert found.center_lps_mm == pytest.approx((15.0, 10.0, 10.0))
    assert found.measurements.mean_hu == 0


def test_an_ellipse_has_its_two_axes_and_its_outline_in_scoord_pixels() -> None:
    rows, columns = np.mgrid[:40, :40]
    ellipse = ((columns - 20) / 12.5) ** 2 + ((rows - 15) / 5.5) ** 2 <= 1
    smaller = ellipse & (np.abs(columns - 20) < 9)
    found = measure(as_volume(np.zeros(SHAPE, np.int16)), Mask(np.stack([smaller, ellipse]), (6, 0, 0)))
    assert found.key_image.slice_index == 7
    assert found.measurements.long_axis_mm == pytest.approx(25 * 0.7, abs=0.3)
    assert found.measurements.short_axis_mm == pytest.approx(11 * 0.7, abs=0.3)
    (left, row), (right, other_row) = sorted(found.key_image.long_axis)
    (column, top), (other_column, bottom) = sorted(found.key_image.short_axis, key=lambda point: point[1])
    assert (left, right) == pytest.approx((8, 33))
    assert (top, bottom) == pytest.approx((10, 21), abs=0.6)
    assert max(abs(row - 15.5), abs(other_row - 15.5), abs(column - 20.5), abs(other_column - 20.5)) < 4
    outline = np.array(found.key_image.outline)
    assert (outline.min(axis=0) + outline.max(axis=0)) / 2 == pytest.approx((20.5, 15.5))
    assert np.ptp(outline, axis=0) == pytest.approx((25, 11))


def test_axes_are_perpendicular_and_the_key_image_names_its_slice() -> None:
    volume = as_volume(spheres_hu(SHAPE, SPACING, [Sphere((14, 14, 14), 9)]), SPACING)
    found = measure(volume, half_max_mask(volume, Sphere((14, 14, 14), 9)))
    long_axis, short_axis = (
        np.diff(axis, axis=0)[0] for axis in (found.key_image.long_axis, found.key_image.short_axis)
    )
    assert long_axis @ short_axis == pytest.approx(0, abs=1e-6)
    assert found.key_image.sop_instance_uid == volume.slices[found.key_image.slice_index].sop_instance_uid
    assert abs(found.key_image.slice_index - 14) <= 1


def test_mean_density_leaves_the_blurred_rim_out() -> None:
    assert measured(12, hu=40).measurements.mean_hu == pytest.approx(40, abs=25)
    assert measured(12, hu=-600).measurements.mean_hu == pytest.approx(-600, abs=15)


def test_a_nodule_at_the_edge_of_the_volume_is_measured() -> None:
    sphere = Sphere((0, 0, 0), 10)
    volume = as_volume(spheres_hu(SHAPE, SPACING, [sphere]), SPACING)
    assert measure(volume, half_max_mask(volume, sphere)).measurements.long_axis_mm > 4


@given(seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_any_mask_has_finite_positive_sizes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 9, 3))
    voxels = rng.random(shape) < rng.uniform(0.05, 1)
    voxels[tuple(rng.integers(0, shape))] = True
    volume = as_volume(rng.integers(-1000, 400, SHAPE).astype(np.int16))
    found = measure(volume, Mask(voxels, (3, 4, 5))).measurements
    assert 0 < found.short_axis_mm <= found.long_axis_mm + 1e-6
    assert found.short_axis_mm <= found.mean_diameter_mm <= found.long_axis_mm
    assert np.isfinite(found.mean_hu)
