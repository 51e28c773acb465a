"""Trachea and main bronchi: tracked from slice to slice, then grown until just before they leak into the lungs."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from workers.lungs.grid import CoarseCt

Grid = NDArray[np.bool_]

LUMEN_BELOW_HU = -800
"""Block means of the trachea's lumen, wall partly included."""
LUMEN_CM2 = (0.4, 7.0)
"""Area of a trachea on one slice."""
OFF_MIDLINE_MM = 35.0
"""How far from the middle of the body a trachea may lie."""
SHORTEST_MM = 15.0
"""A chain of round holes shorter than this is no trachea."""
LARGEST_ML = 130.0
"""Trachea and main bronchi together; a region that grows beyond has leaked."""
GROW_BELOW_HU = (-980, -960, -940, -920, -900, -880)
WALL_MM = 2.0


def find_airways(ct: CoarseCt, air: Grid, middle_x: float) -> Grid:
    """Return lumen and wall of trachea and main bronchi; empty where no trachea is seen."""
    trachea = _trachea(ct, air, middle_x)
    if not trachea.any():
        return trachea
    grown = trachea
    for threshold in GROW_BELOW_HU:
        candidate = _connected(trachea, (air & (ct.hu < threshold)) | trachea)
        if np.count_nonzero(candidate) * ct.voxel_ml > LARGEST_ML:
            break
        grown = candidate
    steps = max(1, round(WALL_MM / float(ct.spacing_zyx_mm[1])))
    in_plane = ndimage.generate_binary_structure(2, 1)[None]
    return np.asarray(ndimage.binary_dilation(grown, in_plane, iterations=steps))


def _connected(seed: Grid, mask: Grid) -> Grid:
    parts, _ = ndimage.label(mask)
    kept = np.unique(parts[seed])
    return np.isin(parts, kept[kept > 0])


def _trachea(ct: CoarseCt, air: Grid, middle_x: float) -> Grid:
    """The longest column of round holes near the middle, in the upper two thirds of the air."""
    holes = np.zeros_like(air)
    used = np.flatnonzero(air.any(axis=(1, 2)))
    if not used.size:
        return holes
    for z in range(used[0] + (used[-1] - used[0]) // 3, used[-1] + 1):
        holes[z] = _round_holes(ct, air[z] & (ct.hu[z] < LUMEN_BELOW_HU), middle_x)
    parts, count = ndimage.label(holes)
    if not count:
        return holes
    lengths = [(box[0].stop - box[0].start) for box in ndimage.find_objects(parts)]
    best = int(np.argmax(lengths))
    long_enough = lengths[best] * ct.spacing_zyx_mm[0] >= SHORTEST_MM
    return (parts == best + 1) if long_enough else np.zeros_like(air)


def _round_holes(ct: CoarseCt, plane: Grid, middle_x: float) -> Grid:
    """Holes of one slice with the area and roundness of a trachea, near the column `middle_x`."""
    parts, count = ndimage.label(plane)
    kept = np.zeros(count + 1, bool)
    _, dy, dx = (float(length) for length in ct.spacing_zyx_mm)
    areas = np.bincount(parts.ravel(), minlength=count + 1)
    for index, box in enumerate(ndimage.find_objects(parts), start=1):
        height, width = ((side.stop - side.start) for side in box)
        center = (box[1].start + box[1].stop - 1) / 2
        kept[index] = (
            LUMEN_CM2[0] <= areas[index] * dy * dx / 100 <= LUMEN_CM2[1]
            and 0.4 <= (height * dy) / (width * dx) <= 2.5
            and areas[index] / (height * width) > 0.55
            and abs(center - middle_x) * dx <= OFF_MIDLINE_MM
        )
    holes: Grid = kept[parts]
    return holes
