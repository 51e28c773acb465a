"""A sharp chest without nodules: HU, share of lung, and the places where nodules grow."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.phantom import parenchyma
from workers.phantom.anatomy import LEFT, RIGHT, Build, Fields, Lobe, anatomy, ellipsoid
from workers.phantom.decoys import Decoy, Ground, Sketch, sketch
from workers.phantom.grid import Grid, Image, Upsampled
from workers.phantom.paint import blend, brighten, joined, tubes
from workers.phantom.skeleton import airways, esophagus, front_bones, great_vessels, ribs, spine
from workers.phantom.tree import Tree, grow

COARSE_MM = 3.0
AIR_HU, MUSCLE_HU, FAT_HU, LIVER_HU, FISSURE_HU = -1000.0, 50.0, -95.0, 62.0, -50.0


@dataclass(frozen=True)
class Scene:
    """Anatomy before any nodule, blur or noise."""

    hu: Image
    """(z, y, x)"""
    lung_share: Image
    """Share of each voxel that is lung, vessels and airways included, 0..1."""
    sides: NDArray[np.uint8]
    """RIGHT or LEFT where there is lung."""
    grid: Grid
    fields: Fields
    """Of organs, on `coarse`."""
    coarse: Grid
    vessels: Tree
    decoys: tuple[Decoy, ...]
    decoyed: NDArray[np.bool_]
    """(z, y, x): voxels that a decoy changed; no nodule may come near them."""

    @property
    def depth_mm(self) -> Image:
        """Distance to the pleura on `coarse`, positive inside the lungs."""
        return self.fields.lungs

    def lobe(self, at_zyx_mm: tuple[float, float, float]) -> Lobe:
        """The lobe that a place lies in."""
        return self.fields.lobe(self.coarse.index(np.array(at_zyx_mm)))


@dataclass
class Canvas:
    """The image while it is drawn."""

    hu: Image
    lungs: Image
    """Share of lung, 0..1."""
    sides: NDArray[np.uint8]
    scratch: Image
    grid: Grid

    @classmethod
    def blank(cls, grid: Grid) -> "Canvas":
        lungs, scratch = (np.zeros(grid.shape_zyx, np.float32) for _ in range(2))
        return cls(np.empty(grid.shape_zyx, np.float32), lungs, np.zeros(grid.shape_zyx, np.uint8), scratch, grid)

    @property
    def soft_mm(self) -> float:
        """Over this length one tissue gives way to another: a voxel."""
        return float(np.mean(self.grid.spacing_zyx_mm))


def bounds_zyx_mm(build: Build) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A box around the lungs with a margin, low and high corner."""
    half = build.half_width + 22
    middle = 0.0
    return (
        np.array([-build.dome - 18, middle - half, -half]),
        np.array([build.height + 14, middle + half, half]),
    )


def coarse_grid(build: Build) -> Grid:
    """Where organs are signed distances: around the whole body, so that it is the same in any field of view."""
    low, high = bounds_zyx_mm(build)
    half_x, half_y = build.body_half_axes
    low[1:], high[1:] = (build.body_y - half_y, -half_x), (build.body_y + half_y, half_x)
    return Grid.around(low - 6, high + 6, (COARSE_MM,) * 3)


def scene(build: Build, grid: Grid, leaves: int = 2500, decoys: int = 6) -> Scene:
    """Draw the chest of one body; `leaves` is the number of points that each of the four vessel trees fills."""
    coarse = coarse_grid(build)
    fields = anatomy(build, coarse)
    canvas = Canvas.blank(grid)
    _body(build, fields, coarse, canvas)
    _mediastinum(build, canvas)
    _bones(build, canvas)
    _hollow(build, fields, coarse, canvas)
    vessels = _vessels(build, fields, coarse, canvas, leaves)
    drawn, decoyed = _decoys(sketch(Ground(build, fields.lungs, coarse, grid), decoys), canvas)
    return Scene(canvas.hu, canvas.lungs, canvas.sides, grid, fields, coarse, vessels, drawn, decoyed)


def filled(distance_mm: Image, soft_mm: float) -> Image:
    """Share of each voxel inside a signed distance, in place."""
    distance_mm /= np.float32(soft_mm)
    distance_mm += np.float32(0.5)
    return np.clip(distance_mm, 0, 1, out=distance_mm)


def _soft_tissue(build: Build, fields: Fields, coarse: Grid) -> Image:
    """HU on the coarse grid of a body without bones and lungs, as if it had no skin."""
    fatty = np.clip(fields.fat / 0.5 + 0.4, 0, 1)
    wall = np.where(fields.body < build.fat, FAT_HU, MUSCLE_HU + fatty * (FAT_HU - MUSCLE_HU) * 0.7)
    loose = np.clip(fields.fat / 0.8 + 0.9, 0, 1)  # what lies between the great vessels is mostly fat
    core = np.where(fields.cavity > 0, 42 + loose * (FAT_HU - 42), wall)
    blood = np.clip(fields.heart / 4 + 0.5, 0, 1)
    core = core + blood * (build.contrast_hu + 8 * fields.fat - core)
    inside = np.clip(fields.belly / 4 + 0.5, 0, 1)
    z, y, x = coarse.mesh_mm()
    organ = np.where(x < 15, LIVER_HU, 42 + fatty * (FAT_HU - 42)) + 0 * z + 0 * y
    stomach = np.clip(ellipsoid((z, y, x), (-48, -0.35 * build.half_depth, 58), (20, 30, 34)) / 4, 0, 1)
    return np.asarray(core + inside * (organ + stomach * (AIR_HU - organ) - core), dtype=np.float32)


def _body(build: Build, fields: Fields, coarse: Grid, canvas: Canvas) -> None:
    """Soft tissue everywhere inside the skin, the lungs not yet hollow."""
    tissue = Upsampled(_soft_tissue(build, fields, coarse), coarse, canvas.grid)
    body = Upsampled(fields.body, coarse, canvas.grid)
    for part in canvas.grid.slabs():
        hu = tissue[part]
        hu -= AIR_HU
        hu *= filled(body[part], canvas.soft_mm)
        hu += AIR_HU
        canvas.hu[part] = hu


def _mediastinum(build: Build, at: Canvas) -> None:
    """Great vessels and the esophagus in the fat between the lungs."""
    _paint(at, [esophagus(build)], 38.0)
    _paint(at, great_vessels(build), build.contrast_hu)


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
    blend(at.hu, tubes(at.grid, joined(trees)), value_hu, at.scratch, within)


def _hollow(build: Build, fields: Fields, coarse: Grid, canvas: Canvas) -> None:
    """Lung tissue and fissures where the lungs are."""
    rng = np.random.default_rng([build.seed, 4])
    box = _lung_box(fields, coarse, canvas.grid)
    inner = canvas.grid.part(box)
    smooth = Grid.around(
        np.array([inner.axis_mm(a)[0] for a in range(3)]),
        np.array([inner.axis_mm(a)[-1] for a in range(3)]),
        (parenchyma.SPACING_MM,) * 3,
    )
    tissue = Upsampled(parenchyma.parenchyma(fields, coarse, smooth, rng), smooth, inner)
    right, left = (Upsampled(side, coarse, inner) for side in (fields.right, fields.left))
    oblique, horizontal, fissure = (
        Upsampled(one, coarse, inner) for one in (fields.oblique, fields.horizontal, fields.fissure_mm)
    )
    soft = canvas.soft_mm
    hu, lungs, sides = canvas.hu[box], canvas.lungs[box], canvas.sides[box]
    for part in inner.slabs():
        shares = filled(right[part], soft), filled(left[part], soft)
        above = oblique[part]
        thickness = fissure[part]
        sheet = _sheet(above, soft, thickness)
        np.maximum(sheet, _sheet(horizontal[part], soft, thickness) * (above > 0) * shares[0], out=sheet)
        air = tissue[part]
        air += sheet * (FISSURE_HU - air)
        lungs[part] = shares[0] + shares[1]
        sides[part] = np.where(shares[1] > shares[0], LEFT, RIGHT)
        hu[part] += lungs[part] * (air - hu[part])


def _sheet(distance_mm: Image, soft_mm: float, thickness_mm: Image) -> Image:
    """Share of each voxel that a thin sheet fills."""
    share = ((thickness_mm + soft_mm) / 2 - np.abs(distance_mm)) / np.float32(soft_mm)
    return np.clip(share, 0, np.clip(thickness_mm / np.float32(soft_mm), 0, 1))


def _lung_box(fields: Fields, coarse: Grid, grid: Grid) -> tuple[slice, slice, slice]:
    inside = np.argwhere(fields.lungs > -2 * COARSE_MM)
    corners = (
        coarse.origin_zyx_mm + corner * np.array(coarse.spacing_zyx_mm) for corner in (inside.min(0), inside.max(0))
    )
    low, high = corners
    box = grid.box(low, high)
    if box is None:
        raise ValueError("the lungs lie outside the image")
    return box


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
    return joined([*arteries, *veins])


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


def _decoys(sketches: list[Sketch], at: Canvas) -> tuple[tuple[Decoy, ...], NDArray[np.bool_]]:
    """Draw decoys: lymph nodes anywhere, others where there is lung. Returns them and where they are."""
    touched = np.zeros(at.grid.shape_zyx, np.bool_)
    drawn = []
    for one in sketches:
        within = None if one.kind == "node" else at.lungs
        index = brighten(at.hu, one.cover, one.hu, at.scratch, within)
        if len(index):
            touched.reshape(-1)[index] = True
            z, y, x = (float(part.mean()) for part in np.unravel_index(index, touched.shape))
            x, y, z = (float(c) for c in (at.grid.affine @ [z, y, x, 1])[:3])
            drawn.append(Decoy(one.kind, (x, y, z)))
    return tuple(drawn), touched
