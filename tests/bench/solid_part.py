"""How well a threshold measures the solid part of a nodule whose core is known: `python -m tests.bench.solid_part`.

Balls of ground glass with a solid core, blurred and noisy like CT, some crossed by a vessel, in a perfect outline;
then nodules of whole phantoms, all made part-solid, in the outlines of the shipped segmenter.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from node.domain.finding import NoduleType
from tests.builders import as_volume
from workers.composition import composition
from workers.measure import measure
from workers.phantom import varied
from workers.phantom.nodules import Shape
from workers.segment import segment
from workers.solid_part import LEAST_MM, OPENED_MM, largest_solid_piece, solid_part
from workers.volume import Mask

SPACINGS_MM = ((1.25, 0.7, 0.7), (2.5, 0.7, 0.7))
CORES_MM = (0, 3, 4, 5, 6, 8, 10)
TRIALS = 12
SEEDS = range(900001, 900031)
"""Of phantoms that nothing was trained on; what counts as lying in glass was chosen on the first six."""
STEPS_MM = (0.8, 1.0, 1.25, 2.0, 2.5)


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


def in_phantoms(seeds: range) -> Iterator[tuple[float, float, bool]]:
    """Of each solid part that is measured: true and measured diameter in mm, and whether it is named part-solid."""
    import_module("workers.phantom.chest")
    module: Any = sys.modules["workers.phantom.chest"]  # the package has a function of this name
    place, shapes = module.place, list[Shape]()

    def part_solid(*arguments: Any) -> list[Shape]:
        shapes[:] = [replace(each, type=NoduleType.PART_SOLID, hu=30.0) for each in place(*arguments)]
        return shapes

    with patch.object(module, "place", part_solid):
        for seed in seeds:
            step = STEPS_MM[seed % len(STEPS_MM)]
            spec = varied(seed, nodules=12, matrix=384, step_mm=step, thickness_mm=step)
            phantom = module.chest(replace(spec, smallest_mm=8.0, largest_mm=26.0))
            volume = as_volume(phantom.hu, phantom.grid.spacing_zyx_mm)
            centers = [np.argwhere(each.mask).mean(0) + each.offset_zyx for each in phantom.nodules]
            spheres = [
                SimpleNamespace(center_lps_mm=tuple(volume.to_lps_mm(center[None])[0]), diameter_mm=each.diameter_mm)
                for center, each in zip(centers, phantom.nodules, strict=True)
            ]
            for shape, mask in zip(shapes, segment(volume, spheres), strict=True):
                found = solid_part(volume, mask)
                if found and shape.outline not in ("lentiform", "triangular"):
                    named = composition(volume, mask) is NoduleType.PART_SOLID
                    yield shape.core * shape.diameter_mm, found.mean_diameter_mm, named


def main() -> None:
    """Print least and most of each kind, slice and core; then how far what would be reported is off, there and in
    phantoms."""
    off_mm = list(_balls())
    print(f"balls: {_told(off_mm)}")  # noqa: T201
    found = list(in_phantoms(SEEDS))
    print(f"phantoms, named part-solid: {_told([abs(two - one) for one, two, named in found if named])}")  # noqa: T201
    print(f"phantoms, whatever they are named: {_told([abs(two - one) for one, two, _ in found])}")  # noqa: T201


def _told(off_mm: list[float]) -> str:
    middle, nine_of_ten = np.percentile(off_mm, [50, 90])
    count, most = len(off_mm), max(off_mm)
    return f"{count} measured, off by {middle:.1f} (median), {nine_of_ten:.1f} (9 of 10), {most:.1f} mm (most)"


def _balls() -> Iterator[float]:
    """Prints a line a case, and gives how far each that would be reported is off."""
    rng = np.random.default_rng(1)
    for kind in KINDS:
        for spacing in SPACINGS_MM:
            for core_mm in CORES_MM:
                made = [nodule(core_mm, spacing, kind, rng) for _ in range(TRIALS)]
                plain, opened = ([measured_mm(*one, spacing, mm) for one in made] for mm in (0.0, OPENED_MM))
                yield from (abs(each - core_mm) for each in opened if each >= LEAST_MM)
                told = f"{min(plain):4.1f} to {max(plain):4.1f} mm, opened {min(opened):4.1f} to {max(opened):4.1f} mm"
                print(f"{kind.name:12} slices {spacing[0]:4} mm, core {core_mm:2} mm: {told}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
