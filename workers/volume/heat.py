"""A detector's score everywhere it looked: a grid of its own beside the CT's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class HeatMap:
    """Scores on a grid whose axes are perpendicular."""

    scores: NDArray[np.float32]
    """(z, y, x), 0..1."""
    affine: NDArray[np.float64]
    """4x4: (z, y, x, 1) of a cell's centre to (X, Y, Z, 1) in LPS mm."""

    @property
    def spacing_zyx_mm(self) -> NDArray[np.float64]:
        """Between the centres of cells."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0), np.float64)

    def to_zyx(self, point_lps_mm: Sequence[float]) -> NDArray[np.float64]:
        """LPS mm to the fractional index of a cell."""
        from_first = np.array(point_lps_mm) - self.affine[:3, 3]
        return np.asarray(np.linalg.solve(self.affine[:3, :3], from_first), np.float64)

    def to_lps_mm(self, zyx: Sequence[Any] | NDArray[Any]) -> NDArray[np.float64]:
        """Index of a cell to LPS mm."""
        lps: NDArray[np.float64] = self.affine[:3, :3] @ np.array(zyx, float) + self.affine[:3, 3]
        return lps

    def cells_around(self, center_lps_mm: Sequence[float], side_mm: float) -> tuple[slice, slice, slice]:
        """The cells of a cube around a point, as far as there are any; at least one."""
        half = side_mm / 2 / self.spacing_zyx_mm
        center, last = self.to_zyx(center_lps_mm), np.array(self.scores.shape) - 1
        low = np.clip(np.floor(center - half + 0.5), 0, last).astype(int)
        high = np.clip(np.ceil(center + half - 0.5), low, last).astype(int)
        z, y, x = (slice(int(start), int(stop) + 1) for start, stop in zip(low, high, strict=True))
        return z, y, x
