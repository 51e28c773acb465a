"""One place of an exam found again in another: the lung around it is shifted until it looks the same."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.signal import fftconvolve

from workers.priors.alignment import Alignment, Points, moved
from workers.volume import Lungs, Volume

HU = (-1000.0, 100.0)
"""Lung and its vessels; bone and contrast say nothing more."""
SURE_LIKENESS = 0.5
"""Correlation from which the surroundings count as found again."""
RIM_MM = 1.5
"""What a nodule is larger than its diameter says: a scanner blurs."""
LEAST_SHARE = 0.15
"""Of the neighbourhood that must be lung."""
FAR_COSTS = 0.001
"""What a shift costs of its likeness, by mm2: 0.1 at 10 mm, which the alignment is seldom wrong by."""
AIR_HU = -1000.0


@dataclass(frozen=True)
class Look:
    """How closely, and how far around."""

    step_mm: float
    half_mm: float
    """Half the width of what is compared."""
    reach_mm: float
    """How far it is shifted."""


LOOKS = (Look(2.0, 22.0, 16.0), Look(1.0, 12.0, 4.0))
"""First roughly and far, then closely."""


@dataclass(frozen=True)
class Place:
    """Where a point of one exam is in the other."""

    lps_mm: NDArray[np.float64]
    """(3,)"""
    likeness: float
    """Correlation of the lung around both, -1..1; 0 where it could not be compared."""


@dataclass(frozen=True)
class Exam:
    """What is compared: the images, and where the lungs are."""

    volume: Volume
    lungs: Lungs


@dataclass(frozen=True)
class Spot:
    """A nodule of `here`."""

    lps_mm: NDArray[np.float64]
    """(3,)"""
    radius_mm: float = 0.0


def find_again(spot: Spot, here: Exam, there: Exam, alignment: Alignment) -> Place:
    """Where a spot of `here` is in `there`, LPS mm: by the alignment, corrected by what is seen around it.

    Where that is not found with the nodule in its middle it is looked for without: a new one was not there.
    """
    found = _found(replace(spot, radius_mm=0.0), here, there, alignment)
    if found.likeness >= SURE_LIKENESS or not spot.radius_mm:
        return found
    without = _found(replace(spot, radius_mm=spot.radius_mm + RIM_MM), here, there, alignment)
    return max(found, without, key=lambda each: each.likeness)


def _found(spot: Spot, here: Exam, there: Exam, alignment: Alignment) -> Place:
    place = Place(alignment.there(spot.lps_mm[None])[0], 0.0)
    for look in LOOKS:
        around = _offsets(look.half_mm, look).reshape(-1, 3) @ np.linalg.inv(alignment.matrix[:3, :3]).T + spot.lps_mm
        weights = here.lungs.contains(around) & (np.linalg.norm(around - spot.lps_mm, axis=1) >= spot.radius_mm)
        if weights.mean() < LEAST_SHARE:
            return Place(place.lps_mm, 0.0)
        template = _cube(_sampled(here.volume, around, look))
        shift, likeness = _shift(template, _cube(weights.astype(np.float64)), there, place.lps_mm, look)
        place = Place(place.lps_mm + shift, likeness)
    return place


def _cube(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n^3,) to (n, n, n)."""
    side = round(len(values) ** (1 / 3))
    return values.reshape(side, side, side)


def _shift(
    template: NDArray[np.float64], weights: NDArray[np.float64], there: Exam, at: NDArray[np.float64], look: Look
) -> tuple[NDArray[np.float64], float]:
    """From a point of `there` to where it looks most like the template, and how much."""
    large = _offsets(look.half_mm + look.reach_mm, look)
    scene = _cube(_sampled(there.volume, large.reshape(-1, 3) + at, look))
    likeness = _correlation(template, weights, scene)
    judged = likeness - FAR_COSTS * (_offsets(look.reach_mm, look) ** 2).sum(axis=-1)
    best = np.unravel_index(int(judged.argmax()), judged.shape)
    return _parabola(likeness, best) * look.step_mm, float(likeness[best])


def _offsets(half_mm: float, look: Look) -> NDArray[np.float64]:
    """(n, n, n, 3): a cube of x, y, z offsets around zero."""
    count = round(half_mm / look.step_mm)
    along = np.arange(-count, count + 1) * look.step_mm
    return np.stack(np.meshgrid(along, along, along, indexing="ij"), axis=-1)


def _sampled(volume: Volume, points: Points, look: Look) -> NDArray[np.float64]:
    """HU at points, a little blurred: noise and slices of different thickness shall not decide."""
    zyx = moved(points, np.linalg.inv(volume.affine))
    low = np.maximum(np.floor(zyx.min(axis=0)).astype(int) - 2, 0)
    high = np.minimum(np.ceil(zyx.max(axis=0)).astype(int) + 3, volume.hu.shape)
    if (low >= high).any():
        return np.full(len(points), AIR_HU)
    box = volume.hu[tuple(map(slice, low, high))]
    clipped = np.clip(box, *HU).astype(np.float32)
    blurred = ndimage.gaussian_filter(clipped, [0.5 * look.step_mm / spacing for spacing in volume.spacing_zyx_mm])
    found: NDArray[np.float64] = ndimage.map_coordinates(blurred, (zyx - low).T, order=1, mode="nearest")
    return found.astype(np.float64)


def _correlation(
    template: NDArray[np.float64], weights: NDArray[np.float64], scene: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weighted normalised cross-correlation at every shift that keeps the template inside the scene."""
    total = weights.sum()
    centred = weights * (template - (weights * template).sum() / total)
    scene = scene - scene.mean()
    mean = _valid(scene, weights) / total
    variance = np.maximum(_valid(scene**2, weights) / total - mean**2, 0.0)
    own = float((centred * template).sum()) / total
    found: NDArray[np.float64] = _valid(scene, centred) / total / np.sqrt(np.maximum(own * variance, 1.0))
    return found


def _valid(scene: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = fftconvolve(scene, kernel[::-1, ::-1, ::-1], mode="valid")
    return found


def _parabola(likeness: NDArray[np.float64], best: tuple[np.intp, ...]) -> NDArray[np.float64]:
    """The top of the correlation between steps, in steps from no shift."""
    shift = np.array(best, float) - (np.array(likeness.shape) - 1) / 2
    for axis, index in enumerate(map(int, best)):
        if 0 < index < likeness.shape[axis] - 1:
            line = likeness[tuple(slice(None) if each == axis else int(best[each]) for each in range(3))]
            before, top, after = line[index - 1 : index + 2]
            curve = before - 2 * top + after
            shift[axis] += 0.5 * (before - after) / curve if curve < 0 else 0.0
    return shift
