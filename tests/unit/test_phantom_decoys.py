"""Decoys look like nodules, are none, and no nodule comes near one."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from workers.phantom import Phantom, Spec, chest
from workers.phantom.anatomy import Build, anatomy
from workers.phantom.chest import drawing_grid, image_grid
from workers.phantom.decoys import KINDS, Ground, sketch
from workers.phantom.grid import Image
from workers.phantom.nodules import ATTACHMENTS
from workers.phantom.scene import Scene, coarse_grid, scene
from workers.phantom.series import write_series
from workers.phantom.sites import Wanted, place
from workers.training.backgrounds import CLEAR_MM, phantom_background

SEEDS = (5, 9)
SPEC = Spec(5, nodules=8, matrix=192, step_mm=2.0, thickness_mm=2.0, leaves=200, decoys=24)


def world(seed: int, decoys: int) -> Scene:
    build = Build.random(seed)
    return scene(build, image_grid(build, SPEC), SPEC.leaves, decoys)


@pytest.fixture(scope="module")
def pairs() -> list[tuple[Scene, Image]]:
    """Chests full of decoys, and what the decoys changed in them."""
    full = [world(seed, SPEC.decoys) for seed in SEEDS]
    return [(one, one.hu - world(seed, 0).hu) for seed, one in zip(SEEDS, full, strict=True)]


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return chest(SPEC)


def test_every_kind_is_drawn(pairs: list[tuple[Scene, Image]]) -> None:
    assert {decoy.kind for one, _ in pairs for decoy in one.decoys} == set(KINDS)


def test_decoys_brighten_a_little_of_the_chest_and_darken_none_of_it(pairs: list[tuple[Scene, Image]]) -> None:
    for one, change in pairs:
        assert change.min() >= 0
        cm3 = (change > 100).sum() * one.grid.voxel_mm3 / 1000
        assert 2 < cm3 < 200


def test_what_decoys_change_is_marked(pairs: list[tuple[Scene, Image]]) -> None:
    for one, change in pairs:
        assert change[~one.decoyed].max() < 8


def test_decoys_without_lymph_nodes_change_lung_alone() -> None:
    build = Build.random(5)
    grid, coarse = image_grid(build, SPEC), coarse_grid(build)
    lungs = anatomy(build, coarse).lungs
    drawn = world(5, SPEC.decoys)
    for one in sketch(Ground(build, lungs, coarse, grid), SPEC.decoys):
        if one.kind != "node":
            touched = drawn.decoyed.reshape(-1)[one.cover.index] & (drawn.lung_share.reshape(-1)[one.cover.index] > 0)
            assert touched.any()


def test_no_nodule_touches_a_decoy(pairs: list[tuple[Scene, Image]]) -> None:
    for number, (one, _) in enumerate(pairs):
        shapes = place(one, Wanted(12, 5.0, 20.0, ATTACHMENTS), np.random.default_rng(number))
        assert len(shapes) == 12
        index = np.argwhere(one.decoyed) * one.grid.spacing_zyx_mm + one.grid.origin_zyx_mm
        for shape in shapes:
            nearest = np.linalg.norm(index - shape.center_zyx_mm, axis=1).min()
            assert nearest > 0.7 * shape.diameter_mm + 1


def test_nodules_in_the_image_are_clear_of_decoys(phantom: Phantom) -> None:
    build = Build.random(SPEC.seed)
    grid = drawing_grid(image_grid(build, SPEC), SPEC)
    marked = scene(build, grid, SPEC.leaves, SPEC.decoys).decoyed
    assert len(phantom.nodules) == SPEC.nodules
    for nodule in phantom.nodules:
        at = np.argwhere(nodule.mask) + nodule.offset_zyx
        mm = at * phantom.grid.spacing_zyx_mm + phantom.grid.origin_zyx_mm
        assert not marked[tuple(np.rint(grid.index(mm)).astype(int).T)].any()


def test_equal_seeds_give_equal_decoys_and_their_number_is_a_matter_of_the_spec(phantom: Phantom) -> None:
    assert chest(SPEC).decoys == phantom.decoys
    assert not chest(replace(SPEC, decoys=0, nodules=0)).decoys


def test_decoys_are_told_beside_the_truth_and_not_in_it(phantom: Phantom, tmp_path: Path) -> None:
    write_series(phantom, tmp_path)
    told = json.loads((tmp_path / "truth.json").read_text())
    assert [one["kind"] for one in told["decoys"]] == [decoy.kind for decoy in phantom.decoys]
    assert len(told["nodules"]) == SPEC.nodules


def test_fissures_are_thin_or_thick_and_some_are_incomplete() -> None:
    builds = [Build.random(seed) for seed in range(8)]
    thickness = [anatomy(build, coarse_grid(build)).fissure_mm for build in builds]
    usual = [float(np.median(one[one > 0])) for one in thickness]
    assert max(usual) > 2 * min(usual)
    missing = [float((one == 0).mean()) for one in thickness]
    assert max(missing) > 0.2 and min(missing) < 0.05


def test_training_puts_no_nodule_on_a_decoy_and_learns_from_the_lung_there(tmp_path: Path) -> None:
    background = phantom_background(5, tmp_path)
    forbidden = np.isnan(background.depth_mm)
    assert 0.001 < forbidden.mean() < 0.2
    free = background.points[~forbidden].astype(int)
    decoyed = background.points[forbidden].astype(int)
    apart = [np.abs(free - vessel).max(axis=1).min() for vessel in background.vessels[:50]]
    assert max(apart) <= 3 * CLEAR_MM
    assert background.hu[tuple(decoyed.T)].mean() > background.hu[tuple(free.T)].mean()
