"""Two pairs of lungs laid over each other: an affine map of LPS points, and how well it fits."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import least_squares

from workers.lungs.grid import shrink
from workers.volume import Lungs
from workers.volume.lungs import LEFT, RIGHT

Points = NDArray[np.float64]
"""(n, 3): x, y, z in LPS mm."""
Grid = NDArray[np.float32]

SIDES = (RIGHT, LEFT)
POINTS_PER_SIDE = 700
FAR_MM = 40.0
"""Distances are cut off here: what is farther away is not there."""
SOFT_MM = 4.0
"""Surfaces that are farther apart pull less: the heart beats, arms and tumours differ."""
ARM_MM = 100.0
"""Half a lung: parameters of the linear part are told in mm there, so that all have one scale."""
STIFFNESS = 4.0
"""How much stretching and turning by 1 mm there costs, in mm of one surface point: breathing needs little of it."""
MARGIN_MM = 6.0
"""Surfaces so near to the first or last slice are cuts, not lung."""


@dataclass(frozen=True)
class Alignment:
    """From points of one exam to those of another."""

    matrix: NDArray[np.float64]
    """4x4, of (x, y, z, 1)."""
    gap_mm: float
    """Mean distance of the surfaces of the lungs, of those parts that both exams show."""
    share_seen: float
    """Of the surfaces: how much lies where the other exam was scanned, in the exam of which less does."""

    def there(self, points: Points) -> Points:
        """The same places in the other exam."""
        return moved(points, self.matrix)

    def back(self, points: Points) -> Points:
        """From there."""
        return moved(points, np.linalg.inv(self.matrix))

    @property
    def stretch(self) -> tuple[float, float]:
        """Least and most that a length changes by."""
        singular = np.linalg.svd(self.matrix[:3, :3], compute_uv=False)
        return float(singular[-1]), float(singular[0])


def moved(points: NDArray[np.floating], matrix: NDArray[np.floating]) -> Points:
    """Points under an affine map."""
    found: Points = points @ matrix[:3, :3].T + matrix[:3, 3]
    return found


@dataclass(frozen=True)
class _Shape:
    """The surfaces of both lungs, and how far each point of the scan is from them."""

    depth_mm: tuple[Grid, ...]
    """Of each side: distance to its surface, negative inside."""
    to_zyx: NDArray[np.floating]
    """4x4: LPS mm to their grid."""
    surface: tuple[Points, ...]
    own_mm: tuple[NDArray[np.float64], ...]
    """Of each surface point in its own grid: points lie on voxels, not on the surface."""
    low_high_mm: tuple[Points, Points]
    """Corners of the lungs, without their outermost percent."""

    def distance_mm(self, side: int, points: Points) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """How far points are from one lung, and which of them lie where this exam was scanned."""
        zyx = moved(points, self.to_zyx).T
        size = np.array(self.depth_mm[side].shape)[:, None]
        inside = np.all((zyx >= 0) & (zyx <= size - 1), axis=0)
        distance: NDArray[np.float64] = ndimage.map_coordinates(self.depth_mm[side], zyx, order=1, mode="nearest")
        return distance, inside


def align(here: Lungs, there: Lungs) -> Alignment:
    """Lay the lungs of one exam over those of another. Both hold lung."""
    one, other = _shape(here), _shape(there)
    starts = list(_starts(one, other))
    costs = [float(np.abs(_gaps(start, one, other)[0]).mean()) for start in starts]
    base = starts[int(np.argmin(costs))]
    middle = moved(np.mean(one.low_high_mm, axis=0)[None], base)[0]

    def matrix_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return _nudge(values, middle) @ base

    def cost(values: NDArray[np.float64]) -> NDArray[np.float64]:
        gaps, _ = _gaps(matrix_of(values), one, other)
        return np.concatenate([gaps, values[3:] * STIFFNESS])

    found = least_squares(cost, np.zeros(12), loss="soft_l1", f_scale=SOFT_MM, max_nfev=25, diff_step=1e-3, x_scale=5.0)
    matrix = matrix_of(found.x)
    gaps, seen = _gaps(matrix, one, other)
    used = np.concatenate(seen)
    gap = float(np.abs(gaps[used]).mean()) if used.any() else FAR_MM
    return Alignment(matrix, gap, min(float(each.mean()) for each in seen))


def _nudge(values: NDArray[np.float64], middle: NDArray[np.float64]) -> NDArray[np.float64]:
    """A small affine map about a point: a shift in mm, then nine terms in mm at ARM_MM."""
    matrix = np.eye(4)
    matrix[:3, :3] += values[3:].reshape(3, 3) / ARM_MM
    matrix[:3, 3] = values[:3] + middle - matrix[:3, :3] @ middle
    return matrix


def _gaps(
    matrix: NDArray[np.float64], one: _Shape, other: _Shape
) -> tuple[NDArray[np.float64], tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """How far each surface point lies from the other exam's surface, both ways; 0 where that was not scanned."""
    gaps, seen = [], []
    for points_of, grid_of, way in ((one, other, matrix), (other, one, np.linalg.inv(matrix))):
        inside = []
        for side in range(len(SIDES)):
            distance, scanned = grid_of.distance_mm(side, moved(points_of.surface[side], way))
            gaps.append(np.where(scanned, distance - points_of.own_mm[side], 0.0))
            inside.append(scanned)
        seen.append(np.concatenate(inside))
    return np.concatenate(gaps), (seen[0], seen[1])


def _starts(one: _Shape, other: _Shape) -> Iterator[NDArray[np.float64]]:
    """Boxes of the lungs over each other: stretched; and as they are, with middles, tops or bottoms at one height."""
    (low, high), (low_there, high_there) = one.low_high_mm, other.low_high_mm
    scale = np.clip((high_there - low_there) / np.maximum(high - low, 1.0), 0.7, 1.4)
    yield _laid(scale, (low + high) / 2, (low_there + high_there) / 2)
    flat = np.array([scale[0], scale[1], 1.0])
    for share in (0.0, 0.5, 1.0):
        weights = np.array([0.5, 0.5, share])
        yield _laid(flat, low + weights * (high - low), low_there + weights * (high_there - low_there))


def _laid(scale: NDArray[np.float64], here: NDArray[np.float64], there: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.diag([*scale, 1.0])
    matrix[:3, 3] = there - scale * here
    return matrix


def _shape(lungs: Lungs) -> _Shape:
    factors = tuple(2 if 2 * spacing <= 6.5 else 1 for spacing in np.linalg.norm(lungs.affine[:3, :3], axis=0))
    affine = lungs.affine @ np.diag([*map(float, factors), 1.0])
    affine[:3, 3] += lungs.affine[:3, :3] @ ((np.array(factors) - 1) / 2)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    depths, surfaces, own = [], [], []
    for side in SIDES:
        mask = shrink(lungs.labels == side, (factors[0], factors[1], factors[2]))
        depth = _depth_mm(mask, spacing)
        points = _surface(mask, spacing)
        depths.append(depth)
        own.append(depth[tuple(points.T)].astype(np.float64))
        surfaces.append(moved(points.astype(np.float64), affine))
    every = np.concatenate(surfaces)
    corners = (np.percentile(every, 1, axis=0), np.percentile(every, 99, axis=0))
    return _Shape(tuple(depths), np.linalg.inv(affine), tuple(surfaces), tuple(own), corners)


def _depth_mm(mask: NDArray[np.bool_], spacing: NDArray[np.float64]) -> Grid:
    if not mask.any():
        return np.full(mask.shape, FAR_MM, np.float32)
    outside = ndimage.distance_transform_edt(~mask, spacing)
    inside = ndimage.distance_transform_edt(mask, spacing)
    depth: Grid = np.clip(outside - inside, -FAR_MM, FAR_MM).astype(np.float32)
    return depth


def _surface(mask: NDArray[np.bool_], spacing: NDArray[np.float64]) -> NDArray[np.intp]:
    """Some voxels at the surface, evenly picked; not where the scan ends in the middle of a lung."""
    rim = mask & ~ndimage.binary_erosion(mask, border_value=1)
    ends = max(1, round(MARGIN_MM / float(spacing[0])))
    rim[:ends] = rim[-ends:] = False
    points = np.argwhere(rim)
    return points[:: max(1, len(points) // POINTS_PER_SIDE)]
