"""A coarse grid of the chest along the patient's axes, and coarser ones of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.volume import Volume

GRID_MM = 2.2
"""Wanted voxel size; a voxel is a whole number of native voxels, so it is this only nearly."""
COARSEST_MM = 5.0
"""Voxel size that is still enough to erode and close lungs."""


@dataclass(frozen=True)
class CoarseCt:
    """Block means of a volume, axes turned so that z, y, x rise with LPS z (head), y (back), x (patient left)."""

    hu: NDArray[np.int16]
    """(z, y, x)."""
    affine: NDArray[np.float64]
    """4x4: (z, y, x, 1) to LPS mm."""

    @property
    def spacing_zyx_mm(self) -> NDArray[np.float64]:
        """Voxel size, (3,)."""
        spacing: NDArray[np.float64] = np.linalg.norm(self.affine[:3, :3], axis=0)
        return spacing

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(np.prod(self.spacing_zyx_mm)) / 1000

    @property
    def doubling(self) -> tuple[int, int, int]:
        """Blocks (fz, fy, fx) of 1 or 2 voxels for work on shape, which needs no more than 5 mm."""
        z, y, x = (2 if 2 * spacing <= COARSEST_MM else 1 for spacing in self.spacing_zyx_mm)
        return z, y, x


def coarse(volume: Volume, grid_mm: float = GRID_MM) -> CoarseCt:
    """Average whole blocks of voxels to about `grid_mm` and turn the axes to the patient's."""
    factors = [max(1, round(grid_mm / spacing)) for spacing in volume.spacing_zyx_mm]
    hu = _block_means(volume.hu, factors)
    affine = volume.affine @ np.diag([*factors, 1.0])
    affine[:3, 3] += volume.affine[:3, :3] @ ((np.array(factors) - 1) / 2)
    return _along_patient(hu, affine)


def _block_means(hu: NDArray[np.int16], factors: list[int]) -> NDArray[np.int16]:
    """Mean over blocks of (fz, fy, fx) voxels; what is left over at the far edges is dropped."""
    depth, height, width = (size // factor for size, factor in zip(hu.shape, factors, strict=True))
    fz, fy, fx = factors
    means = np.empty((depth, height, width), np.int16)
    for z in range(depth):
        slab = hu[z * fz] if fz == 1 else hu[z * fz : (z + 1) * fz].sum(axis=0, dtype=np.int32)
        rows = sum(slab[k : height * fy : fy].astype(np.int32) for k in range(fy))
        block = sum(rows[:, k : width * fx : fx] for k in range(fx))
        means[z] = block // (fz * fy * fx)
    return means


def _along_patient(hu: NDArray[np.int16], affine: NDArray[np.float64]) -> CoarseCt:
    """Permute and flip so that array axes 0, 1, 2 rise with LPS z, y, x."""
    nearest = np.abs(affine[:3, :3]).argmax(axis=0)
    order = [int(np.flatnonzero(nearest == axis)[0]) for axis in (2, 1, 0)] if len(set(nearest)) == 3 else [0, 1, 2]
    turned, matrix = np.transpose(hu, order), affine.copy()
    matrix[:3, :3] = affine[:3, order]
    for axis, component in enumerate((2, 1, 0)):
        if matrix[component, axis] < 0:
            matrix[:3, 3] += matrix[:3, axis] * (turned.shape[axis] - 1)
            matrix[:3, axis] *= -1
            turned = np.flip(turned, axis)
    return CoarseCt(np.ascontiguousarray(turned), matrix)


def shrink(mask: NDArray[np.bool_], factors: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Blocks of (fz, fy, fx) voxels of which at least half are set; the far edges are padded with nothing."""
    padded = np.pad(mask, [(0, -size % factor) for size, factor in zip(mask.shape, factors, strict=True)])
    total = np.zeros([size // factor for size, factor in zip(padded.shape, factors, strict=True)], np.uint8)
    for z, y, x in np.ndindex(factors):
        total += padded[z :: factors[0], y :: factors[1], x :: factors[2]]
    return total * 2 >= np.prod(factors)


def stretch(grid: NDArray[Any], factors: tuple[int, int, int], shape: tuple[int, ...]) -> NDArray[Any]:
    """Repeat every voxel (fz, fy, fx) times and cut to `shape`: the way back from `shrink`."""
    for axis, factor in enumerate(factors):
        grid = np.repeat(grid, factor, axis=axis)
    depth, height, width = shape
    return grid[:depth, :height, :width]
