"""The lungs of a chest made of ellipsoids, whole and spoilt."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from node.domain.finding import Side
from node.errors import NotAChest
from tests.chests import LEFT_CENTER, ORIGIN, RIGHT_CENTER, SPACING, Ball, Chest, Xyz, chest
from workers.lungs import Lungs, segment_lungs
from workers.volume import Volume


@cache
def lungs_of(what: Chest | None = None) -> Lungs:
    return segment_lungs(chest(what)[0])


def sphere_points(center: Xyz, radius_mm: float) -> np.ndarray:
    directions = np.random.default_rng(0).normal(size=(400, 3))
    return np.array(center) + directions / np.linalg.norm(directions, axis=1)[:, None] * radius_mm


def overlap(lungs: Lungs, volume: Volume, truth: np.ndarray, label: int) -> float:
    """Dice between a label and the truth, on the centres of the native voxels."""
    points = volume.to_lps_mm(np.indices(truth.shape)[:, ::2, ::2, ::2].reshape(3, -1).T.astype(float))
    index = np.rint((points - lungs.affine[:3, 3]) @ np.linalg.inv(lungs.affine[:3, :3]).T).astype(int)
    inside = ((index >= 0) & (index < lungs.labels.shape)).all(axis=1)
    found = np.zeros(len(index), bool)
    found[inside] = lungs.labels[tuple(index[inside].T)] == label
    expected = truth[::2, ::2, ::2].ravel()
    return float(2 * (found & expected).sum() / (found.sum() + expected.sum()))


def test_both_lungs_are_found_and_named_by_side() -> None:
    volume, right, left = chest()
    lungs = segment_lungs(volume)
    assert overlap(lungs, volume, right, 1) > 0.94
    assert overlap(lungs, volume, left, 2) > 0.94
    assert lungs.side_of(RIGHT_CENTER) is Side.RIGHT
    assert lungs.side_of(LEFT_CENTER) is Side.LEFT
    litres = (right | left).sum() * np.prod(SPACING) / 1e6
    assert lungs.air_volume_l == pytest.approx(litres, rel=0.04)
    assert lungs.volume_l == pytest.approx(litres, rel=0.13)
    assert lungs.median_hu == pytest.approx(-850, abs=5)
    assert not lungs.cut_at_feet
    assert not lungs.cut_at_head


def test_room_air_table_trachea_and_soft_tissue_are_outside() -> None:
    lungs = lungs_of()
    outside = np.array([(0, -150, 0), (0, 129, 0), (0, 20, 100), (150, 0, 0), (0, 90, 0), (0, 0, 500)], float)
    assert not lungs.contains(outside).any()


@pytest.mark.parametrize("flip", [(1,), (2,), (1, 2)], ids=["rows", "columns", "both"])
def test_sides_come_from_the_patient_not_from_the_picture(flip: tuple[int, ...]) -> None:
    volume, _, _ = chest()
    affine = volume.affine.copy()
    for axis in flip:
        affine[:3, 3] += affine[:3, axis] * (volume.hu.shape[axis] - 1)
        affine[:3, axis] *= -1
    flipped = replace(volume, hu=np.flip(volume.hu, flip), affine=affine)
    assert segment_lungs(flipped).side_of(RIGHT_CENTER) is Side.RIGHT


def test_lungs_that_touch_in_front_are_told_apart() -> None:
    volume, right, left = chest(Chest(gap_mm=17))
    assert (right & left).any()
    lungs = segment_lungs(volume)
    assert overlap(lungs, volume, right & ~left, 1) > 0.93
    assert overlap(lungs, volume, left & ~right, 2) > 0.93


def test_a_single_lung_is_not_cut_in_two() -> None:
    lungs = lungs_of(Chest(left=False))
    assert set(np.unique(lungs.labels)) == {0, 1}


@pytest.mark.parametrize(
    ("center", "radius_mm"),
    [((-126.0, 0.0, 0.0), 6.0), ((-72.0, 76.0, 0.0), 8.0), ((72.0, -74.0, 20.0), 8.0), ((-18.0, 0.0, 0.0), 12.0)],
    ids=["lateral pleura", "back", "front", "hilum"],
)
def test_a_nodule_on_any_surface_is_inside(center: Xyz, radius_mm: float) -> None:
    lungs = lungs_of(Chest(balls=(Ball(center, radius_mm),)))
    inner = tuple(value * 0.94 for value in center)
    assert lungs.contains(np.array([inner])).all()


@pytest.mark.parametrize("center", [(-108.0, 0.0, 0.0), (100.0, 30.0, -20.0), (-72.0, 52.0, 10.0)])
def test_a_mass_of_60_mm_at_the_pleura_is_inside(center: Xyz) -> None:
    volume, right, left = chest()
    lungs = lungs_of(Chest(balls=(Ball(center, 30.0),)))
    points = sphere_points(center, 24.0)
    truth = (right | left)[tuple(np.rint(volume.to_zyx(points)).astype(int).T)]
    assert truth.sum() > 200
    assert lungs.contains(points[truth]).mean() > 0.85
    assert lungs.contains(np.array([center])).all()


def test_windpipe_and_main_bronchi_are_outside_although_they_join_the_lungs() -> None:
    lungs = lungs_of(Chest(bronchi=True))
    assert not lungs.contains(np.array([(0, 20, z) for z in (24, 40, 60, 80, 100)], float)).any()
    assert lungs.side_of(RIGHT_CENTER) is Side.RIGHT
    assert lungs.side_of(LEFT_CENTER) is Side.LEFT


def test_a_mattress_as_dense_as_lung_is_outside() -> None:
    lungs = lungs_of(Chest(mattress=True, table=False))
    assert not lungs.contains(np.array([(x, 140, 0) for x in range(-140, 141, 20)], float)).any()
    assert lungs.air_volume_l == pytest.approx(lungs_of().air_volume_l, rel=0.03)


def test_gas_that_touches_a_lung_from_below_is_outside() -> None:
    gas = Ball((72.0, 0.0, -122.0), 18.0, -1000.0)
    assert not lungs_of(Chest(balls=(gas,))).contains(np.array([(72, 0, -126), (72, 5, -132)], float)).any()


def test_a_bulla_inside_a_lung_stays_and_bowel_gas_below_goes() -> None:
    bulla, gas = Ball((-72.0, 0.0, 40.0), 20.0, -1000.0), Ball((60.0, -60.0, -128.0), 16.0, -1000.0)
    lungs = lungs_of(Chest(balls=(bulla, gas)))
    assert lungs.contains(sphere_points(bulla.center_lps_mm, 15)).all()
    assert not lungs.contains(sphere_points(gas.center_lps_mm, 8)).any()


@pytest.mark.parametrize(("part", "cut"), [(slice(30, None), "feet"), (slice(None, 66), "head"), (slice(None), "")])
def test_lungs_that_end_with_the_scan_are_cut(part: slice, cut: str) -> None:
    volume, _, _ = chest()
    lungs = segment_lungs(replace(volume, hu=volume.hu[part]))
    assert lungs.cut_at_feet == (cut == "feet")
    assert lungs.cut_at_head == (cut == "head")


def test_a_field_of_view_that_cuts_the_chest_wall_keeps_the_lung() -> None:
    volume, right, left = chest()
    cut = 30  # x = -132: inside the body, beside the lung
    affine = volume.affine.copy()
    affine[0, 3] += cut * SPACING[2]
    lungs = segment_lungs(replace(volume, hu=volume.hu[:, :, cut:], affine=affine))
    assert lungs.side_of(RIGHT_CENTER) is Side.RIGHT
    assert lungs.contains(np.array([RIGHT_CENTER, LEFT_CENTER])).all()
    assert lungs.air_volume_l == pytest.approx((right | left).sum() * np.prod(SPACING) / 1e6, rel=0.05)


def test_padding_around_the_field_of_view_is_not_lung() -> None:
    volume, right, left = chest()
    rows, columns = np.indices(volume.hu.shape[1:])
    away = np.hypot((rows - 80) * SPACING[1], (columns - 96) * SPACING[2]) > 158
    hu = volume.hu.copy()
    hu[:, away] = -1024
    assert segment_lungs(replace(volume, hu=hu)).air_volume_l == pytest.approx(
        (right | left).sum() * np.prod(SPACING) / 1e6, rel=0.05
    )


def test_noise_and_emphysema_do_not_lose_the_lungs() -> None:
    noisy = lungs_of(Chest(noise_hu=60))
    thin = lungs_of(Chest(lung_hu=-945, noise_hu=15))
    whole = lungs_of().air_volume_l
    assert noisy.air_volume_l == pytest.approx(whole, rel=0.05)
    assert thin.air_volume_l == pytest.approx(whole, rel=0.1)


def test_bounds_hold_both_lungs() -> None:
    (x0, y0, z0), (x1, y1, z1) = lungs_of().bounds_lps_mm()
    assert (x0, y0, z0) == pytest.approx((-130, -80, -110), abs=6)
    assert (x1, y1, z1) == pytest.approx((130, 80, 110), abs=6)


def test_the_nearer_lung_gives_the_side_outside_of_both() -> None:
    lungs = lungs_of()
    assert lungs.side_of((-10, 0, 0)) is Side.RIGHT
    assert lungs.side_of((12, 0, 0)) is Side.LEFT
    assert lungs.side_of((0, 0, ORIGIN[2])) is Side.UNKNOWN


@pytest.mark.parametrize("hu", [-1000, 40, -850])
def test_images_without_lungs_are_not_of_a_chest(hu: int) -> None:
    volume, _, _ = chest()
    with pytest.raises(NotAChest, match="visible"):
        segment_lungs(replace(volume, hu=np.full_like(volume.hu, hu)))
