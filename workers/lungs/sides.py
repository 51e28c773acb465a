"""Air of the lungs to right and left, also where the two touch in front of the heart."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from workers.lungs.grid import CoarseCt, shrink, stretch
from workers.volume.lungs import LEFT, RIGHT

Grid = NDArray[np.bool_]
Labels = NDArray[np.uint8]

EROSIONS_MM = (1.0, 3.0, 5.0, 7.0, 10.0, 13.0, 17.0)
"""Tried in turn until lungs that touch fall apart."""
CORE_SHARE = 0.12
"""A core holds at least this share of all that is left after erosion."""
CROSSING_SHARE = 0.08
"""A piece of air with less than this beyond the body's middle belongs to one lung."""


def split_sides(lung: Grid, middle_x: float, ct: CoarseCt) -> Labels:
    """Label air-filled lung 1 (patient's right, x below `middle_x`) and 2 (left), shape of `lung`."""
    parts, count = ndimage.label(lung)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    on_left = np.bincount(parts[:, :, round(middle_x) :].ravel(), minlength=count + 1) / np.maximum(sizes, 1)
    table = np.where(on_left >= 0.5, LEFT, RIGHT).astype(np.uint8)
    table[0] = 0
    sides: Labels = table[parts]
    for part in range(1, count + 1):
        if min(on_left[part], 1 - on_left[part]) >= CROSSING_SHARE:
            crossing = parts == part
            sides[crossing] = _split(crossing, middle_x, ct)[crossing]
    return sides


def _split(lungs: Grid, middle_x: float, ct: CoarseCt) -> Labels:
    """Give every voxel of two lungs that touch the side of the nearest core."""
    box = ndimage.find_objects(lungs.astype(np.uint8))[0]
    factors = ct.doubling
    small = np.pad(shrink(lungs[box], factors), 1)
    spacing = tuple(ct.spacing_zyx_mm * factors)
    cores = _cores(small, (middle_x - box[2].start) / factors[2] + 1, spacing)
    nearest = ndimage.distance_transform_edt(cores == 0, spacing, return_distances=False, return_indices=True)
    labels = cores[tuple(nearest)][1:-1, 1:-1, 1:-1]
    sides = np.zeros(lungs.shape, np.uint8)
    sides[box] = stretch(labels, factors, lungs[box].shape)
    return sides


def _cores(lungs: Grid, middle_x: float, spacing_zyx_mm: tuple[float, ...]) -> Labels:
    """Erode until there are large pieces with their centres on either side of the middle; else cut at the middle."""
    depth_mm = ndimage.distance_transform_edt(lungs, spacing_zyx_mm)
    for erosion_mm in EROSIONS_MM:
        parts, count = ndimage.label(depth_mm > erosion_mm)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
        large = np.flatnonzero(sizes >= CORE_SHARE * max(sizes.sum(), 1)) + 1
        if not large.size:
            break
        centers_x = np.array(ndimage.center_of_mass(lungs, parts, large))[:, 2]
        if centers_x.min() < middle_x < centers_x.max():
            table = np.zeros(count + 1, np.uint8)
            table[large] = np.where(centers_x < middle_x, RIGHT, LEFT)
            cores: Labels = table[parts]
            return cores
    cut: Labels = np.where(np.arange(lungs.shape[2]) < middle_x, RIGHT, LEFT).astype(np.uint8)
    return np.where(lungs, cut, 0).astype(np.uint8)
