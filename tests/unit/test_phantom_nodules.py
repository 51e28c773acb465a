"""Nodules have the sizes, outlines and places of real ones, and their truth is measured on what was drawn."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from node.domain.finding import NoduleType
from tests.realdata import folder
from workers.phantom import Phantom, Spec, chest
from workers.phantom.anatomy import LEFT, RIGHT, Build, Lobe, anatomy
from workers.phantom.grid import Grid
from workers.phantom.nodules import FLAT_BELOW_MM, Outline, Shape, draw, random_diameter, random_shape
from workers.phantom.scene import coarse_grid
from workers.phantom.series import write_series
from workers.phantom.truth import Lungs, Nodule, truth

GRID = Grid((48, 48, 48), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
LUNG = np.ones(GRID.shape_zyx, np.float32)
MIDDLE = (23.5, 23.4, 23.6)
SPEC = Spec(6, nodules=8, matrix=128, step_mm=3.0, thickness_mm=3.0, leaves=100, smallest_mm=5.0, decoys=2)


def shape(outline: Outline, diameter_mm: float = 12.0, normal: tuple[float, float, float] = (1.0, 0.0, 0.0)) -> Shape:
    lobulation = {"lobulated": 0.22, "spiculated": 0.15}.get(outline, 0.02)
    spicules = 14 if outline == "spiculated" else 0
    return Shape(MIDDLE, diameter_mm, NoduleType.SOLID, "isolated", lobulation, spicules, 30.0, 0.5, 3, outline, normal)


def measured(one: Shape) -> Nodule:
    return truth(one, GRID, Lungs(LUNG, GRID), Lobe.LEFT_UPPER)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return chest(SPEC)


@pytest.mark.parametrize("outline", ["round", "lobulated", "spiculated", "lentiform", "triangular"])
def test_what_is_drawn_has_the_volume_of_its_truth(outline: Outline) -> None:
    one = shape(outline)
    hu = np.full(GRID.shape_zyx, -850, np.float32)
    draw(hu, LUNG, GRID, one)
    drawn_mm3 = float((hu + 850).sum() / 880) * GRID.voxel_mm3
    assert measured(one).volume_mm3 == pytest.approx(drawn_mm3, rel=0.08)


def test_small_nodules_are_no_larger_than_they_should_be_in_coarse_images() -> None:
    volumes = []
    for spacing in (0.5, 1.0, 1.5):
        n = int(40 / spacing)
        grid = Grid((n, n, n), (spacing,) * 3, (0.0, 0.0, 0.0))
        hu = np.full(grid.shape_zyx, -850, np.float32)
        draw(hu, np.ones(grid.shape_zyx, np.float32), grid, replace(shape("round", 4.0), center_zyx_mm=(20, 20, 20)))
        volumes.append(float((hu + 850).sum() / 880) * grid.voxel_mm3)
    assert max(volumes) < 1.1 * min(volumes)


def test_principal_axes_span_the_volume_and_a_lens_is_flat_along_its_normal() -> None:
    ball, lens = measured(shape("round")), measured(shape("lentiform"))
    for one in (ball, lens):
        assert np.prod(one.axes_mm) ** (1 / 3) == pytest.approx(one.diameter_mm, rel=0.04)
    assert ball.diameter_mm == pytest.approx(12, rel=0.05)
    assert ball.axes_mm[0] < 1.6 * ball.axes_mm[2]
    assert ball.long_mm <= 1.1 * ball.axes_mm[0]
    assert ball.long_mm >= ball.short_mm > 0.6 * ball.long_mm
    assert lens.axes_mm[0] > 1.6 * lens.axes_mm[2]
    at = np.argwhere(lens.mask)
    height, *widths = (np.ptp(at[:, axis]) + 1 for axis in range(3))
    assert height < 0.7 * min(widths)
    across = measured(shape("lentiform", normal=(0.0, 1.0, 0.0)))
    at = np.argwhere(across.mask)
    assert np.ptp(at[:, 1]) < 0.7 * min(np.ptp(at[:, 0]), np.ptp(at[:, 2]))
    assert across.short_mm < 0.75 * across.long_mm


def test_a_triangular_nodule_stands_on_its_base() -> None:
    mask = measured(shape("triangular")).mask
    areas = [int(plane.sum()) for plane in mask if plane.any()]
    assert areas.index(max(areas)) < len(areas) / 2
    assert areas[-1] < 0.25 * max(areas)


def test_rims_go_from_round_over_lobulated_to_spiculated() -> None:
    solid = [measured(shape(outline)).mask for outline in ("round", "lobulated", "spiculated")]
    surface = []
    for mask in solid:
        padded = np.pad(mask, 1)
        faces = sum(int(np.abs(np.diff(padded.astype(int), axis=axis)).sum()) for axis in range(3))
        surface.append(faces / mask.sum() ** (2 / 3))
    assert surface[0] < surface[1] < surface[2]


def test_diameters_are_distributed_as_in_luna16_and_lie_between_3_and_30_mm() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([random_diameter(3.0, 30.0, rng) for _ in range(4000)])
    assert drawn.min() >= 3 and drawn.max() <= 30
    assert np.percentile(drawn, [25, 50, 75, 90]) == pytest.approx([5.1, 6.6, 9.5, 14.0], rel=0.08)
    some = [random_diameter(9.0, 12.0, rng) for _ in range(200)]
    assert min(some) >= 9 and max(some) <= 12


@pytest.mark.realdata
def test_the_distribution_fits_the_table_that_it_was_fitted_to() -> None:
    with (folder("nodules") / "luna16-annotations.csv").open() as file:
        real = np.sort([float(row["diameter_mm"]) for row in csv.DictReader(file)])
    rng = np.random.default_rng(0)
    drawn = np.sort([random_diameter(3.0, 33.0, rng) for _ in range(20_000)])
    there, here = (np.searchsorted(one, real) / len(one) for one in (real, drawn))
    assert np.abs(there - here).max() < 0.06


def test_nodules_at_fissures_are_flat_when_small_and_solid_or_calcified() -> None:
    rng = np.random.default_rng(0)
    small = [random_shape(MIDDLE, 6.0, "fissure", rng) for _ in range(60)]
    assert {one.outline for one in small} == {"lentiform", "triangular"}
    assert {one.type for one in small} <= {NoduleType.SOLID, NoduleType.CALCIFIED}
    large = [random_shape(MIDDLE, FLAT_BELOW_MM + 4, "fissure", rng) for _ in range(60)]
    assert {one.outline for one in large} == {"round", "lobulated", "spiculated"}


def test_lobes_are_parted_by_the_fissures() -> None:
    build = Build.random(6)
    grid = coarse_grid(build)
    fields = anatomy(build, grid)
    share = dict.fromkeys(Lobe, 0)
    inside = np.argwhere(fields.lungs > 3)
    for at in inside[:: len(inside) // 400]:
        share[fields.lobe(at)] += 1
    assert all(share[lobe] > 20 for lobe in Lobe)
    assert share[Lobe.RIGHT_MIDDLE] == min(share.values())
    z, y, x = (axis.ravel() for axis in grid.mesh_mm())
    low, high = (int(np.abs(z - part * build.height).argmin()) for part in (0.1, 0.85))
    back, left, right = (int(np.abs(y - 40).argmin()), int(np.abs(x - 70).argmin()), int(np.abs(x + 70).argmin()))
    assert fields.lobe(np.array([low, back, right])) is Lobe.RIGHT_LOWER
    assert fields.lobe(np.array([low, back, left])) is Lobe.LEFT_LOWER
    assert fields.lobe(np.array([high, int(np.abs(y).argmin()), right])) is Lobe.RIGHT_UPPER
    assert fields.lobe(np.array([high, int(np.abs(y).argmin()), left])) is Lobe.LEFT_UPPER


def test_every_nodule_of_a_phantom_knows_its_lobe_and_axes_and_perifissural_ones_lie_on_a_fissure(
    phantom: Phantom,
) -> None:
    assert {nodule.attachment for nodule in phantom.nodules} == {"isolated", "vessel", "pleura", "fissure"}
    build = Build.random(SPEC.seed)
    grid = coarse_grid(build)
    fields = anatomy(build, grid)
    for nodule in phantom.nodules:
        x, y, z = nodule.center_lps_mm
        assert nodule.lobe.value.startswith("right") == (x < 0)
        assert nodule.axes_mm[0] >= nodule.axes_mm[1] >= nodule.axes_mm[2] > 0
        assert nodule.long_mm >= nodule.short_mm > 0
        if nodule.attachment == "fissure":
            at = tuple(np.rint(grid.index(np.array([z, y, x]))).astype(int))
            nearest = min(abs(float(fields.oblique[at])), abs(float(fields.horizontal[at])))
            assert nearest < 0.5 * nodule.diameter_mm + 3


def test_the_lungs_of_the_truth_are_on_the_side_of_its_lobe(phantom: Phantom) -> None:
    for nodule in phantom.nodules:
        at = np.argwhere(nodule.mask) + nodule.offset_zyx
        side = RIGHT if nodule.lobe.value.startswith("right") else LEFT
        labels = phantom.lungs[tuple(at.T)]
        assert (labels[labels > 0] == side).mean() > 0.9


def test_the_table_of_truth_ends_with_outline_lobe_and_axes(phantom: Phantom, tmp_path: Path) -> None:
    write_series(phantom, tmp_path)
    with (tmp_path / "truth.csv").open() as file:
        rows = list(csv.DictReader(file))
    added = ["outline", "lobe", "long_mm", "short_mm", "axis1_mm", "axis2_mm", "axis3_mm"]
    assert list(rows[0])[8:] == added
    largest = max(phantom.nodules, key=lambda one: one.diameter_mm)
    assert rows[0]["lobe"] == largest.lobe.value
    assert float(rows[0]["axis1_mm"]) == pytest.approx(largest.axes_mm[0], abs=0.01)
