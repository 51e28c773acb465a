"""MetaImage by hand: what LUNA16 consists of."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

IDENTITY = (1, 0, 0, 0, 1, 0, 0, 0, 1)


def write_mhd(
    path: Path,
    hu: NDArray[np.int16],
    spacing_zyx_mm: Sequence[float],
    origin_lps_mm: Sequence[float],
    matrix: Sequence[int] = IDENTITY,
) -> Path:
    """Write (z, y, x) as .mhd and .raw; `matrix` holds the directions of x, y and z, one after the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".raw").write_bytes(hu.astype("<i2").tobytes())
    lines = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "TransformMatrix": _numbers(matrix),
        "Offset": _numbers(origin_lps_mm),
        "ElementSpacing": _numbers(spacing_zyx_mm[::-1]),
        "DimSize": _numbers(hu.shape[::-1]),
        "ElementType": "MET_SHORT",
        "ElementDataFile": path.with_suffix(".raw").name,
    }
    path.write_text("".join(f"{key} = {value}\n" for key, value in lines.items()))
    return path


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.10g}" for value in values)
