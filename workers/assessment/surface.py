"""How far apart two outlines are, in mm; scipy's distance transform."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from workers.volume import Mask

Voxels = NDArray[np.bool_]


def together(first: Mask, second: Mask) -> tuple[Voxels, Voxels]:
    """Two masks of one volume on the smallest box that holds both."""
    low = np.minimum(first.offset_zyx, second.offset_zyx)
    ends = [np.add(mask.offset_zyx, mask.voxels.shape) for mask in (first, second)]
    shape = np.maximum(*ends) - low
    one, other = (_on_box(mask, low, shape) for mask in (first, second))
    return one, other


def _on_box(mask: Mask, low: NDArray[np.int64], shape: NDArray[np.int64]) -> Voxels:
    voxels = np.zeros(shape, bool)
    start = np.array(mask.offset_zyx) - low
    voxels[tuple(slice(int(s), int(s) + n) for s, n in zip(start, mask.voxels.shape, strict=True))] = mask.voxels
    return voxels


def hd95_mm(first: Voxels, second: Voxels, spacing_zyx_mm: tuple[float, float, float]) -> float:
    """95th percentile of the distances from each border to the other, the larger of both ways (Huttenlocher 1993).

    Borders are the voxels of a mask that touch what is outside it. Both masks must hold at least one voxel.
    """
    one, other = _border(first), _border(second)
    ways = [_distances_mm(one, other, spacing_zyx_mm), _distances_mm(other, one, spacing_zyx_mm)]
    return float(max(np.percentile(way, 95) for way in ways))


def _border(voxels: Voxels) -> Voxels:
    return np.asarray(voxels & ~ndimage.binary_erosion(voxels))


def _distances_mm(of: Voxels, to: Voxels, spacing_zyx_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    return np.asarray(ndimage.distance_transform_edt(~to, spacing_zyx_mm)[of])
