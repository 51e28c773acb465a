"""A phantom is one seed's chest, and its truth is what was drawn."""

from dataclasses import replace

import numpy as np
import pytest

from node.domain.finding import NoduleType
from workers.phantom import Phantom, Spec, chest
from workers.phantom.anatomy import LEFT, RIGHT, Build, Lobe
from workers.phantom.grid import Grid, Upsampled, blur, linear_weights, slab_weights, upsample
from workers.phantom.nodules import ATTACHMENTS, Shape, draw
from workers.phantom.paint import blend, joined, path, tubes
from workers.phantom.scanner import Scanner, scan
from workers.phantom.tree import MURRAY_EXPONENT, Tree, grow
from workers.phantom.truth import Lungs, truth

SMALL = Spec(5, nodules=9, matrix=192, step_mm=2.0, thickness_mm=2.0, smallest_mm=8, leaves=300)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return chest(SMALL)


def test_equal_specs_give_equal_pixels_and_truth(phantom: Phantom) -> None:
    again = chest(SMALL)
    assert np.array_equal(again.hu, phantom.hu)
    assert [n.center_lps_mm for n in again.nodules] == [n.center_lps_mm for n in phantom.nodules]


def test_other_seeds_give_other_bodies() -> None:
    assert Build.random(5) != Build.random(6)


def test_both_lungs_are_there_and_full_of_air(phantom: Phantom) -> None:
    liters = [(phantom.lungs == side).sum() * np.prod(phantom.grid.spacing_zyx_mm) / 1e6 for side in (RIGHT, LEFT)]
    assert all(1 < volume < 5 for volume in liters)
    assert np.median(phantom.hu[phantom.lungs > 0]) < -780


def test_the_right_lung_lies_on_the_patients_right(phantom: Phantom) -> None:
    x = phantom.grid.axis_mm(2)
    middle = {side: x[np.argwhere(phantom.lungs == side)[:, 2]].mean() for side in (RIGHT, LEFT)}
    assert middle[RIGHT] < -30 < 30 < middle[LEFT]


def test_there_is_bone_soft_tissue_fat_and_air_around_the_lungs(phantom: Phantom) -> None:
    outside = phantom.hu[phantom.lungs == 0]
    for low, high in ((300, 3000), (20, 90), (-130, -60), (-1024, -950)):
        assert ((outside > low) & (outside < high)).mean() > 0.004


def test_nodules_lie_in_the_lungs_and_their_masks_around_their_centres(phantom: Phantom) -> None:
    assert len(phantom.nodules) == SMALL.nodules
    for nodule in phantom.nodules:
        assert nodule.mask.any()
        at = np.argwhere(nodule.mask) + nodule.offset_zyx
        in_lung = phantom.lungs[tuple(at.T)] > 0
        assert in_lung.mean() > 0.8
        center = at.mean(axis=0) * phantom.grid.spacing_zyx_mm + phantom.grid.origin_zyx_mm
        assert np.linalg.norm(center[::-1] - nodule.center_lps_mm) < 0.25 * nodule.diameter_mm


def test_the_volume_of_the_mask_is_the_volume_of_the_truth(phantom: Phantom) -> None:
    voxel = np.prod(phantom.grid.spacing_zyx_mm)
    ratios = [n.mask.sum() * voxel / n.volume_mm3 for n in phantom.nodules]
    assert 0.85 < np.median(ratios) < 1.15


def test_the_image_shows_each_type_at_its_density(phantom: Phantom) -> None:
    allowed = {
        NoduleType.SOLID: (-350, 150),
        NoduleType.PART_SOLID: (-750, -50),
        NoduleType.GROUND_GLASS: (-800, -300),
        NoduleType.CALCIFIED: (100, 1100),
    }
    for nodule in phantom.nodules:
        at = np.argwhere(nodule.mask) + nodule.offset_zyx
        low, high = allowed[nodule.type]
        assert low < phantom.hu[tuple(at.T)].mean() < high


def test_nodules_are_isolated_at_vessels_pleura_and_fissures_in_turn(phantom: Phantom) -> None:
    assert {n.attachment for n in phantom.nodules} == set(ATTACHMENTS)


def test_noise_is_as_strong_as_asked_for() -> None:
    quiet, loud = (chest(replace(SMALL, nodules=0, matrix=128, noise_hu=noise, sharpness=0.2)) for noise in (0.0, 30.0))
    difference = (loud.hu.astype(float) - quiet.hu)[(quiet.hu > -300) & (quiet.hu < 500)]
    assert difference.std() == pytest.approx(30, rel=0.15)


def test_thick_slices_average_what_thin_ones_show() -> None:
    fine = Grid((12, 24, 24), (1.25, 1.0, 1.0), (0.0, 0.0, 0.0))
    thick = Grid((3, 24, 24), (5.0, 1.0, 1.0), (1.875, 0.0, 0.0))
    sharp = np.full(fine.shape_zyx, -800, np.float32)
    sharp[5] = 0
    image = scan(sharp, fine, thick, Scanner(5.0, 0.4, 0.0, 1))
    assert image[:, 12, 12].tolist() == [-800, -600, -800]


def test_a_ball_in_lung_has_its_volume_and_is_never_darker_than_what_was_there() -> None:
    grid = Grid((40, 40, 40), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    hu, lung = np.full(grid.shape_zyx, -850, np.float32), np.ones(grid.shape_zyx, np.float32)
    hu[:, :, 25:] = 100
    before = hu.copy()
    ball = Shape((20.0, 20.0, 18.0), 12.0, NoduleType.SOLID, "isolated", 0.0, 0, 30.0, 0.5, 1)
    draw(hu, lung, grid, ball)
    assert (hu >= before).all()
    assert truth(ball, grid, Lungs(lung, grid), Lobe.LEFT_UPPER).diameter_mm == pytest.approx(12, rel=0.12)


def test_a_vessel_tree_reaches_its_points_with_branches_that_grow_thinner() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-50, 50, (800, 3))
    tree = grow(np.array([0.0, 0.0, -60.0]), np.array([0.0, 0.0, 1.0]), points, 0.4, [1])
    assert 1000 < len(tree.start_zyx) < 6000
    nearest = np.array([np.linalg.norm(tree.end_zyx - p, axis=1).min() for p in points])
    assert np.median(nearest) < 3
    assert tree.start_radius.max() > 0.4 * 300 ** (1 / MURRAY_EXPONENT)
    assert (tree.end_radius <= tree.start_radius + 1e-9).all()


@pytest.mark.parametrize(("radius", "within"), [(0.3, 0.1), (0.8, 0.1), (3.0, 0.03)])
def test_a_tube_fills_its_volume_whatever_its_way_and_however_thin(radius: float, within: float) -> None:
    grid = Grid((50, 60, 70), (1.25, 0.8, 0.8), (-5.0, 0.0, 3.0))
    start, end = np.array([[8.0, 9.0, 12.0]]), np.array([[40.0, 38.0, 50.0]])
    tube = Tree(start, end, np.full(1, radius), np.full(1, radius), np.zeros(1, np.int64))
    image, scratch = np.zeros(grid.shape_zyx, np.float32), np.zeros(grid.shape_zyx, np.float32)
    blend(image, tubes(grid, tube), 1.0, scratch)
    length = float(np.linalg.norm(end - start))
    volume = np.pi * radius**2 * length + 4 / 3 * np.pi * radius**3
    assert image.sum() * np.prod(grid.spacing_zyx_mm) == pytest.approx(volume, rel=within)
    assert not scratch.any()


def test_tubes_that_leave_the_image_are_cut_at_its_edge() -> None:
    grid = Grid((10, 12, 14), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    whole = path(np.array([[5.0, -40.0, 6.0], [5.0, 60.0, 6.0]]), np.full(2, 2.0))
    outside = path(np.array([[5.0, 40.0, 6.0], [5.0, 60.0, 6.0]]), np.full(2, 2.0))
    image, scratch = np.zeros(grid.shape_zyx, np.float32), np.zeros(grid.shape_zyx, np.float32)
    blend(image, tubes(grid, joined([whole, outside])), 1.0, scratch)
    assert np.allclose(image, image[:, :1], atol=1e-4) and image[5, 0, 6] == 1
    assert len(tubes(grid, outside).index) == 0


def test_slices_of_an_upsampled_image_are_those_of_the_whole() -> None:
    coarse = Grid((5, 6, 7), (3.0, 3.0, 3.0), (0.0, 0.0, 0.0))
    fine = Grid((13, 15, 17), (1.0, 1.0, 1.0), (0.5, 0.5, 0.5))
    image = np.random.default_rng(0).standard_normal(coarse.shape_zyx).astype(np.float32)
    whole, lazy = upsample(image, coarse, fine), Upsampled(image, coarse, fine)
    for part in fine.slabs(4):
        assert np.allclose(lazy[part], whole[part], atol=1e-5)


def test_noise_of_a_soft_kernel_is_coarser_than_that_of_a_sharp_one() -> None:
    grid = Grid((4, 128, 128), (1.0, 0.7, 0.7), (0.0, 0.0, 0.0))
    alike = []
    for sharpness in (0.0, 0.5, 1.0):
        image = scan(np.zeros(grid.shape_zyx, np.float32), grid, grid, Scanner(1.0, sharpness, 30.0, 3)).astype(float)
        assert image.std() == pytest.approx(30, rel=0.15)
        alike.append(np.corrcoef(image[:, :, :-1].ravel(), image[:, :, 1:].ravel())[0, 1])
    assert alike[0] > alike[1] + 0.1 > alike[2] + 0.2


def test_averaging_and_interpolation_weights_sum_to_one() -> None:
    fine, coarse = np.arange(0, 20, 0.5), np.arange(2, 18, 3.0)
    for weights in (slab_weights(fine, coarse, 3.0), linear_weights(coarse, fine)):
        assert np.allclose(weights.sum(axis=1), 1)


def test_blur_keeps_the_mean_and_widens_a_point() -> None:
    image = np.zeros((1, 31, 31), np.float32)
    image[0, 15, 15] = 1
    wide = blur(image, (0.0, 2.0, 2.0))
    assert wide.sum() == pytest.approx(1, abs=1e-3)
    assert wide[0, 15, 17] / wide[0, 15, 15] == pytest.approx(np.exp(-0.5), rel=1e-3)
