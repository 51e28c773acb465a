"""CT series to Volume: HU array, spacing, affine; refuses what it cannot trust."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from node.errors import BadInput
from workers.volume.geometry import stack
from workers.volume.grid import Mask, Series, SliceSource, Volume
from workers.volume.lungs import Lungs
from workers.volume.pixels import read_hu
from workers.volume.planes import planes_of, read_headers, readable, require_one_series, source_of

__all__ = ["Lungs", "Mask", "Series", "SliceSource", "Volume", "load_series", "load_volume", "read_headers"]

MIN_SLICES = 10
"""Fewer cannot show an even step, and never hold a chest."""


def load_volume(paths: Sequence[Path], min_slices: int = MIN_SLICES) -> Volume:
    """Read one CT series, single-frame or multi-frame, into HU.

    Order and spacing come from the positions along the normal, never from InstanceNumber or SliceThickness.
    Values are clipped to at least -1024 HU. Raises BadInput with one sentence where the series cannot be trusted.
    """
    return load_series(paths, min_slices).volume


def load_series(paths: Sequence[Path], min_slices: int = MIN_SLICES) -> Series:
    """Read one CT series like `load_volume`, and keep its headers in volume order."""
    with readable("an image of the series"):
        headers = read_headers(paths)
        require_one_series(headers)
        planes = [plane for path, header in zip(paths, headers, strict=True) for plane in planes_of(path, header)]
        sources = {id(plane): source_of(plane) for plane in planes}
    if len(planes) < min_slices:
        raise BadInput(f"The series has {len(planes)} slices; at least {min_slices} are needed.")
    ordered, affine = stack(planes)
    depth, height, width = (float(length) for length in np.linalg.norm(affine[:3, :3], axis=0))
    slices = tuple(sources[id(plane)] for plane in ordered)
    in_order = {id(plane.header): plane.header for plane in ordered}
    return Series(Volume(read_hu(ordered), (depth, height, width), affine, slices), tuple(in_order.values()))
