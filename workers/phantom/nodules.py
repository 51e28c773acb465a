"""Nodules of known centre, size, type and shape, drawn into a sharp chest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri

from node.domain.finding import NoduleType
from workers.phantom.grid import Grid, Image
from workers.phantom.paint import reached

Attachment = Literal["isolated", "vessel", "pleura", "fissure"]
ATTACHMENTS: tuple[Attachment, ...] = ("isolated", "vessel", "pleura", "fissure")
Outline = Literal["round", "lobulated", "spiculated", "lentiform", "triangular"]

SMALLEST_MM, MEDIAN_ABOVE_MM, SPREAD = 3.0, 3.78, 0.82
"""Diameters of the 1,186 nodules of LUNA16 (annotations.csv, Setio 2017, doi:10.1016/j.media.2017.06.015): 3 mm and a
log-normal excess of this median and this standard deviation of its logarithm. Maximum likelihood; the distributions
differ by less than 0.05 anywhere."""
FLAT_BELOW_MM = 12.0
"""Nodules at a fissure, lymph nodes as a rule, are flat or triangular up to this size."""
FLATNESS = 0.45
"""Thickness of a lentiform nodule over its width."""


@dataclass(frozen=True)
class Shape:
    """What is asked for: a ball, lobulated or spiculated, or a flat or triangular body on a fissure."""

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
    outline: Outline = "round"
    normal_zyx: tuple[float, float, float] = (1.0, 0.0, 0.0)
    """Of the fissure that a lentiform or triangular nodule lies on."""


def random_diameter(smallest_mm: float, largest_mm: float, rng: np.random.Generator) -> float:
    """A diameter between two limits, distributed as in LUNA16."""
    low, high = (
        float(ndtr(np.log(max(mm - SMALLEST_MM, 1e-9) / MEDIAN_ABOVE_MM) / SPREAD)) for mm in (smallest_mm, largest_mm)
    )
    excess = MEDIAN_ABOVE_MM * float(np.exp(SPREAD * ndtri(rng.uniform(low, high))))
    return min(max(SMALLEST_MM + excess, smallest_mm), largest_mm)


def random_shape(
    center_zyx_mm: Sequence[float],
    diameter_mm: float,
    attachment: Attachment,
    rng: np.random.Generator,
    normal_zyx: Sequence[float] = (1.0, 0.0, 0.0),
) -> Shape:
    """A nodule of plausible composition and outline for its size."""
    outline = _random_outline(diameter_mm, attachment, rng)
    flat = outline in ("lentiform", "triangular")
    kinds = [NoduleType.SOLID, NoduleType.PART_SOLID, NoduleType.GROUND_GLASS, NoduleType.CALCIFIED]
    weights = np.array([0.62, 0.13 * (diameter_mm >= 6), 0.15, 0.1 * (diameter_mm < 15)])
    weights *= [1, not flat, not flat and outline != "spiculated", outline != "spiculated"]
    kind = kinds[int(rng.choice(4, p=weights / weights.sum()))]
    faint, dense = rng.uniform(-700, -450), rng.uniform(300, 1000)
    hu = {NoduleType.GROUND_GLASS: faint, NoduleType.CALCIFIED: dense}.get(kind, rng.uniform(-20, 70))
    smooth = flat or kind is NoduleType.CALCIFIED or outline == "round"
    return Shape(
        center_zyx_mm=_triple(center_zyx_mm),
        diameter_mm=diameter_mm,
        type=kind,
        attachment=attachment,
        lobulation=float(rng.uniform(0.0, 0.07) if smooth else rng.uniform(0.09, 0.26)),
        spicules=int(rng.integers(6, 22)) if outline == "spiculated" else 0,
        hu=float(hu),
        core=float(rng.uniform(0.35, 0.7)),
        seed=int(rng.integers(1 << 31)),
        outline=outline,
        normal_zyx=_triple(normal_zyx),
    )


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    z, y, x = (float(value) for value in values)
    return z, y, x


def _random_outline(diameter_mm: float, attachment: Attachment, rng: np.random.Generator) -> Outline:
    if attachment == "fissure" and diameter_mm <= FLAT_BELOW_MM:
        return "lentiform" if rng.random() < 0.6 else "triangular"
    chance = rng.random()
    if diameter_mm > 8 and chance < 0.3:
        return "spiculated"
    return "lobulated" if chance < 0.65 else "round"


def shares(shape: Shape, at: tuple[Image, Image, Image], soft_mm: float) -> tuple[Image, Image]:
    """Share of each voxel inside the nodule, and the HU it has there."""
    rng = np.random.default_rng(shape.seed)
    z, y, x = (p - np.float32(c) for p, c in zip(at, shape.center_zyx_mm, strict=True))
    longer = rng.normal(0, 0.09, 3)
    stretch = np.exp(longer - longer.mean()).astype(np.float32)
    z, y, x = _formed(shape, (z * stretch[0], y * stretch[1], x * stretch[2]))
    radius = np.sqrt(z * z + y * y + x * x)
    unit = [axis / np.maximum(radius, 1e-3) for axis in (z, y, x)]
    rim = 0.5 * shape.diameter_mm * (1 + shape.lobulation * _ripple(unit, rng)) + _spikes(shape, unit, rng)
    fuzzy = soft_mm + (1.5 if shape.type is NoduleType.GROUND_GLASS else 0.0)
    rim = rim - fuzzy**2 / (12 * np.maximum(rim, fuzzy))  # a rim that falls off over a width adds to the volume
    share = np.clip((rim - radius) / fuzzy + 0.5, 0, 1)
    return share.astype(np.float32), _density(shape, (z, y, x), rng)


def _formed(shape: Shape, at: tuple[Image, Image, Image]) -> tuple[Image, Image, Image]:
    """Coordinates in which the nodule is a ball of its diameter, of about the volume that it has."""
    if shape.outline not in ("lentiform", "triangular"):
        return at
    normal = np.array(shape.normal_zyx, dtype=np.float32) / np.float32(np.linalg.norm(shape.normal_zyx))
    over = at[0] * normal[0] + at[1] * normal[1] + at[2] * normal[2]
    lateral = [axis - over * n for axis, n in zip(at, normal, strict=True)]
    wide: Image | np.float32
    thick: Image | np.float32
    if shape.outline == "lentiform":
        wide, thick = np.float32(FLATNESS ** (-1 / 3)), np.float32(FLATNESS ** (2 / 3))
    else:  # a cone whose base lies on the fissure: wide there, nothing at its tip
        half = np.float32(0.5 * shape.diameter_mm)
        wide = np.clip(1.5 * (1 - (over + 0.25 * half) / (1.9 * half)), 0.15, 1.6)
        thick = np.where(over > 0, 1.35, 0.35)
    z, y, x = ((part / wide + over / thick * n).astype(np.float32) for part, n in zip(lateral, normal, strict=True))
    return z, y, x


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
    blunt = np.float32(np.cos(np.clip(2.4 / shape.diameter_mm, 0.08, 0.25)))  # spicules are thin whatever they stand on
    spike: Image = np.zeros(np.broadcast_shapes(*(u.shape for u in unit)), np.float32)
    for axis, length in zip(axes, lengths, strict=True):
        closeness = unit[0] * axis[0] + unit[1] * axis[1] + unit[2] * axis[2]
        np.maximum(spike, np.float32(length) * np.maximum(0, (closeness - blunt) / (1 - blunt)), out=spike)
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
    box = box_of(grid, shape)
    share, density = shares(shape, grid.local_mesh(box), float(np.mean(grid.spacing_zyx_mm)))
    share = share * reached(lung_share[box])
    here = hu[box]
    np.maximum(here, here + share * (density - here), out=here)


def reach_mm(shape: Shape) -> float:
    """No part of the nodule is farther from its centre."""
    return shape.diameter_mm * (0.8 + (0.5 if shape.spicules else 0)) + 2


def box_of(grid: Grid, shape: Shape) -> tuple[slice, slice, slice]:
    """The voxels that a nodule may reach."""
    center = np.array(shape.center_zyx_mm)
    box = grid.box(center - reach_mm(shape), center + reach_mm(shape))
    if box is None:
        raise ValueError("the nodule lies outside the image")
    return box
