"""Image planes to Hounsfield units, from any transfer syntax that a decoder is installed for."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from node.errors import BadInput
from node.headers.panics import panics_as_bad_input
from workers.volume.planes import Plane, readable

MAX_VOXELS = 1_500_000_000
"""3 GB of HU: 5,000 slices of 512 x 512; more is a mistake or an attack."""
AIR_HU = -1024
"""Everything below is padding and becomes this."""
TISSUE_HU = (-500, 3071)
"""A declared padding value in this range would erase tissue: the declaration is wrong and ignored."""
DECODING_THREADS = 4
_FASTEST_PLUGIN = {
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000: "pylibjpeg",
    JPEG2000Lossless: "pylibjpeg",
    HTJ2K: "pylibjpeg",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
}
"""Measured on 512 x 512: pyjpegls 6 ms, gdcm 10, pylibjpeg 17 a slice; JPEG 2000: pylibjpeg 7, pillow 10, gdcm 12."""


def read_hu(planes: Sequence[Plane]) -> NDArray[np.int16]:
    """Decode all planes, (z, y, x); one task a file, because decoders release the GIL only in part."""
    rows, columns = int(planes[0].header.Rows), int(planes[0].header.Columns)
    if len(planes) * rows * columns > MAX_VOXELS:
        raise BadInput("The series is larger than any CT scan.")
    hu = np.empty((len(planes), rows, columns), np.int16)
    by_file = groupby(sorted(enumerate(planes), key=lambda pair: str(pair[1].path)), key=lambda pair: pair[1].path)
    tasks = [list(group) for _, group in by_file]
    with readable("the pixels of an image"), panics_as_bad_input(), ThreadPoolExecutor(DECODING_THREADS) as pool:
        for _ in pool.map(lambda task: _decode_file(task, hu), tasks):
            pass
    return hu


def _decode_file(task: Sequence[tuple[int, Plane]], hu: NDArray[np.int16]) -> None:
    """Decode the frames of one file into their places in the volume."""
    dataset = dcmread(task[0][1].path)
    syntax = dataset.file_meta.TransferSyntaxUID
    plugin = _FASTEST_PLUGIN.get(syntax, "")
    decoder = get_decoder(syntax)
    frames = decoder.iter_array(
        dataset,
        indices=[plane.frame_index for _, plane in task],
        raw=True,
        decoding_plugin=plugin if plugin in decoder.available_plugins else "",
    )
    for (z, plane), (stored, _) in zip(task, frames, strict=True):
        hu[z] = _rescaled(stored, plane)


def _rescaled(stored: NDArray[Any], plane: Plane) -> NDArray[np.int16]:
    """Stored values to HU; the value declared as padding becomes air."""
    values = stored.astype(np.float32) * np.float32(plane.slope) + np.float32(plane.intercept)
    for padding in _padding(plane.header):
        if not TISSUE_HU[0] <= padding * plane.slope + plane.intercept <= TISSUE_HU[1]:
            values[stored == padding] = AIR_HU
    hu: NDArray[np.int16] = np.clip(np.rint(values), AIR_HU, 32767).astype(np.int16)
    return hu


def _padding(header: Dataset) -> list[int]:
    """Stored values declared as padding, wrapped as the pixels are: scanners write -2000 as 63536."""
    bits, signed = int(header.BitsStored), int(header.PixelRepresentation) == 1
    declared = [header.get("PixelPaddingValue"), header.get("PixelPaddingRangeLimit")]
    wrapped = [int(value) % (1 << bits) for value in declared if isinstance(value, int)]
    return [value - (1 << bits) if signed and value >> (bits - 1) else value for value in wrapped]
