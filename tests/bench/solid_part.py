"""How well a threshold measures the solid part of a nodule whose core is known: `python -m tests.bench.solid_part`.

Balls of ground glass with a solid core, blurred and noisy like CT, some crossed by a vessel, in a perfect outline.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tests.builders import as_volume
from workers.measure import measure
from workers.solid_part import LEAST_MM, OPENED_MM, largest_solid_piece
from workers.volume import Mask

SPACINGS_MM = ((1.25, 0.7, 0.7), (2.5, 0.7, 0.7))
CORES_MM = (0, 3, 4, 5, 6, 8, 10)
TRIALS = 12


@dataclass(frozen=True)
class Kind:
    """What lies around a core."""

    name: str
    glass_hu: tuple[float, float]
    vessel_mm: float = 0.0


KINDS = (Kind("glass", (-650, -550)), Kind("dense glass", (-400, -400)), Kind("vessel", (-600, -600), 2.5))


def nodule(
    core_mm: float, spacing: tuple[float, float, float], kind: Kind, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """HU, and the voxels of the whole nodule."""
    diameter = max(core_mm * 1.5, 9) + rng.uniform(0, 6)
    counts = [2 * int((diameter + 16) / step) for step in spacing]
    axes = [(np.arange(n) + 0.5) / 2 * step - diameter / 2 - 8 for n, step in zip(counts, spacing, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    inside = np.sqrt(z * z + y * y + x * x) < diameter / 2
    hu = np.where(inside, rng.uniform(*kind.glass_hu), -860.0)
    hu[np.sqrt(z * z + y * y + (x - rng.uniform(-1, 1)) ** 2) < core_mm / 2] = rng.uniform(-100, 40)
    hu[np.sqrt(y * y + (z - diameter / 6) ** 2) < kind.vessel_mm / 2] = 30
    hu = ndimage.gaussian_filter(hu, [rng.uniform(0.5, 0.9) / step * 2 for step in spacing])
    coarse, part = (_halved(each) for each in (hu, inside.astype(float)))
    noise = ndimage.gaussian_filter(rng.normal(0, 1, coarse.shape), (0.3, 0.7, 0.7)) * 2
    return coarse + noise * rng.uniform(15, 45), part > 0.5


def _halved(fine: NDArray[np.float64]) -> NDArray[np.float64]:
    z, y, x = (n // 2 for n in fine.shape)
    halved: NDArray[np.float64] = fine.reshape(z, 2, y, 2, x, 2).mean((1, 3, 5))
    return halved


def measured_mm(
    hu: NDArray[np.float64], inside: NDArray[np.bool_], spacing: tuple[float, float, float], opened_mm: float
) -> float:
    """Mean diameter of the largest piece above the threshold; 0 without one."""
    volume = as_volume(hu.astype(np.int16), spacing)
    piece = largest_solid_piece(volume, Mask(inside, (0, 0, 0)), opened_mm)
    return measure(volume, piece).measurements.mean_diameter_mm if piece else 0.0


def main() -> None:
    """Print least and most of each kind, slice and core; then how far what would be reported is off."""
    rng, off_mm = np.random.default_rng(1), list[float]()
    for kind in KINDS:
        for spacing in SPACINGS_MM:
            for core_mm in CORES_MM:
                made = [nodule(core_mm, spacing, kind, rng) for _ in range(TRIALS)]
                plain, opened = ([measured_mm(*one, spacing, mm) for one in made] for mm in (0.0, OPENED_MM))
                off_mm += [abs(each - core_mm) for each in opened if each >= LEAST_MM]
                told = f"{min(plain):4.1f} to {max(plain):4.1f} mm, opened {min(opened):4.1f} to {max(opened):4.1f} mm"
                print(f"{kind.name:12} slices {spacing[0]:4} mm, core {core_mm:2} mm: {told}", flush=True)  # noqa: T201
    told = (
        f"{len(off_mm)} of {LEAST_MM} mm or more: off by {np.median(off_mm):.1f} (median), {max(off_mm):.1f} mm (most)"
    )
    print(told)  # noqa: T201


if __name__ == "__main__":
    main()
