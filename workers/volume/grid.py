"""A CT volume on its native grid, where its slices came from, and masks cut out of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset


@dataclass(frozen=True)
class SliceSource:
    """Where one slice of a volume came from."""

    sop_instance_uid: str
    sop_class_uid: str
    frame_number: int | None
    """1-based; None for a single-frame image."""
    instance_number: int | None


@dataclass(frozen=True)
class Volume:
    """A CT volume in HU on its native grid."""

    hu: NDArray[np.int16]
    """(z, y, x): y down the rows, x along the columns as stored, z rising along row x column (toward the head
    for an axial head-first or feet-first CT: the normal's LPS z is made positive)."""
    spacing_zyx_mm: tuple[float, float, float]
    affine: NDArray[np.float64]
    """4x4: (z, y, x, 1) voxel centre to (X, Y, Z, 1) in LPS mm."""
    slices: tuple[SliceSource, ...]
    """One per z."""

    def to_lps_mm(self, points_zyx: NDArray[np.float64]) -> NDArray[np.float64]:
        """Voxel indices (n, 3) as (z, y, x), fractions allowed, to LPS mm (n, 3)."""
        lps: NDArray[np.float64] = points_zyx @ self.affine[:3, :3].T + self.affine[:3, 3]
        return lps

    def to_zyx(self, points_lps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """LPS mm (n, 3) to voxel indices (n, 3) as (z, y, x), with fractions."""
        inverse = np.linalg.inv(self.affine)
        zyx: NDArray[np.float64] = points_lps_mm @ inverse[:3, :3].T + inverse[:3, 3]
        return zyx


@dataclass(frozen=True)
class Mask:
    """A nodule's voxels, cut out of the volume's grid."""

    voxels: NDArray[np.bool_]
    """(z, y, x), the smallest box or larger; at least one voxel is set."""
    offset_zyx: tuple[int, int, int]
    """Index in the volume of voxels[0, 0, 0]."""


@dataclass(frozen=True)
class Series:
    """A volume and the headers it was read from, which results copy and refer to."""

    volume: Volume
    headers: tuple[Dataset, ...]
    """One per instance, without pixels, in volume order."""
