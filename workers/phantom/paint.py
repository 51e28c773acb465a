"""Tubes and balls into a voxel image, with partial volume at their rims."""

import numpy as np
from numpy.typing import NDArray

from workers.phantom.grid import Grid, Image
from workers.phantom.tree import Tree


def box_around(grid: Grid, low_zyx_mm: Image, high_zyx_mm: Image) -> tuple[slice, slice, slice] | None:
    """The voxels between two corners, clipped to the grid; None where nothing is left."""
    low = np.maximum(np.floor(grid.index(low_zyx_mm)).astype(int), 0)
    high = np.minimum(np.ceil(grid.index(high_zyx_mm)).astype(int) + 1, grid.shape_zyx)
    if (low >= high).any():
        return None
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return z, y, x


def local_mesh(grid: Grid, box: tuple[slice, slice, slice]) -> tuple[Image, Image, Image]:
    """z, y, x in mm of the voxels in a box, ready to broadcast."""
    z, y, x = (
        (grid.origin_zyx_mm[axis] + np.arange(part.start, part.stop) * grid.spacing_zyx_mm[axis]).astype(np.float32)
        for axis, part in enumerate(box)
    )
    return z[:, None, None], y[None, :, None], x[None, None, :]


def tubes(coverage: Image, grid: Grid, tree: Tree) -> None:
    """Raise `coverage` (z, y, x), 0..1, to the share of each voxel that the tree's segments fill."""
    soft = float(np.mean(grid.spacing_zyx_mm))
    for start, end, before, after in zip(tree.start_zyx, tree.end_zyx, tree.start_radius, tree.end_radius, strict=True):
        reach = max(before, after) + soft
        box = box_around(grid, np.minimum(start, end) - reach, np.maximum(start, end) + reach)
        if box is not None:
            share = _capsule(local_mesh(grid, box), (start, end), (before, after), soft)
            np.maximum(coverage[box], share, out=coverage[box])


def _capsule(
    at: tuple[Image, Image, Image],
    ends: tuple[NDArray[np.float64], NDArray[np.float64]],
    radii: tuple[float, float],
    soft_mm: float,
) -> Image:
    """Share of each voxel inside a tapered capsule; thinner than a voxel, it dims by its cross-section."""
    axis = (ends[1] - ends[0]).astype(np.float32)
    length2 = np.float32(max(float(axis @ axis), 1e-6))
    z, y, x = (p - np.float32(c) for p, c in zip(at, ends[0], strict=True))
    along = np.clip((z * axis[0] + y * axis[1] + x * axis[2]) / length2, 0, 1)
    distance = np.sqrt((z - along * axis[0]) ** 2 + (y - along * axis[1]) ** 2 + (x - along * axis[2]) ** 2)
    radius = np.float32(radii[0]) + along * np.float32(radii[1] - radii[0])
    shown = np.maximum(radius, 0.5 * soft_mm)
    share = np.clip((shown - distance) / soft_mm + 0.5, 0, 1) * (radius / shown) ** 2
    return np.asarray(share, dtype=np.float32)


def path(points_zyx: NDArray[np.float64], radii: NDArray[np.float64]) -> Tree:
    """A tube through points (n, 3) with a radius at each, as the segments between them."""
    count = len(points_zyx) - 1
    return Tree(points_zyx[:-1], points_zyx[1:], radii[:-1], radii[1:], np.zeros(count, np.int64))
