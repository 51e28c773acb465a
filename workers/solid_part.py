"""Volume and the mask of a part-solid nodule to its solid part, where that is told from a vessel."""

import numpy as np
from scipy import ndimage

from node.domain.finding import SolidPart
from workers.composition import SOLID_HU
from workers.measure import MAX_STEP_FOR_VOLUME_MM, measure
from workers.volume import Mask, Volume

OPENED_MM = 1.5
"""Radius of the ball that opens what is solid: thinner vessels vanish, and small solid parts with them."""
LEAST_MM = 6.0
"""Mean diameter from which a solid part is reported..."""
WITHIN_MM = 2.0
"""...and how far from the true one it then was at most (`python -m tests.bench.solid_part`: synthetic nodules)."""
MOST_OPEN = 0.02
"""Share of a solid piece's rim that may be solid outside the nodule."""


def solid_part(volume: Volume, mask: Mask) -> SolidPart | None:
    """Measure the largest solid piece inside a nodule. None where slices are too far apart, where none is large enough
    to be told from a vessel, or where it goes on outside the nodule."""
    if volume.spacing_zyx_mm[0] > MAX_STEP_FOR_VOLUME_MM + 1e-3:
        return None
    piece = largest_solid_piece(volume, mask)
    if piece is None or not _lies_in_glass(volume, mask, piece):
        return None
    measured = measure(volume, piece)
    sizes = measured.measurements
    if sizes.mean_diameter_mm < LEAST_MM:
        return None
    return SolidPart(sizes.mean_diameter_mm, sizes.long_axis_mm, sizes.short_axis_mm, WITHIN_MM, measured.key_image)


def _lies_in_glass(volume: Volume, mask: Mask, piece: Mask) -> bool:
    """Whether it ends inside the nodule: what goes on outside may be a vessel, pleura or wall."""
    low = [max(start - 1, 0) for start in mask.offset_zyx]
    cut = tuple(slice(start, start + n + 2) for start, n in zip(low, mask.voxels.shape, strict=True))
    hu = volume.hu[cut]
    before = [start - begin for start, begin in zip(mask.offset_zyx, low, strict=True)]
    around = [(b, size - n - b) for b, n, size in zip(before, mask.voxels.shape, hu.shape, strict=True)]
    inside, part = np.pad(mask.voxels, around), np.pad(piece.voxels, around)
    rim = ndimage.binary_dilation(part) & ~part
    beyond = rim & ~inside & (hu > SOLID_HU)
    return bool(np.count_nonzero(beyond) <= MOST_OPEN * np.count_nonzero(rim))


def largest_solid_piece(volume: Volume, mask: Mask, opened_mm: float = OPENED_MM) -> Mask | None:
    """Voxels of a mask above SOLID_HU after a median filter in the plane, opened by a ball of this radius."""
    box = tuple(slice(o, o + n) for o, n in zip(mask.offset_zyx, mask.voxels.shape, strict=True))
    solid = mask.voxels & (ndimage.median_filter(volume.hu[box], (1, 3, 3)) > SOLID_HU)
    if opened_mm:
        spacing = volume.spacing_zyx_mm
        # what lies beyond the box is not solid: without the border a voxel there would be deep inside
        padded = np.pad(solid, 1)
        kept = ndimage.distance_transform_edt(padded, spacing) > opened_mm
        near = ndimage.distance_transform_edt(~kept, spacing) <= opened_mm
        solid = (padded & near & kept.any())[1:-1, 1:-1, 1:-1]
    pieces, count = ndimage.label(solid)
    if not count:
        return None
    sizes = np.bincount(pieces.ravel())
    return Mask(pieces == 1 + int(np.argmax(sizes[1:])), mask.offset_zyx)
