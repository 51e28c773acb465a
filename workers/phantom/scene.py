"""A sharp chest without nodules: HU, share of lung, and the places where nodules grow."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.phantom.anatomy import LEFT, RIGHT, Build, Fields, anatomy, ellipsoid
from workers.phantom.grid import Grid, Image, smooth_noise, upsample
from workers.phantom.paint import tubes
from workers.phantom.skeleton import airways, front_bones, ribs, spine
from workers.phantom.tree import Tree, grow

COARSE_MM = 3.0
AIR_HU, MUSCLE_HU, FAT_HU, LIVER_HU = -1000.0, 50.0, -95.0, 62.0


@dataclass(frozen=True)
class Scene:
    """Anatomy before any nodule, blur or noise."""

    hu: Image
    """(z, y, x)"""
    right: Image
    """Share of each voxel that is right lung, vessels and airways included, 0..1."""
    left: Image
    grid: Grid
    depth_mm: Image
    """Distance to the pleura on `coarse`, positive inside the lungs."""
    coarse: Grid
    vessels: Tree

    @property
    def lung_share(self) -> Image:
        return self.right + self.left


@dataclass
class Canvas:
    """The image while it is drawn."""

    hu: Image
    lungs: Image
    """Share of lung, 0..1."""
    grid: Grid


def bounds_zyx_mm(build: Build) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A box around the lungs with a margin, low and high corner."""
    half = build.half_width + 22
    middle = 0.0
    return (
        np.array([-build.dome - 18, middle - half, -half]),
        np.array([build.height + 14, middle + half, half]),
    )


def scene(build: Build, grid: Grid, leaves: int = 2500) -> Scene:
    """Draw the chest of one body; `leaves` is the number of points that each of the four vessel trees fills."""
    low, high = bounds_zyx_mm(build)
    coarse = Grid.around(low - 6, high + 6, (COARSE_MM,) * 3)
    fields = anatomy(build, coarse)
    rng = np.random.default_rng([build.seed, 4])
    right, left = (_share(side, coarse, grid) for side in (fields.right, fields.left))
    canvas = Canvas(_body(build, fields, coarse, grid), right + left, grid)
    _bones(build, canvas)
    canvas.hu += canvas.lungs * (_parenchyma(fields, coarse, grid, rng) - canvas.hu)
    vessels = _vessels(build, fields, coarse, canvas, leaves)
    return Scene(canvas.hu, right, left, grid, fields.lungs, coarse, vessels)


def _share(field_mm: Image, coarse: Grid, grid: Grid) -> Image:
    """Share of each voxel inside a signed distance."""
    field = upsample(field_mm, coarse, grid)
    field /= np.float32(np.mean(grid.spacing_zyx_mm))
    field += 0.5
    return np.clip(field, 0, 1, out=field)


def _body(build: Build, fields: Fields, coarse: Grid, grid: Grid) -> Image:
    """Soft tissue everywhere, the lungs not yet hollow."""
    fatty = np.clip(fields.fat / 0.5 + 0.4, 0, 1)
    wall = np.where(fields.body < build.fat, FAT_HU, MUSCLE_HU + fatty * (FAT_HU - MUSCLE_HU) * 0.7)
    core = np.where(fields.cavity > 0, 42 + fatty * (FAT_HU - 42), wall)
    blood = np.clip(fields.heart / 4 + 0.5, 0, 1)
    core = core + blood * (build.contrast_hu + 8 * fields.fat - core)
    inside = np.clip(fields.belly / 4 + 0.5, 0, 1)
    z, y, x = coarse.mesh_mm()
    organ = np.where(x < 15, LIVER_HU, 42 + fatty * (FAT_HU - 42)) + 0 * z + 0 * y
    stomach = np.clip(ellipsoid((z, y, x), (-48, -0.35 * build.half_depth, 58), (20, 30, 34)) / 4, 0, 1)
    tissue = core + inside * (organ + stomach * (AIR_HU - organ) - core)
    hu = upsample(tissue.astype(np.float32), coarse, grid)
    skin = _share(fields.body, coarse, grid)
    hu -= AIR_HU
    hu *= skin
    hu += AIR_HU
    return hu


def _bones(build: Build, at: Canvas) -> None:
    bodies, discs = spine(build)
    hard = [*ribs(build), *bodies, *front_bones(build)]
    _paint(at, discs, 85.0)
    _paint(at, hard, 620.0)
    _paint(at, [_thinner(bone, 1.8) for bone in hard], 190.0)


def _thinner(tube: Tree, by_mm: float) -> Tree:
    start, end = np.maximum(tube.start_radius - by_mm, 0.1), np.maximum(tube.end_radius - by_mm, 0.1)
    return Tree(tube.start_zyx, tube.end_zyx, start, end, tube.generation)


def _paint(at: Canvas, trees: list[Tree], value_hu: float, within: Image | None = None) -> None:
    """Blend a value into the image where tubes run."""
    coverage = np.zeros(at.grid.shape_zyx, np.float32)
    for tree in trees:
        tubes(coverage, at.grid, tree)
    if within is not None:
        coverage *= within
    at.hu += coverage * (value_hu - at.hu)


def _parenchyma(fields: Fields, coarse: Grid, grid: Grid, rng: np.random.Generator) -> Image:
    """Lung tissue without vessels: gradient to the back, texture, now and then emphysema, glass, scars, fissures."""
    _, y, _ = grid.mesh_mm()
    base = rng.uniform(-890, -820) + rng.uniform(10, 45) * (y / 100)
    hu = base + rng.uniform(8, 18) * smooth_noise(grid, 14, rng) + rng.uniform(5, 14) * smooth_noise(grid, 5, rng)
    if rng.random() < 0.3:
        holes = np.clip(smooth_noise(grid, 18, rng) - rng.uniform(0.6, 1.4), 0, 0.6) / 0.6
        hu += holes * (-965 - hu)
    depth = upsample(fields.lungs, coarse, grid)
    if rng.random() < 0.5:
        behind = np.clip(y / 60, 0, 1) * np.exp(-np.maximum(depth, 0) / rng.uniform(2, 7))
        hu += behind * rng.uniform(60, 330) * np.clip(0.5 + 0.5 * smooth_noise(grid, 25, rng), 0, 1)
    if rng.random() < 0.3:
        glass = np.clip(smooth_noise(grid, 45, rng) - rng.uniform(1.2, 2.0), 0, 0.5) / 0.5
        hu += glass * rng.uniform(80, 260)
    scar = np.clip(smooth_noise(grid, 40, rng) - 1.9, 0, 0.4) / 0.4 * np.exp(-np.maximum(depth - 1, 0) / 2)
    hu += scar * (rng.uniform(-300, 0) - hu)
    sheet = np.clip(0.9 - upsample(fields.fissure, coarse, grid), 0, 1) * rng.uniform(0.1, 0.35)
    hu += sheet * (-100 - hu)
    return np.asarray(hu, dtype=np.float32)


def _vessels(build: Build, fields: Fields, coarse: Grid, at: Canvas, leaves: int) -> Tree:
    """Arteries with their bronchi, and veins, in both lungs, drawn into the image; returns the vessels."""
    trunk, ends = airways(build)
    arteries, veins, bronchi = [], [], []
    for side, field in ((RIGHT, fields.right), (LEFT, fields.left)):
        rng = np.random.default_rng([build.seed, 5, side])
        hilum = np.array(build.hilum_zyx(side))
        leaf = rng.uniform(0.38, 0.55)
        points = _scatter(field, coarse, leaves, rng)
        sideways = np.array([0.0, 0.0, -1.0 if side == RIGHT else 1.0])
        arteries.append(grow(hilum, sideways, points, leaf, [build.seed, 6, side]))
        low = hilum + np.array([-16.0, 4.0, 0.0])
        veins.append(grow(low, sideways, _scatter(field, coarse, leaves, rng), leaf, [build.seed, 7, side]))
        bronchi.append(_bronchi(arteries[-1], ends[side][0]))
    _paint(at, [*arteries, *veins], build.contrast_hu + 10)
    _paint(at, [_thinner(trunk, -1.4)], 25.0)
    _paint(at, [_thinner(tree, -0.8) for tree in bronchi], 20.0, at.lungs)
    _paint(at, [trunk], -990.0)
    _paint(at, bronchi, -985.0, at.lungs)
    return _joined([*arteries, *veins])


def _bronchi(artery: Tree, start_zyx: NDArray[np.float64]) -> Tree:
    """The airway beside an artery: its first generations, shifted by about the sum of both radii."""
    keep = (artery.generation < 7) & (artery.start_radius > 1.0)
    side = np.array([0.35, 0.8, 0.3])
    shift_start = artery.start_radius[keep, None] * 1.9 * side
    shift_end = artery.end_radius[keep, None] * 1.9 * side
    start = artery.start_zyx[keep] + shift_start
    first = artery.generation[keep] == 0
    lead = np.linalg.norm(artery.start_zyx[keep] - artery.start_zyx[0], axis=1) < 1e-6
    start[first & lead] = start_zyx
    radius = 0.72
    return Tree(
        start,
        artery.end_zyx[keep] + shift_end,
        radius * artery.start_radius[keep],
        radius * artery.end_radius[keep],
        artery.generation[keep],
    )


def _scatter(field_mm: Image, coarse: Grid, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Random points inside a lung, mm."""
    inside = np.argwhere(field_mm > 1.5)
    chosen = inside[rng.choice(len(inside), count, replace=len(inside) < count)]
    jitter = rng.uniform(-0.5, 0.5, (count, 3))
    return np.asarray(coarse.origin_zyx_mm + (chosen + jitter) * coarse.spacing_zyx_mm)


def _joined(trees: list[Tree]) -> Tree:
    fields = [np.concatenate([getattr(tree, name) for tree in trees]) for name in Tree.__dataclass_fields__]
    return Tree(*fields)
