"""What a training image is made of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.phantom.nodules import Attachment
from workers.training.real import RealNodule

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Ball:
    """A nodule in a patch."""

    center_zyx: tuple[float, float, float]
    """Voxels of the patch."""
    diameter_mm: float
    type: str
    visible: bool = True
    """False: so much of it is hidden in other tissue that it is neither nodule nor background."""


@dataclass
class Patch:
    """One training image."""

    hu: Image
    """(z, y, x)"""
    spacing_mm: float
    balls: list[Ball]
    unknown: NDArray[np.bool_]
    """(z, y, x): what the background shows here may not be learned from."""
    share: Image
    """(z, y, x): how much of each voxel is nodule, 0..1."""


@dataclass(frozen=True)
class Plan:
    """One nodule to put in."""

    center_zyx: NDArray[np.float64]
    """Voxels of the patch."""
    diameter_mm: float
    attachment: Attachment
    source: RealNodule | str
    """A real one, or "drawn"."""
    context: bool
    """Bring the surroundings of a real one along."""
