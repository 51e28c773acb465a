"""A real nodule in its own slices, with quiet lung before the first and behind the last of them."""

import numpy as np
from numpy.typing import NDArray

from workers.evaluation.matching import Truth
from workers.networks.patches import Line, sample
from workers.training.crowded import Chest
from workers.training.real import RealNodule

QUIET_MM = 12.0
LUNG_HU, USUAL_LUNG_HU, NOISE_HU = -500, -850.0, 25.0


def in_quiet_lung(nodule: RealNodule, rng: np.random.Generator) -> tuple[NDArray[np.int16], int]:
    """HU (z, y, x) at the nodule's own spacing, and at which z its first slice lies."""
    quiet = max(2, int(np.ceil(QUIET_MM / nodule.spacing_zyx_mm[0])))
    lung = nodule.hu[nodule.hu < LUNG_HU]
    level = float(np.median(lung)) if lung.size else USUAL_LUNG_HU
    depth, height, width = nodule.hu.shape
    hu = np.clip(rng.normal(level, NOISE_HU, (depth + 2 * quiet, height, width)), -1024, 0).astype(np.int16)
    hu[quiet : quiet + depth] = nodule.hu
    return hu, quiet


def window(nodule: RealNodule, rng: np.random.Generator) -> Chest:
    """The same at 1 mm, as a chest with one nodule; what is found outside its slices does not count."""
    own, quiet = in_quiet_lung(nodule, rng)
    spacing = np.array(nodule.spacing_zyx_mm)
    counts = np.floor((np.array(own.shape) - 1) * spacing).astype(int) + 1
    z, y, x = (Line(0.0, 1 / float(s), int(n)) for s, n in zip(spacing, counts, strict=True))
    hu = sample(own.astype(np.float32), (z, y, x)).numpy()
    first, last = quiet * spacing[0], (own.shape[0] - quiet) * spacing[0]
    levels = 4 * np.arange(counts[0] // 4 + 1)
    usable = np.zeros((len(levels), counts[1] // 4 + 1, counts[2] // 4 + 1), bool)
    usable[(levels + 4 > first) & (levels < last)] = True
    at = (nodule.center_zyx + np.array([quiet, 0, 0])) * spacing
    return Chest(hu, usable, (Truth((at[2], at[1], at[0]), nodule.diameter_mm),), (nodule,))
