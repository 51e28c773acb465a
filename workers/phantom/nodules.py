"""Nodules of known centre, size, type and shape, drawn into a sharp chest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from node.domain.finding import NoduleType, Point
from workers.phantom.grid import Grid, Image
from workers.phantom.paint import box_around, local_mesh

Attachment = Literal["isolated", "vessel", "pleura"]


@dataclass(frozen=True)
class Shape:
    """What is asked for: a lobulated, perhaps spiculated ball."""

    center_zyx_mm: tuple[float, float, float]
    diameter_mm: float
    type: NoduleType
    attachment: Attachment
    lobulation: float
    """Relative ripple of the radius, 0..0.3."""
    spicules: int
    hu: float
    """Of the solid part; of the whole for ground glass."""
    core: float
    """Diameter of the solid core of a part-solid nodule, relative."""
    seed: int


@dataclass(frozen=True)
class Nodule:
    """What was drawn: the truth about one nodule."""

    center_lps_mm: Point
    """Centroid of its part inside the lung."""
    diameter_mm: float
    """Of the ball of the same volume."""
    volume_mm3: float
    type: NoduleType
    attachment: Attachment
    mask: NDArray[np.bool_]
    """(z, y, x), voxels at least half filled; never empty."""
    offset_zyx: tuple[int, int, int]
    """Index in the image of mask[0, 0, 0]."""


def random_shape(
    center_zyx_mm: Sequence[float], diameter_mm: float, attachment: Attachment, rng: np.random.Generator
) -> Shape:
    """A nodule of plausible composition and outline for its size."""
    kinds = [NoduleType.SOLID, NoduleType.PART_SOLID, NoduleType.GROUND_GLASS, NoduleType.CALCIFIED]
    weights = np.array([0.62, 0.13 * (diameter_mm >= 6), 0.15, 0.1 * (diameter_mm < 15)])
    kind = kinds[int(rng.choice(4, p=weights / weights.sum()))]
    faint, dense = rng.uniform(-700, -450), rng.uniform(300, 1000)
    hu = {NoduleType.GROUND_GLASS: faint, NoduleType.CALCIFIED: dense}.get(kind, rng.uniform(-20, 70))
    spiculated = kind in (NoduleType.SOLID, NoduleType.PART_SOLID) and diameter_mm > 8 and rng.random() < 0.4
    return Shape(
        center_zyx_mm=(float(center_zyx_mm[0]), float(center_zyx_mm[1]), float(center_zyx_mm[2])),
        diameter_mm=diameter_mm,
        type=kind,
        attachment=attachment,
        lobulation=float(rng.uniform(0.0, 0.08) if kind is NoduleType.CALCIFIED else rng.uniform(0.02, 0.22)),
        spicules=int(rng.integers(6, 22)) if spiculated else 0,
        hu=float(hu),
        core=float(rng.uniform(0.35, 0.7)),
        seed=int(rng.integers(1 << 31)),
    )


def shares(shape: Shape, at: tuple[Image, Image, Image], soft_mm: float) -> tuple[Image, Image]:
    """Share of each voxel inside the nodule, and the HU it has there."""
    rng = np.random.default_rng(shape.seed)
    z, y, x = (p - np.float32(c) for p, c in zip(at, shape.center_zyx_mm, strict=True))
    stretch = np.exp(rng.normal(0, 0.09, 3)).astype(np.float32)
    z, y, x = z * stretch[0], y * stretch[1], x * stretch[2]
    radius = np.sqrt(z * z + y * y + x * x)
    unit = [axis / np.maximum(radius, 1e-3) for axis in (z, y, x)]
    rim = 0.5 * shape.diameter_mm * (1 + shape.lobulation * _ripple(unit, rng)) + _spikes(shape, unit, rng)
    fuzzy = soft_mm + (1.5 if shape.type is NoduleType.GROUND_GLASS else 0.0)
    share = np.clip((rim - radius) / fuzzy + 0.5, 0, 1)
    return share.astype(np.float32), _density(shape, (z, y, x), rng)


def _ripple(unit: list[Image], rng: np.random.Generator) -> Image:
    """A smooth function of direction, about -1..1."""
    total = np.zeros(np.broadcast_shapes(*(u.shape for u in unit)), np.float32)
    for frequency in (1.5, 2.5, 4.0):
        axis = rng.standard_normal(3).astype(np.float32)
        phase = rng.uniform(0, 2 * np.pi)
        total += np.sin(frequency * (unit[0] * axis[0] + unit[1] * axis[1] + unit[2] * axis[2]) + np.float32(phase))
    return total / 2


def _spikes(shape: Shape, unit: list[Image], rng: np.random.Generator) -> Image | float:
    """Extra radius, mm, along a few thin directions."""
    if not shape.spicules:
        return 0.0
    axes = rng.standard_normal((shape.spicules, 3)).astype(np.float32)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    lengths = shape.diameter_mm * rng.uniform(0.15, 0.6, shape.spicules)
    spike: Image = np.zeros(np.broadcast_shapes(*(u.shape for u in unit)), np.float32)
    for axis, length in zip(axes, lengths, strict=True):
        closeness = unit[0] * axis[0] + unit[1] * axis[1] + unit[2] * axis[2]
        np.maximum(spike, np.float32(length) * np.maximum(0, (closeness - 0.96) / 0.04), out=spike)
    return spike


def _density(shape: Shape, at: tuple[Image, Image, Image], rng: np.random.Generator) -> Image:
    z, y, x = at
    waves = [rng.standard_normal(3) * 6 / shape.diameter_mm for _ in range(3)]
    texture = sum(np.sin(z * w[0] + y * w[1] + x * w[2] + np.float32(k)) for k, w in enumerate(waves))
    if shape.type is not NoduleType.PART_SOLID:
        return np.asarray(shape.hu + (40 if shape.type is NoduleType.GROUND_GLASS else 12) * texture, dtype=np.float32)
    shift = 0.12 * shape.diameter_mm * rng.standard_normal(3)
    distance = np.sqrt((z - shift[0]) ** 2 + (y - shift[1]) ** 2 + (x - shift[2]) ** 2)
    core = np.clip((0.5 * shape.core * shape.diameter_mm - distance) / 1.5 + 0.5 + 0.15 * texture, 0, 1)
    glass = rng.uniform(-680, -520) + 35 * texture
    return np.asarray(glass + core * (shape.hu - glass), dtype=np.float32)


def draw(hu: Image, lung_share: Image, grid: Grid, shape: Shape) -> None:
    """Put the nodule into a sharp chest, never darkening what is there."""
    box = _box(grid, shape)
    share, density = shares(shape, local_mesh(grid, box), float(np.mean(grid.spacing_zyx_mm)))
    share = share * lung_share[box]
    here = hu[box]
    np.maximum(here, here + share * (density - here), out=here)


def truth(shape: Shape, grid: Grid, lung_share: Image, lung_grid: Grid) -> Nodule:
    """What `draw` drew, on the grid of the final image; `lung_share` lives on `lung_grid`."""
    box, fine = _box(grid, shape), _box(lung_grid, shape)
    share, _ = shares(shape, local_mesh(lung_grid, fine), float(np.mean(lung_grid.spacing_zyx_mm)))
    share = share * lung_share[fine]
    z, y, x = (
        float((share * axis).sum() / max(float(share.sum()), 1e-6))
        for axis in np.broadcast_arrays(*local_mesh(lung_grid, fine))
    )
    volume = float(share.sum()) * float(np.prod(lung_grid.spacing_zyx_mm))
    nearest = np.ix_(*(_nearest(grid, lung_grid, axis, part) for axis, part in enumerate(box)))
    inside, _ = shares(shape, local_mesh(grid, box), 1e-3)
    filled = inside * (lung_share[nearest] > 0.5)
    return Nodule(
        center_lps_mm=(x, y, z),
        diameter_mm=(6 * volume / np.pi) ** (1 / 3),
        volume_mm3=volume,
        type=shape.type,
        attachment=shape.attachment,
        mask=filled >= min(0.5, float(filled.max())),
        offset_zyx=(box[0].start, box[1].start, box[2].start),
    )


def _nearest(grid: Grid, source: Grid, axis: int, part: slice) -> NDArray[np.int64]:
    """Indices in `source` nearest to a run of `grid`'s voxels."""
    at = grid.axis_mm(axis)[part]
    index = np.rint((at - source.origin_zyx_mm[axis]) / source.spacing_zyx_mm[axis]).astype(int)
    return np.asarray(np.clip(index, 0, source.shape_zyx[axis] - 1))


def _box(grid: Grid, shape: Shape) -> tuple[slice, slice, slice]:
    center = np.array(shape.center_zyx_mm)
    reach = shape.diameter_mm * (0.8 + (0.5 if shape.spicules else 0)) + 2
    box = box_around(grid, center - reach, center + reach)
    if box is None:
        raise ValueError("the nodule lies outside the image")
    return box
