"""Where nodules grow, and which: isolated, at vessels, pleura and fissures, clear of each other and of decoys."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.phantom.grid import Grid
from workers.phantom.nodules import Attachment, Shape, box_of, random_diameter, random_shape
from workers.phantom.scene import Scene

Vector = NDArray[np.float64]
TRIES = 60
"""For each nodule, until a chest is too full for another."""


@dataclass(frozen=True)
class Wanted:
    """Which nodules a chest shall have."""

    count: int
    smallest_mm: float
    largest_mm: float
    attachments: tuple[Attachment, ...]
    """In turn."""


@dataclass(frozen=True)
class Site:
    """A place for one nodule."""

    center_zyx_mm: Vector
    normal_zyx: Vector
    """Of what it lies on."""


def place(world: Scene, wanted: Wanted, rng: np.random.Generator) -> list[Shape]:
    """Choose nodules that keep clear of each other and of decoys."""
    shapes: list[Shape] = []
    for number in range(TRIES * wanted.count):
        if len(shapes) == wanted.count:
            break
        diameter = random_diameter(wanted.smallest_mm, wanted.largest_mm, rng)
        attachment = wanted.attachments[number % len(wanted.attachments)]
        site = find_site(world, diameter, attachment, rng)
        if site is None or not _clear(world.grid, site.center_zyx_mm, diameter, shapes):
            continue
        shape = random_shape(site.center_zyx_mm.tolist(), diameter, attachment, rng, site.normal_zyx.tolist())
        if not world.decoyed[box_of(world.grid, shape)].any():
            shapes.append(shape)
    return shapes


def _clear(grid: Grid, center: Vector, diameter: float, others: list[Shape]) -> bool:
    """Whether a nodule would lie in the image and apart from others."""
    index = grid.index(center)
    reach = diameter / np.array(grid.spacing_zyx_mm)
    inside = (index - reach > 0).all() and (index + reach < np.array(grid.shape_zyx) - 1).all()
    apart = (np.linalg.norm(center - other.center_zyx_mm) > diameter + other.diameter_mm for other in others)
    return bool(inside) and all(apart)


def find_site(world: Scene, diameter_mm: float, attachment: Attachment, rng: np.random.Generator) -> Site | None:
    """A place for one nodule; None where this chest has none."""
    if attachment == "vessel":
        return _at_vessel(world, diameter_mm, rng)
    depth = world.depth_mm
    if attachment == "fissure":
        return _at_fissure(world, diameter_mm, rng)
    if attachment == "pleura":
        found = np.argwhere(np.abs(depth - rng.uniform(0.1, 0.4) * diameter_mm) < 0.8)
    else:
        found = np.argwhere(depth > min(diameter_mm / 2 + 3, 0.7 * float(depth.max())))
    return Site(_chosen(world, found, rng), np.array([1.0, 0, 0])) if len(found) else None


def _chosen(world: Scene, found: NDArray[np.int64], rng: np.random.Generator) -> Vector:
    chosen = found[rng.integers(len(found))] + rng.uniform(-0.5, 0.5, 3)
    return np.asarray(world.coarse.origin_zyx_mm + chosen * np.array(world.coarse.spacing_zyx_mm))


def _at_vessel(world: Scene, diameter_mm: float, rng: np.random.Generator) -> Site:
    caliber = (world.vessels.end_radius > 0.6) & (world.vessels.end_radius < 2.5)
    points = world.vessels.end_zyx[caliber]
    away = rng.standard_normal(3)
    away *= rng.uniform(0.2, 0.5) * diameter_mm / np.linalg.norm(away)
    return Site(np.asarray(points[rng.integers(len(points))] + away), np.array([1.0, 0, 0]))


def _at_fissure(world: Scene, diameter_mm: float, rng: np.random.Generator) -> Site | None:
    """On a fissure, where it is complete; a nodule that is not flat touches it from one side."""
    fields, step = world.fields, np.array(world.coarse.spacing_zyx_mm)
    deep = (fields.lungs > diameter_mm / 2 + 1) & (fields.fissure_mm > 0.1)
    horizontal = rng.random() < 0.35
    surface = fields.horizontal if horizontal else fields.oblique
    on = deep & (np.abs(surface) < step[0])
    found = np.argwhere(on & (fields.right > 0) & (fields.oblique > diameter_mm / 2 + 1) if horizontal else on)
    if not len(found):
        return None
    at = found[rng.integers(len(found))]
    z, y, x = (slice(max(c - 1, 0), c + 2) for c in at)
    normal = np.array([one.mean() for one in np.gradient(surface[z, y, x], *step)], dtype=np.float64)
    slope = float(np.linalg.norm(normal))
    normal /= slope
    center = world.coarse.origin_zyx_mm + at * step - float(surface[tuple(at)]) / slope * normal
    if rng.random() < 0.5:
        normal = -normal
    return Site(np.asarray(center), normal)
