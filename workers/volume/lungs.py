"""Both lungs, labelled on a coarse grid along the patient's axes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node.domain.finding import Point, Side

RIGHT, LEFT = 1, 2
_SIDES = {0: Side.UNKNOWN, RIGHT: Side.RIGHT, LEFT: Side.LEFT}


@dataclass(frozen=True)
class Lungs:
    """Both lungs on a coarse grid, closed over pleural nodules, hilar and large masses."""

    labels: NDArray[np.uint8]
    """(z, y, x): 0 none, 1 right, 2 left; axes rise with LPS z, y, x."""
    affine: NDArray[np.float64]
    """4x4: (z, y, x, 1) of `labels` to LPS mm."""
    air_volume_l: float
    """Litres of voxels that hold air (below -400 HU), without the large airways."""
    median_hu: float
    """Of those voxels."""
    cut_at_feet: bool
    """The lungs reach the last slice toward the feet: what lies below was not scanned."""
    cut_at_head: bool
    """The same toward the head."""

    @property
    def volume_l(self) -> float:
        """Litres of both lungs with everything in them."""
        return self.litres_of(Side.RIGHT) + self.litres_of(Side.LEFT)

    def litres_of(self, side: Side) -> float:
        """Litres of one lung: its air and what is closed over in it; larger dense parts are not in it."""
        label = RIGHT if side is Side.RIGHT else LEFT
        return float(np.count_nonzero(self.labels == label) * abs(np.linalg.det(self.affine[:3, :3]))) / 1e6

    def contains(self, points_lps_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
        """For each point (n, 3) in LPS mm: is it inside a lung? (n,)"""
        return self._label_at(points_lps_mm) > 0

    def side_of(self, point_lps_mm: Point) -> Side:
        """Return the lung that holds the point, else the side of the nearer lung on the same slice, else UNKNOWN."""
        label = int(self._label_at(np.array([point_lps_mm]))[0])
        return _SIDES[label] if label else self._nearest_side(point_lps_mm)

    def bounds_lps_mm(self) -> tuple[Point, Point]:
        """Lowest and highest x, y, z of the lungs' voxel edges in LPS mm."""
        used = np.argwhere(self.labels)
        low, high = used.min(axis=0) - 0.5, used.max(axis=0) + 0.5
        corners = np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), axis=-1).reshape(-1, 3)
        lps = corners @ self.affine[:3, :3].T + self.affine[:3, 3]
        return _point(lps.min(axis=0)), _point(lps.max(axis=0))

    def _label_at(self, points_lps_mm: NDArray[np.float64]) -> NDArray[np.uint8]:
        index = np.rint(self._to_zyx(points_lps_mm)).astype(int)
        inside = ((index >= 0) & (index < self.labels.shape)).all(axis=1)
        found = np.zeros(len(index), np.uint8)
        found[inside] = self.labels[tuple(index[inside].T)]
        return found

    def _to_zyx(self, points_lps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        inverse = np.linalg.inv(self.affine)
        zyx: NDArray[np.float64] = points_lps_mm @ inverse[:3, :3].T + inverse[:3, 3]
        return zyx

    def _nearest_side(self, point_lps_mm: Point) -> Side:
        z, y, x = self._to_zyx(np.array([point_lps_mm]))[0]
        plane = self.labels[int(np.clip(round(z), 0, len(self.labels) - 1))]
        used = np.argwhere(plane)
        if not len(used):
            return Side.UNKNOWN
        nearest = used[np.argmin(((used - (y, x)) ** 2).sum(axis=1))]
        return _SIDES[int(plane[tuple(nearest)])]


def _point(xyz: NDArray[np.float64]) -> Point:
    x, y, z = (float(value) for value in xyz)
    return x, y, z
