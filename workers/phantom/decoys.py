"""What looks like a nodule and is none: scars, plate atelectasis, apical caps, plaques, fibrosis, hilar lymph nodes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from node.domain.finding import Point
from workers.phantom.anatomy import LEFT, RIGHT, Build
from workers.phantom.grid import Grid, Image, smooth_noise, upsample
from workers.phantom.paint import Cover, joined, path, tubes
from workers.phantom.tree import Tree

Kind = Literal["scar", "plate", "cap", "plaque", "strands", "node"]
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Decoy:
    """What was drawn beside nodules."""

    kind: Kind
    center_lps_mm: Point
    """Mean of its voxels."""


@dataclass(frozen=True)
class Sketch:
    """A decoy before it is in the image."""

    kind: Kind
    cover: Cover
    hu: float


@dataclass(frozen=True)
class Ground:
    """Where decoys grow."""

    build: Build
    depth_mm: Image
    """Distance to the pleura on `coarse`, positive inside the lungs."""
    coarse: Grid
    grid: Grid
    """The image's."""

    def spot(self, rng: np.random.Generator, depth_mm: tuple[float, float], height: tuple[float, float]) -> Vector:
        """A random point of a depth and of a height between the top of the diaphragm (0) and the apex (1), z, y, x."""
        z = self.coarse.axis_mm(0) / self.build.height
        rows = np.flatnonzero((z >= height[0]) & (z <= height[1]))
        part = self.depth_mm[rows[0] : rows[-1] + 1]
        found = np.argwhere((part >= depth_mm[0]) & (part <= depth_mm[1]))
        chosen = found[rng.integers(len(found))] + [rows[0], 0, 0] + rng.uniform(-0.5, 0.5, 3)
        return np.asarray(self.coarse.origin_zyx_mm + chosen * np.array(self.coarse.spacing_zyx_mm))

    def inward(self, at_zyx_mm: Vector) -> Vector:
        """Unit vector away from the pleura."""
        z, y, x = np.clip(np.rint(self.coarse.index(at_zyx_mm)).astype(int), 2, np.array(self.coarse.shape_zyx) - 3)
        near = self.depth_mm[z - 2 : z + 3, y - 2 : y + 3, x - 2 : x + 3]
        slope = np.array([part.mean() for part in np.gradient(near)])
        return np.asarray(slope / max(float(np.linalg.norm(slope)), 1e-6))

    def within(self, center_zyx_mm: Vector, reach_mm: float) -> tuple[tuple[slice, slice, slice], Grid] | None:
        """The part of the image's grid around a point; None outside the image."""
        box = self.grid.box(center_zyx_mm - reach_mm, center_zyx_mm + reach_mm)
        if box is None or any(part.stop - part.start < 2 for part in box):
            return None
        return box, self.grid.part(box)

    def cover(self, box: tuple[slice, slice, slice], share: Image) -> Cover:
        """Shares in a box of the image as a cover of the whole."""
        z, y, x = np.nonzero(share > 0.01)
        _, rows, columns = self.grid.shape_zyx
        index = ((z + box[0].start) * rows + y + box[1].start) * columns + x + box[2].start
        return Cover(index, share[z, y, x].astype(np.float32))


def sketch(ground: Ground, count: int) -> list[Sketch]:
    """`count` decoys of random kinds for the chest that `ground` belongs to."""
    rng = np.random.default_rng([ground.build.seed, 13])
    kinds = [KINDS[int(rng.choice(len(KINDS), p=WEIGHTS))] for _ in range(count)]
    sketches = (Sketch(kind, *DRAW[kind](ground, rng)) for kind in kinds)
    return [one for one in sketches if len(one.cover.index)]


def _scar(ground: Ground, rng: np.random.Generator) -> tuple[Cover, float]:
    """A tapering band from the pleura inward, with a few fine spikes."""
    root = ground.spot(rng, (0, 2), (-0.1, 0.95))
    inward = ground.inward(root)
    way = _unit(inward + 0.5 * rng.standard_normal(3))
    length, radius = rng.uniform(8, 24), rng.uniform(1.0, 2.8)
    bends = root + np.linspace(-2, length, 5)[:, None] * way + 0.06 * length * rng.standard_normal((5, 3))
    parts = [path(bends, radius * np.array([1.3, 1.1, 0.8, 0.5, 0.15]))]
    for _ in range(int(rng.integers(2, 6))):
        start = bends[int(rng.integers(1, 4))]
        tip = start + rng.uniform(5, 14) * _unit(way + 0.9 * rng.standard_normal(3))
        parts.append(path(np.stack([start, tip]), np.array([rng.uniform(0.35, 0.7), 0.2])))
    return tubes(ground.grid, joined(parts)), rng.uniform(-200, 40)


def _plate(ground: Ground, rng: np.random.Generator) -> tuple[Cover, float]:
    """Atelectasis: a thin, bent, mostly level plate, low in the lung, that often reaches the pleura."""
    center = ground.spot(rng, (2, 16), (-0.15, 0.55))
    normal = _unit(np.array([1.0, 0, 0]) + 0.35 * rng.standard_normal(3))
    along = _unit(np.cross(normal, rng.standard_normal(3)))
    half_length, half_width, thickness = rng.uniform(12, 38), rng.uniform(6, 20), rng.uniform(1.0, 3.0)
    cut = ground.within(center, half_length + 4)
    if cut is None:
        return _nothing()
    box, grid = cut
    z, y, x = (axis - np.float32(c) for axis, c in zip(grid.mesh_mm(), center, strict=True))
    over, length, width = (z * v[0] + y * v[1] + x * v[2] for v in (normal, along, np.cross(normal, along)))
    over = over - rng.uniform(-0.008, 0.008) * length**2 - rng.uniform(-0.01, 0.01) * width**2
    over = over + rng.uniform(0, 1.2) * smooth_noise(grid, 12, rng)
    rim = 1 - np.hypot(length / half_length, width / half_width) + 0.2 * smooth_noise(grid, 15, rng)
    share = _ramp(thickness / 2 - np.abs(over), grid) * np.clip(rim * 4, 0, 1)
    return ground.cover(box, share), rng.uniform(-180, 40)


def _cap(ground: Ground, rng: np.random.Generator) -> tuple[Cover, float]:
    """An irregular thickening of the pleura over the apex of one lung."""
    side = RIGHT if rng.random() < 0.5 else LEFT
    apex = ground.spot(rng, (0, 4), (0.93, 1.0))
    apex[2] = abs(apex[2]) * (-1 if side == RIGHT else 1)
    return _thickened(ground, apex, (rng.uniform(22, 34), rng.uniform(2.5, 7)), rng), rng.uniform(-40, 50)


def _plaque(ground: Ground, rng: np.random.Generator) -> tuple[Cover, float]:
    """A flat, sometimes calcified thickening of the pleura."""
    root = ground.spot(rng, (0, 2), (-0.1, 0.85))
    size = rng.uniform(7, 22), rng.uniform(1.5, 4.0)
    return _thickened(ground, root, size, rng), rng.uniform(200, 700) if rng.random() < 0.35 else rng.uniform(0, 70)


def _thickened(ground: Ground, center: Vector, size: tuple[float, float], rng: np.random.Generator) -> Cover:
    """Everything that is nearer to the pleura than an uneven thickness which falls off toward a radius."""
    radius, thickness = size
    cut = ground.within(center, radius)
    if cut is None:
        return _nothing()[0]
    box, grid = cut
    z, y, x = (axis - np.float32(c) for axis, c in zip(grid.mesh_mm(), center, strict=True))
    fall = 1 - (z * z + y * y + x * x) / radius**2
    thick = thickness * np.clip(fall * 2, 0, 1) * np.clip(0.7 + 0.5 * smooth_noise(grid, 10, rng), 0, 1.6)
    depth = upsample(ground.depth_mm, ground.coarse, grid)
    share = _ramp(thick - np.maximum(depth, 0), grid) * (depth > -2) * (thick > 0.3)
    return ground.cover(box, share)


def _strands(ground: Ground, rng: np.random.Generator) -> tuple[Cover, float]:
    """Fibrosis: a net of fine lines below the pleura, low and behind as a rule."""
    center = ground.spot(rng, (0, 4), (-0.25, 0.5 if rng.random() < 0.7 else 0.9))
    inward = ground.inward(center)
    count, reach = int(rng.integers(20, 70)), rng.uniform(8, 24)
    around = center + reach * rng.uniform(-1, 1, (count, 3))
    points = around - np.outer((around - center) @ inward - rng.uniform(0, 9, count), inward)
    _, neighbours = cKDTree(points).query(points, k=4)
    pairs = np.array([(k, other) for k, row in enumerate(neighbours) for other in row[1:] if k < other])
    radius = rng.uniform(0.25, 0.7, len(pairs))
    net = Tree(points[pairs[:, 0]], points[pairs[:, 1]], radius, radius, np.zeros(len(pairs), np.int64))
    return tubes(ground.grid, net), rng.uniform(-250, 0)


def _node(ground: Ground, rng: np.random.Generator) -> tuple[Cover, float]:
    """One to three lymph nodes at a hilum, sometimes calcified."""
    hilum = np.array(ground.build.hilum_zyx(RIGHT if rng.random() < 0.5 else LEFT))
    outward = np.array([0, 0, np.sign(hilum[2])])
    parts = []
    for _ in range(int(rng.integers(1, 4))):
        middle = hilum + np.array([16, 9, 5]) * rng.standard_normal(3) + rng.uniform(0, 9) * outward
        half = rng.uniform(1, 5) * _unit(rng.standard_normal(3))
        parts.append(path(np.stack([middle - half, middle + half]), rng.uniform(2.5, 6.5) * rng.uniform(0.8, 1.2, 2)))
    hu = rng.uniform(250, 800) if rng.random() < 0.2 else rng.uniform(20, 80)
    return tubes(ground.grid, joined(parts)), hu


DRAW: dict[Kind, Callable[[Ground, np.random.Generator], tuple[Cover, float]]] = {
    "scar": _scar,
    "plate": _plate,
    "cap": _cap,
    "plaque": _plaque,
    "strands": _strands,
    "node": _node,
}
KINDS: tuple[Kind, ...] = tuple(DRAW)
WEIGHTS = (0.25, 0.25, 0.1, 0.1, 0.15, 0.15)


def _unit(vector: Vector) -> Vector:
    return np.asarray(vector / np.linalg.norm(vector))


def _ramp(distance_mm: Image, grid: Grid) -> Image:
    """Share of each voxel inside a signed distance."""
    return np.asarray(np.clip(distance_mm / np.float32(np.mean(grid.spacing_zyx_mm)) + 0.5, 0, 1))


def _nothing() -> tuple[Cover, float]:
    return Cover(np.zeros(0, np.int64), np.zeros(0, np.float32)), 0.0
