"""Masks: on the native grid, in one piece, never empty, never two on one voxel."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import ndimage

from node.domain.finding import Point
from tests.builders import Sphere, as_volume, spheres_hu
from workers.evaluation.overlap import dice
from workers.networks.patches import Line
from workers.segment import segment, to_native
from workers.volume import Mask, Volume

SPACING = (1.25, 0.7, 0.7)
SHAPE = (60, 110, 110)


@dataclass(frozen=True)
class Place:
    """A candidate."""

    center_lps_mm: Point
    diameter_mm: float


def place(center_zyx_mm: tuple[float, float, float], diameter_mm: float) -> Place:
    z, y, x = center_zyx_mm
    return Place((x, y, z), diameter_mm)


def whole(mask: Mask, shape: tuple[int, ...]) -> np.ndarray:
    full = np.zeros(shape, bool)
    full[tuple(slice(o, o + n) for o, n in zip(mask.offset_zyx, mask.voxels.shape, strict=True))] = mask.voxels
    return full


def ball(center_zyx_mm: tuple[float, float, float], diameter_mm: float) -> np.ndarray:
    axes = [np.arange(n) * s - c for n, s, c in zip(SHAPE, SPACING, center_zyx_mm, strict=True)]
    return axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2 <= (diameter_mm / 2) ** 2


@pytest.fixture(scope="module")
def volume() -> Volume:
    balls = [Sphere((30.0, 30.0, 30.0), 8.0), Sphere((38.0, 38.0, 52.0), 16.0), Sphere((38.0, 38.0, 66.0), 10.0)]
    return as_volume(spheres_hu(SHAPE, SPACING, balls, noise_hu=15.0), SPACING)


@pytest.mark.parametrize(("center", "diameter"), [((30.0, 30.0, 30.0), 8.0), ((38.0, 38.0, 52.0), 16.0)])
def test_a_ball_is_outlined_as_a_ball(volume: Volume, center: tuple[float, float, float], diameter: float) -> None:
    (mask,) = segment(volume, [place((center[0] + 0.6, center[1], center[2] - 0.6), diameter * 1.1)])
    assert dice(whole(mask, SHAPE), ball(center, diameter)) > 0.8


def test_neighbours_share_no_voxel_and_each_is_one_piece(volume: Volume) -> None:
    masks = segment(volume, [place((38.0, 38.0, 52.0), 16.0), place((38.0, 38.0, 66.0), 10.0)])
    first, second = (whole(mask, SHAPE) for mask in masks)
    assert not (first & second).any()
    assert all(ndimage.label(mask.voxels)[1] == 1 for mask in masks)


def test_the_same_place_twice_gives_two_masks_without_a_common_voxel(volume: Volume) -> None:
    masks = segment(volume, [place((30.0, 30.0, 30.0), 8.0)] * 2)
    first, second = (whole(mask, SHAPE) for mask in masks)
    assert first.any() and second.any() and not (first & second).any()


def test_a_candidate_on_nothing_still_has_a_voxel(volume: Volume) -> None:
    (mask,) = segment(volume, [place((60.0, 60.0, 20.0), 5.0)])
    assert mask.voxels.any()


def test_a_candidate_at_the_corner_of_the_scan_stays_inside_it(volume: Volume) -> None:
    (mask,) = segment(volume, [place((0.0, 0.0, 0.0), 6.0)])
    assert mask.voxels.any()
    assert whole(mask, SHAPE).sum() == mask.voxels.sum()


def test_no_candidates_no_masks(volume: Volume) -> None:
    assert segment(volume, []) == ()


def test_a_turned_volume_gives_the_turned_mask(volume: Volume) -> None:
    (straight,) = segment(volume, [place((38.0, 38.0, 52.0), 16.0)])
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (SHAPE[2] - 1)
    affine[:3, 2] *= -1
    mirrored = Volume(np.ascontiguousarray(volume.hu[:, :, ::-1]), SPACING, affine, volume.slices)
    (mask,) = segment(mirrored, [place((38.0, 38.0, 52.0), 16.0)])
    assert dice(whole(mask, SHAPE)[:, :, ::-1], whole(straight, SHAPE)) > 0.98


def test_shares_of_a_patch_come_back_to_the_voxels_they_were_sampled_from() -> None:
    share = torch.zeros(20, 20, 20)
    share[8:12, 8:12, 8:12] = 1
    line = Line(3.0, 0.5, 20)
    native, box = to_native(share, (line, line, line), (30, 30, 30))
    assert [part.start for part in box] == [3, 3, 3]
    inside = np.argwhere(native > 0.5) + 3
    assert inside.min() == 7 and inside.max() == 8
