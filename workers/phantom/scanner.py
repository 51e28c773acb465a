"""What a scanner makes of a sharp chest: slices of a thickness, the kernel's blur or edges, correlated noise."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from workers.phantom.grid import Grid, Image, Upsampled, slab_weights, smooth_noise

SLICES_AT_ONCE = 4
UNEVEN = 0.15
"""By how much, relative, noise varies over the body (SD)."""
UNEVEN_OVER_MM = 90.0


@dataclass(frozen=True)
class Scanner:
    """What decides how an image looks, the anatomy aside."""

    thickness_mm: float
    sharpness: float
    """Reconstruction kernel: 0 is smooth, 1 is a lung kernel with edge enhancement."""
    noise_hu: float
    """Standard deviation in soft tissue."""
    seed: int


def scan(sharp_hu: Image, fine: Grid, grid: Grid, scanner: Scanner) -> NDArray[np.int16]:
    """The image (z, y, x) on `grid` of a chest drawn on `fine`, HU."""
    rng = np.random.default_rng([scanner.seed, 9])
    response, grain = _response(grid, scanner.sharpness), _grain(grid, scanner)
    unevenness = _unevenness(grid, rng)
    image = np.empty(grid.shape_zyx, np.int16)
    for part, sharp in sliced(sharp_hu, fine, grid, scanner.thickness_mm):
        spectrum = fft.rfft2(sharp) * response
        if scanner.noise_hu > 0:
            white = rng.standard_normal(sharp.shape, dtype=np.float32)
            white *= 1 + np.float32(UNEVEN) * unevenness[part]
            spectrum += fft.rfft2(white) * grain
        made = fft.irfft2(spectrum, s=grid.shape_zyx[1:])
        image[part] = np.clip(np.rint(made, out=made), -1024, 3071, out=made)
    return image


def sliced(image: NDArray[Any], fine: Grid, grid: Grid, thickness_mm: float) -> Iterator[tuple[slice, Image]]:
    """The slices of `grid`, some at a time and (n, y, x), each the mean of what of `fine` lies in its thickness."""
    whole = _sheared(image, fine, grid, thickness_mm) if grid.tilt_deg else None
    for part in grid.slabs(SLICES_AT_ONCE):
        yield part, _averaged(image, fine, grid.axis_mm(0)[part], thickness_mm) if whole is None else whole[part]


def _averaged(image: NDArray[Any], fine: Grid, z_mm: Image, thickness_mm: float) -> Image:
    weights = slab_weights(fine.axis_mm(0), z_mm, thickness_mm)
    used = np.flatnonzero(weights.any(axis=0))
    near = slice(used[0], used[-1] + 1)
    if (weights.max(axis=1) > 0.999).all() and near.stop - near.start == len(weights):
        return image[near].astype(np.float32, copy=False)
    return np.asarray(np.tensordot(weights[:, near], image[near].astype(np.float32, copy=False), axes=(1, 0)))


def _sheared(image: NDArray[Any], fine: Grid, grid: Grid, thickness_mm: float) -> Image:
    """Slices of a tilted gantry: each row takes from the heights at which its plane lies. Rows of both grids agree."""
    made = np.empty(grid.shape_zyx, np.float32)
    along_z = thickness_mm / np.cos(np.radians(grid.tilt_deg))
    for row in range(grid.shape_zyx[1]):
        weights = slab_weights(fine.axis_mm(0), grid.axis_mm(0) - row * grid.down_mm, along_z)
        made[:, row] = weights @ image[:, row].astype(np.float32, copy=False)
    return made


def _frequency(grid: Grid) -> NDArray[np.float64]:
    """Spatial frequency (rows, columns / 2 + 1) of the in-plane spectrum, cycles per mm."""
    along_y = np.fft.fftfreq(grid.shape_zyx[1], grid.spacing_zyx_mm[1])
    along_x = np.fft.rfftfreq(grid.shape_zyx[2], grid.spacing_zyx_mm[2])
    return np.asarray(np.hypot(along_y[:, None], along_x[None]))


def _transfer(frequency: NDArray[np.float64], sharpness: float) -> NDArray[np.float64]:
    """Modulation transfer: a Gaussian of SD 0.85 (smooth) to 0.45 mm, and an unsharp mask above half sharpness."""
    blur = np.exp(-2 * (np.pi * (0.85 - 0.4 * sharpness) * frequency) ** 2)
    edges = 1.6 * max(sharpness - 0.5, 0.0) * (1 - np.exp(-2 * (np.pi * frequency) ** 2))
    return np.asarray(blur * (1 + edges))


def _response(grid: Grid, sharpness: float) -> Image:
    return _transfer(_frequency(grid), sharpness).astype(np.float32)


def _grain(grid: Grid, scanner: Scanner) -> Image:
    """What turns the spectrum of white noise of SD 1 into that of the scanner's.

    Noise passes the kernel as the anatomy does, and the ramp of filtered backprojection besides: its power falls toward
    frequency zero (Riederer 1978, doi:10.1088/0031-9155/23/3/007). The ramp is softened, since detectors' crosstalk and
    interpolation between projections fill the low frequencies in.
    """
    frequency = _frequency(grid)
    shape = np.sqrt(0.08 + frequency) * _transfer(frequency, scanner.sharpness)
    mirrored = np.full(shape.shape[1], 2.0)
    mirrored[0] = 1.0
    if grid.shape_zyx[2] % 2 == 0:
        mirrored[-1] = 1.0
    power = float((shape**2 * mirrored).sum()) / (grid.shape_zyx[1] * grid.shape_zyx[2])
    return np.asarray(shape * scanner.noise_hu / np.sqrt(power), dtype=np.float32)


def _unevenness(grid: Grid, rng: np.random.Generator) -> Upsampled:
    """How noise varies over the body: more where the X-rays pass more tissue. SD 1."""
    ends = [np.array([grid.axis_mm(axis)[end] for axis in range(3)]) for end in (0, -1)]
    coarse = Grid.around(ends[0], ends[1] + UNEVEN_OVER_MM / 4, (UNEVEN_OVER_MM / 4,) * 3)
    return Upsampled(smooth_noise(coarse, UNEVEN_OVER_MM, rng), coarse, grid)
