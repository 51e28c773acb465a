"""From one seed to a finished CT image with its truth."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workers.phantom.anatomy import Build
from workers.phantom.decoys import Decoy
from workers.phantom.grid import Grid
from workers.phantom.nodules import ATTACHMENTS, Attachment, draw
from workers.phantom.scanner import Scanner, scan, sliced
from workers.phantom.scene import Scene, bounds_zyx_mm, scene
from workers.phantom.sites import Wanted, place
from workers.phantom.truth import Lungs, Nodule, truth

FINEST_STEP_MM = 1.25
"""Slices are drawn at most this far apart and averaged to the slice thickness."""


@dataclass(frozen=True)
class Spec:
    """Everything that decides a phantom; equal specs give equal pixels."""

    seed: int
    nodules: int = 6
    matrix: int = 384
    """Rows and columns."""
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
    field_mm: float | None = None
    """Field of view; None follows the lungs."""
    tilt_deg: float = 0.0
    """Of the gantry. Nodus reads at most half a degree (`workers/volume/geometry.py`)."""
    contrast_hu: float | None = None
    """Blood; None leaves it to the body that belongs to the seed."""
    decoys: int = 6
    """Scars, plates of atelectasis and other things that are no nodules and keep clear of them."""
    attachments: tuple[Attachment, ...] = ATTACHMENTS
    """What nodules lie at, in turn."""


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
    decoys: tuple[Decoy, ...] = ()


def body(spec: Spec) -> Build:
    """Whose chest it is."""
    build = Build.random(spec.seed)
    return build if spec.contrast_hu is None else replace(build, contrast_hu=spec.contrast_hu)


def chest(spec: Spec) -> Phantom:
    """Build the phantom of a spec."""
    build = body(spec)
    grid = image_grid(build, spec)
    fine = drawing_grid(grid, spec)
    world = scene(build, fine, spec.leaves, spec.decoys)
    wanted = Wanted(spec.nodules, spec.smallest_mm, spec.largest_mm, spec.attachments)
    shapes = place(world, wanted, np.random.default_rng([spec.seed, 8]))
    for shape in shapes:
        draw(world.hu, world.lung_share, fine, shape)
    hu = scan(world.hu, fine, grid, Scanner(spec.thickness_mm, spec.sharpness, spec.noise_hu, spec.seed))
    lungs = Lungs(world.lung_share, fine)
    nodules = tuple(truth(shape, grid, lungs, world.lobe(shape.center_zyx_mm)) for shape in shapes)
    return Phantom(spec, grid, hu, _labels(world, fine, grid, spec), nodules, world.decoys)


def image_grid(build: Build, spec: Spec) -> Grid:
    """The square image grid of a spec, as long as the lungs of a body need it, tilted about the middle row."""
    low, high = bounds_zyx_mm(build)
    pixel = round(float(spec.field_mm or high[2] - low[2]) / spec.matrix, 4)
    tilt = np.radians(spec.tilt_deg)
    longer = build.half_depth * float(abs(np.tan(tilt)))
    slices = int(np.ceil((high[0] - low[0] + 2 * longer) / spec.step_mm))
    start = -pixel * (spec.matrix - 1) / 2
    origin = (round(float(low[0] - longer - start * np.sin(tilt)), 1), float(start * np.cos(tilt)), start)
    return Grid((slices, spec.matrix, spec.matrix), (spec.step_mm, pixel, pixel), origin, spec.tilt_deg)


def drawing_grid(grid: Grid, spec: Spec) -> Grid:
    """An upright grid of the image's rows and columns, with slices close enough to average them to any thickness."""
    parts = int(np.ceil(spec.step_mm / FINEST_STEP_MM))
    if parts == 1 and spec.thickness_mm <= spec.step_mm and not spec.tilt_deg:
        return grid
    step = spec.step_mm / parts
    span = grid.down_mm * (grid.shape_zyx[1] - 1)
    below, above = (int(np.ceil((spec.thickness_mm / 2 + max(way, 0)) / step)) + 1 for way in (span, -span))
    z, y, x = grid.shape_zyx
    origin = (grid.origin_zyx_mm[0] - below * step, *grid.origin_zyx_mm[1:])
    _, row, column = grid.spacing_zyx_mm
    back = row * float(np.cos(np.radians(spec.tilt_deg)))
    return Grid(((z - 1) * parts + 1 + below + above, y, x), (step, back, column), origin)


def _labels(world: Scene, fine: Grid, grid: Grid, spec: Spec) -> NDArray[np.uint8]:
    """Right and left lung on the image grid."""
    lungs = np.empty(grid.shape_zyx, np.uint8)
    inside = sliced(world.lung_share, fine, grid, spec.step_mm)
    sides = sliced(world.sides, fine, grid, spec.step_mm)
    for (part, share), (_, side) in zip(inside, sides, strict=True):
        lungs[part] = np.rint(side) * (share > 0.5)
    return lungs
