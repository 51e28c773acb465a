"""Lungs closed over what is dense in them: pleural nodules, hilar masses, large masses at the chest wall."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from workers.lungs.grid import CoarseCt, shrink, stretch
from workers.volume.lungs import LEFT, RIGHT

Grid = NDArray[np.bool_]
Labels = NDArray[np.uint8]

RADIUS_MM = 32.0
"""Covers vessels, hilum, pleural nodules and masses up to about 60 mm; the heart is too wide to be filled."""
MARGIN_MM = 2.5
"""Outward: no closing fills a round surface to its old height, and a nodule there has its centre at the pleura."""


def close_lungs(sides: Labels, airways: Grid, ct: CoarseCt) -> Labels:
    """Fill the gaps of each lung; voxels that hold air keep their side, airways stay out."""
    factors = ct.doubling
    spacing = tuple(ct.spacing_zyx_mm * factors)
    labels = sides.copy()
    for side in (RIGHT, LEFT):
        small = shrink(sides == side, factors)
        if not small.any():
            continue
        full = stretch(_closed(small, RADIUS_MM, spacing), factors, sides.shape)
        labels[full & (labels == 0) & ~airways] = side
    return labels


def _closed(mask: Grid, radius_mm: float, spacing_zyx_mm: tuple[float, ...]) -> Grid:
    """Morphological closing with a ball, by two distance transforms, and a margin."""
    found = ndimage.find_objects(mask.astype(np.uint8))[0]
    box = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in found)
    margin = [int(np.ceil(radius_mm / spacing)) + 1 for spacing in spacing_zyx_mm]
    padded = np.pad(mask[box], [(size, size) for size in margin])
    grown = ndimage.distance_transform_edt(~padded, spacing_zyx_mm) <= radius_mm
    kept = ndimage.distance_transform_edt(grown, spacing_zyx_mm) > radius_mm - MARGIN_MM
    closed = mask.copy()
    closed[box] |= kept[tuple(slice(size, -size) for size in margin)]
    return closed
