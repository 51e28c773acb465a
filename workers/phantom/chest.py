"""From one seed to a finished CT image with its truth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.phantom.anatomy import LEFT, RIGHT, Build
from workers.phantom.grid import Grid, Image, blur, gaussian_weights, slab_weights, smooth_noise
from workers.phantom.nodules import Attachment, Nodule, Shape, draw, random_shape, truth
from workers.phantom.scene import Scene, bounds_zyx_mm, scene

FINEST_STEP_MM = 1.25
"""Slices are drawn at most this far apart and averaged to the slice thickness."""


@dataclass(frozen=True)
class Spec:
    """Everything that decides a phantom; equal specs give equal pixels."""

    seed: int
    nodules: int = 6
    matrix: int = 384
    """Rows and columns; the field of view follows the body."""
    step_mm: float = 1.25
    """From slice to slice."""
    thickness_mm: float = 1.25
    sharpness: float = 0.4
    """Reconstruction kernel: 0 is smooth, 1 is a lung kernel with edge enhancement."""
    noise_hu: float = 18.0
    """Standard deviation in soft tissue."""
    smallest_mm: float = 5.0
    largest_mm: float = 24.0
    leaves: int = 2500
    """Points that each of the four vessel trees fills."""


@dataclass(frozen=True)
class Phantom:
    """A CT image in HU and what is in it."""

    spec: Spec
    grid: Grid
    hu: NDArray[np.int16]
    """(z, y, x)"""
    lungs: NDArray[np.uint8]
    """(z, y, x): 0 none, 1 right, 2 left."""
    nodules: tuple[Nodule, ...]


def chest(spec: Spec) -> Phantom:
    """Build the phantom of a spec."""
    build = Build.random(spec.seed)
    grid = image_grid(build, spec)
    fine = _fine_grid(grid, spec)
    world = scene(build, fine, spec.leaves)
    shapes = place(world, spec, np.random.default_rng([spec.seed, 8]))
    lung_share = world.lung_share
    for shape in shapes:
        draw(world.hu, lung_share, fine, shape)
    hu = scan(world.hu, fine, grid, spec)
    along_z = slab_weights(fine.axis_mm(0), grid.axis_mm(0), spec.step_mm)
    sides = [_averaged(part, along_z) > 0.5 for part in (world.right, world.left)]
    lungs = (RIGHT * sides[0] + LEFT * (sides[1] & ~sides[0])).astype(np.uint8)
    return Phantom(spec, grid, hu, lungs, tuple(truth(shape, grid, lung_share, fine) for shape in shapes))


def image_grid(build: Build, spec: Spec) -> Grid:
    """The square image grid of a spec around the lungs of a body."""
    low, high = bounds_zyx_mm(build)
    pixel = round(float(high[2] - low[2]) / spec.matrix, 4)
    slices = int(np.ceil((high[0] - low[0]) / spec.step_mm))
    start = -pixel * (spec.matrix - 1) / 2
    return Grid(
        (slices, spec.matrix, spec.matrix), (spec.step_mm, pixel, pixel), (round(float(low[0]), 1), start, start)
    )


def _fine_grid(grid: Grid, spec: Spec) -> Grid:
    """The image grid with slices close enough to average them to any thickness."""
    parts = int(np.ceil(spec.step_mm / FINEST_STEP_MM))
    if parts == 1 and spec.thickness_mm <= spec.step_mm:
        return grid
    step = spec.step_mm / parts
    margin = int(np.ceil(spec.thickness_mm / 2 / step))
    z, y, x = grid.shape_zyx
    origin = (grid.origin_zyx_mm[0] - margin * step, *grid.origin_zyx_mm[1:])
    return Grid(((z - 1) * parts + 1 + 2 * margin, y, x), (step, *grid.spacing_zyx_mm[1:]), origin)


def _averaged(image: Image, along_z: Image) -> Image:
    return np.asarray(np.tensordot(along_z, image, axes=(1, 0)))


def scan(sharp_hu: Image, fine: Grid, grid: Grid, spec: Spec) -> NDArray[np.int16]:
    """Slice thickness, point spread, edge enhancement and noise of a scanner."""
    along_z = slab_weights(fine.axis_mm(0), grid.axis_mm(0), spec.thickness_mm)
    image = sharp_hu if fine == grid else _averaged(sharp_hu, along_z)
    pixel = grid.spacing_zyx_mm[1]
    sigma = (0.85 - 0.4 * spec.sharpness) / pixel
    image = blur(image, (0.0, sigma, sigma))
    if spec.sharpness > 0.5:
        image += (1.6 * (spec.sharpness - 0.5)) * (image - blur(image, (0.0, 1.0 / pixel, 1.0 / pixel)))
    rng = np.random.default_rng([spec.seed, 9])
    grain = rng.standard_normal(image.shape, dtype=np.float32)
    width = (0.75 - 0.45 * spec.sharpness) / pixel
    grain = blur(grain, (0.0, width, width))
    gain = np.sqrt((gaussian_weights(41, width)[20] ** 2).sum()) ** 2 if width > 0.05 else 1.0
    image += grain * (spec.noise_hu / gain) * (1 + 0.15 * smooth_noise(grid, 90, rng))
    return np.clip(np.rint(image), -1024, 3071).astype(np.int16)


def place(world: Scene, spec: Spec, rng: np.random.Generator) -> list[Shape]:
    """Choose nodules that keep clear of each other: isolated, at vessels, at the pleura."""
    shapes: list[Shape] = []
    ways: tuple[Attachment, ...] = ("isolated", "vessel", "pleura")
    for number in range(40 * spec.nodules):
        if len(shapes) == spec.nodules:
            break
        log_range = np.log([spec.smallest_mm, spec.largest_mm])
        diameter = float(np.exp(log_range[0] + rng.beta(1.1, 1.9) * (log_range[1] - log_range[0])))
        attachment = ways[number % 3]
        center = site(world, diameter, attachment, rng)
        clear = all(
            np.linalg.norm(center - np.array(other.center_zyx_mm)) > diameter + other.diameter_mm for other in shapes
        )
        if clear and _inside(world.grid, center, diameter):
            shapes.append(random_shape(center.tolist(), diameter, attachment, rng))
    return shapes


def _inside(grid: Grid, center: NDArray[np.float64], diameter: float) -> bool:
    index = grid.index(center)
    reach = diameter / np.array(grid.spacing_zyx_mm)
    return bool((index - reach > 0).all() and (index + reach < np.array(grid.shape_zyx) - 1).all())


def site(world: Scene, diameter_mm: float, attachment: Attachment, rng: np.random.Generator) -> NDArray[np.float64]:
    """A place for one nodule, z, y, x in mm."""
    if attachment == "vessel":
        caliber = (world.vessels.end_radius > 0.6) & (world.vessels.end_radius < 2.5)
        points = world.vessels.end_zyx[caliber]
        away = rng.standard_normal(3)
        away *= rng.uniform(0.2, 0.5) * diameter_mm / np.linalg.norm(away)
        return np.asarray(points[rng.integers(len(points))] + away)
    if attachment == "pleura":
        found = np.argwhere(np.abs(world.depth_mm - rng.uniform(0.1, 0.4) * diameter_mm) < 0.8)
    else:
        found = np.argwhere(world.depth_mm > min(diameter_mm / 2 + 3, 0.7 * float(world.depth_mm.max())))
    chosen = found[rng.integers(len(found))] + rng.uniform(-0.5, 0.5, 3)
    return np.asarray(world.coarse.origin_zyx_mm + chosen * np.array(world.coarse.spacing_zyx_mm))
