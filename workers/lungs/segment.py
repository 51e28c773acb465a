"""Volume to Lungs by thresholds: outside air, body, airways, two lungs, closing; no learned part."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from node.errors import NotAChest
from workers.lungs.airways import find_airways
from workers.lungs.closing import close_lungs
from workers.lungs.grid import CoarseCt, coarse
from workers.lungs.sides import split_sides
from workers.volume import Lungs, Volume

Grid = NDArray[np.bool_]

LUNG_BELOW_HU = -400
"""Block means below are air or lung."""
ROOM_AIR_BELOW_HU = -930
"""Block means below are room air or padding when they reach the image border; lung that touches it is denser."""
BODY_ABOVE_HU = -250
"""Fat and everything denser."""
GAS_BELOW_HU = -940
"""Median of stomach, bowel and table foam; of lung only in the worst emphysema."""
PURE_GAS_BELOW_HU = -960
"""Block means of gas without tissue in it, a margin above -1000."""
GAS_MM = 5.0
"""Half the width of the smallest bubble that is taken away."""
MOST_GAS_SHARE = 0.3
"""With more of the air this thin, it is emphysema and stays."""
TABLE_MM = 8.0
"""Half the thickness of what is taken for table, clothes and arm rests, not body."""
TWIN_SHARE = 0.4
"""Of the largest piece of air: more than this is the other lung, however thin."""
SMALLEST_SHARE = 0.04
"""Of the largest piece of air: what the smallest separate lung, collapsed or shrunken, has."""


def segment_lungs(volume: Volume) -> Lungs:
    """Find both lungs. Raises NotAChest where no air-filled organ lies inside a body."""
    ct = coarse(volume)
    body = _body(ct)
    middle_x = float(np.average(np.arange(body.shape[2]), weights=body.sum(axis=(0, 1))))
    air = _air_inside(ct, body)
    airways = find_airways(ct, air, middle_x)
    lung = _lung_parts(ct, _without_gas(ct, air & ~airways))
    if not lung.any():
        raise NotAChest("No lungs are visible in the images.")
    sides = split_sides(lung, middle_x, ct)
    return Lungs(
        labels=close_lungs(sides, airways, ct),
        affine=ct.affine,
        air_volume_l=float(np.count_nonzero(lung)) * ct.voxel_ml / 1000,
        median_hu=float(np.median(ct.hu[lung])),
        cut_at_feet=_is_cut(sides[0], ct),
        cut_at_head=_is_cut(sides[-1], ct),
    )


def _air_inside(ct: CoarseCt, body: Grid) -> Grid:
    """Air that the body surrounds: not the room, not the table's foam, not a fold of skin."""
    room = _touching_border(ct.hu < ROOM_AIR_BELOW_HU)
    skin = ndimage.binary_dilation(room, iterations=2)
    air: Grid = (ct.hu < LUNG_BELOW_HU) & _surrounded(body) & ~skin
    return air


def _touching_border(mask: Grid) -> Grid:
    """Keep the parts that reach left, right, front or back of the image; top and bottom are where lungs may end."""
    parts, count = ndimage.label(mask)
    edges = (parts[:, 0], parts[:, -1], parts[:, :, 0], parts[:, :, -1])
    kept = np.zeros(count + 1, bool)
    for edge in edges:
        kept[np.unique(edge)] = True
    kept[0] = False
    touching: Grid = kept[parts]
    return touching


def _body(ct: CoarseCt) -> Grid:
    """The largest dense object after opening, so that table, clothes and lines fall off."""
    steps = max(1, round(TABLE_MM / float(ct.spacing_zyx_mm[1])))
    in_plane = ndimage.generate_binary_structure(2, 1)[None]
    core = ndimage.binary_erosion(ct.hu > BODY_ABOVE_HU, in_plane, iterations=steps, border_value=1)
    parts, count = ndimage.label(core)
    if not count:
        raise NotAChest("No body is visible in the images.")
    largest = np.bincount(parts.ravel())[1:].argmax() + 1
    body: Grid = ndimage.binary_dilation(parts == largest, in_plane, iterations=steps)
    return body


def _surrounded(body: Grid) -> Grid:
    """Voxels that see the body in at least three of the four directions of their slice (one may be cut off)."""
    seen = np.zeros(body.shape, np.int8)
    for axis in (1, 2):
        seen += np.logical_or.accumulate(body, axis=axis)
        seen += np.flip(np.logical_or.accumulate(np.flip(body, axis), axis=axis), axis)
    return seen >= 3


def _without_gas(ct: CoarseCt, air: Grid) -> Grid:
    """Take away stomach, bowel and free gas, which may touch a lung; closing brings back bullae inside a lung."""
    steps = max(1, round(GAS_MM / float(ct.spacing_zyx_mm[1])))
    in_plane = ndimage.generate_binary_structure(2, 1)[None]
    core = ndimage.binary_erosion(air & (ct.hu < PURE_GAS_BELOW_HU), in_plane, iterations=steps)
    gas = ndimage.binary_dilation(core, in_plane, iterations=steps + 2)
    too_much = np.count_nonzero(gas & air) > MOST_GAS_SHARE * np.count_nonzero(air)
    return air if too_much else air & ~gas


def _lung_parts(ct: CoarseCt, air: Grid) -> Grid:
    """Keep the largest piece of air and others of a lung's size that are not gas; closing brings back the crumbs."""
    parts, count = ndimage.label(air)
    if not count:
        return air
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    large = np.flatnonzero(sizes >= SMALLEST_SHARE * sizes.max()) + 1
    kept = np.zeros(count + 1, bool)
    for part in large:
        twin = sizes[part - 1] >= TWIN_SHARE * sizes.max()
        kept[part] = twin or float(np.median(ct.hu[parts == part])) > GAS_BELOW_HU
    kept[sizes.argmax() + 1] = True
    lung: Grid = kept[parts]
    return lung


def _is_cut(plane: NDArray[np.uint8], ct: CoarseCt) -> bool:
    """Does a slice at an end of the scan hold more lung than the tip of an apex or a recess (10 cm2)?"""
    return float(np.count_nonzero(plane)) * float(np.prod(ct.spacing_zyx_mm[1:])) > 1000.0
