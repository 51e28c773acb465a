"""The truth about nodules: what was drawn, measured on a grid finer than any image's."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from node.domain.finding import NoduleType, Point
from workers.phantom.anatomy import Lobe
from workers.phantom.grid import Grid, Image
from workers.phantom.nodules import Attachment, Outline, Shape, box_of, reach_mm, shares

PARTS = 26
"""Voxels along the diameter of a nodule when it is measured."""
ANGLES = np.radians(np.arange(0, 180, 4.0))
"""Directions in which its axes are sought; the second half is across the first."""


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
    outline: Outline
    long_mm: float
    """Longest axis in any axial plane."""
    short_mm: float
    """Across it in the same plane."""
    axes_mm: tuple[float, float, float]
    """Principal axes, longest first: those of the ellipsoid with the same second moments."""
    lobe: Lobe


@dataclass(frozen=True)
class Lungs:
    """Where nodules are visible: inside lung."""

    share: Image
    """(z, y, x), 0..1"""
    grid: Grid


def truth(shape: Shape, grid: Grid, lungs: Lungs, lobe: Lobe) -> Nodule:
    """What `draw` drew, with its mask on the grid of the final image."""
    fine = _around(shape)
    share = shares(shape, fine.mesh_mm(), fine.spacing_zyx_mm[0])[0] * _sampled(lungs, fine)
    total = max(float(share.sum()), 1e-6)
    mesh = np.broadcast_arrays(*fine.mesh_mm())
    z, y, x = (float((share * axis).sum(dtype=np.float64)) / total for axis in mesh)
    volume = total * fine.voxel_mm3
    long_mm, short_mm = _axial_axes(share >= 0.5, fine)
    box = box_of(grid, shape)
    mask = _mask(shape, grid, lungs, box)
    return Nodule(
        center_lps_mm=(x, y, z),
        diameter_mm=(6 * volume / np.pi) ** (1 / 3),
        volume_mm3=volume,
        type=shape.type,
        attachment=shape.attachment,
        mask=mask,
        offset_zyx=(box[0].start, box[1].start, box[2].start),
        outline=shape.outline,
        long_mm=long_mm,
        short_mm=short_mm,
        axes_mm=_principal_axes(share, fine, (z, y, x)),
        lobe=lobe,
    )


def _around(shape: Shape) -> Grid:
    step = shape.diameter_mm / PARTS
    center, reach = np.array(shape.center_zyx_mm), reach_mm(shape)
    return Grid.around(center - reach, center + reach, (step, step, step))


def _sampled(lungs: Lungs, grid: Grid) -> Image:
    """Share of lung on another grid."""
    ends = lungs.grid.index(np.array([[grid.axis_mm(axis)[end] for axis in range(3)] for end in (0, -1)]))
    low = np.clip(np.floor(ends[0]).astype(int) - 1, 0, np.array(lungs.grid.shape_zyx) - 2)
    high = np.minimum(np.ceil(ends[1]).astype(int) + 2, lungs.grid.shape_zyx)
    part = lungs.share[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    step = np.array(grid.spacing_zyx_mm) / lungs.grid.spacing_zyx_mm
    at = [ends[0][axis] - low[axis] + step[axis] * np.arange(n) for axis, n in enumerate(grid.shape_zyx)]
    mesh = np.meshgrid(*at, indexing="ij", copy=False)
    return np.asarray(ndimage.map_coordinates(part, mesh, order=1, mode="nearest"))


def _principal_axes(share: Image, grid: Grid, center_zyx: tuple[float, ...]) -> tuple[float, float, float]:
    offsets = [axis - np.float32(c) for axis, c in zip(grid.mesh_mm(), center_zyx, strict=True)]
    total = max(float(share.sum()), 1e-6)
    moments = np.array([[float((share * (a * b)).sum(dtype=np.float64)) / total for b in offsets] for a in offsets])
    longest = 2 * np.sqrt(5 * np.maximum(np.linalg.eigvalsh(moments)[::-1], 0))
    return float(longest[0]), float(longest[1]), float(longest[2])


def _axial_axes(mask: NDArray[np.bool_], grid: Grid) -> tuple[float, float]:
    """The longest extent of any axial slice, and the extent across it, mm."""
    z, y, x = np.nonzero(mask)
    if not len(z):
        return 0.0, 0.0
    along = (np.outer(x, np.cos(ANGLES)) + np.outer(y, np.sin(ANGLES))) * grid.spacing_zyx_mm[1]
    first = np.flatnonzero(np.diff(z, prepend=-1))
    extents = np.maximum.reduceat(along, first) - np.minimum.reduceat(along, first) + grid.spacing_zyx_mm[1]
    plane, angle = np.unravel_index(int(extents.argmax()), extents.shape)
    across = (int(angle) + len(ANGLES) // 2) % len(ANGLES)
    return float(extents[plane, angle]), float(extents[plane, across])


def _mask(shape: Shape, grid: Grid, lungs: Lungs, box: tuple[slice, slice, slice]) -> NDArray[np.bool_]:
    """Voxels at least half filled, or the fullest where none is."""
    mesh = grid.local_mesh(box)
    nearest = tuple(_nearest(lungs.grid, axis, mm) for axis, mm in enumerate(mesh))
    filled = shares(shape, mesh, 1e-3)[0] * (lungs.share[nearest] > 0.5)
    return np.asarray(filled >= min(0.5, float(filled.max())))


def _nearest(grid: Grid, axis: int, at_mm: Image) -> NDArray[np.int64]:
    """Indices along one axis of the voxels nearest to some coordinates."""
    index = np.rint((at_mm - grid.axis_mm(axis)[0]) / (grid.axis_mm(axis)[1] - grid.axis_mm(axis)[0])).astype(int)
    return np.asarray(np.clip(index, 0, grid.shape_zyx[axis] - 1))
