"""An axis-aligned voxel grid in LPS mm, and the separable filters that move images between grids."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.floating[Any]]
"""float32 wherever it is large."""


@dataclass(frozen=True)
class Grid:
    """Voxel centres at origin + index * spacing; z toward the head, y toward the back, x toward the left."""

    shape_zyx: tuple[int, int, int]
    spacing_zyx_mm: tuple[float, float, float]
    origin_zyx_mm: tuple[float, float, float]
    """LPS z, y, x of the first voxel's centre."""

    @classmethod
    def around(cls, low_zyx_mm: Image, high_zyx_mm: Image, spacing_zyx_mm: tuple[float, float, float]) -> "Grid":
        """The grid of this spacing that covers the box from low to high, centred on it."""
        low, high, spacing = (np.asarray(v, dtype=np.float64) for v in (low_zyx_mm, high_zyx_mm, spacing_zyx_mm))
        count = np.ceil((high - low) / spacing).astype(int) + 1
        origin = (low + high) / 2 - (count - 1) * spacing / 2
        z, y, x = (int(n) for n in count)
        oz, oy, ox = (float(v) for v in origin)
        return cls((z, y, x), spacing_zyx_mm, (oz, oy, ox))

    def axis_mm(self, axis: int) -> Image:
        """Coordinates of the voxel centres along one axis, mm."""
        return np.asarray(self.origin_zyx_mm[axis] + np.arange(self.shape_zyx[axis]) * self.spacing_zyx_mm[axis])

    def mesh_mm(self) -> tuple[Image, Image, Image]:
        """z (n,1,1), y (1,n,1), x (1,1,n) in mm, ready to broadcast."""
        z, y, x = (self.axis_mm(axis).astype(np.float32) for axis in range(3))
        return z[:, None, None], y[None, :, None], x[None, None, :]

    def index(self, points_zyx_mm: NDArray[np.floating]) -> NDArray[np.float64]:
        """Fractional voxel indices (n, 3) of points (n, 3) in mm."""
        return np.asarray((points_zyx_mm - np.asarray(self.origin_zyx_mm)) / np.asarray(self.spacing_zyx_mm))

    @property
    def affine(self) -> NDArray[np.float64]:
        """4x4: (z, y, x, 1) voxel centre to (X, Y, Z, 1) in LPS mm."""
        matrix = np.zeros((4, 4))
        matrix[[2, 1, 0], [0, 1, 2]] = self.spacing_zyx_mm
        matrix[:3, 3] = self.origin_zyx_mm[::-1]
        matrix[3, 3] = 1.0
        return matrix


def linear_weights(from_mm: Image, to_mm: Image) -> Image:
    """(to, from) weights of linear interpolation between two sorted, evenly spaced axes; clamped at the ends."""
    step = from_mm[1] - from_mm[0]
    position = np.clip((to_mm - from_mm[0]) / step, 0, len(from_mm) - 1)
    distance = np.abs(position[:, None] - np.arange(len(from_mm))[None])
    return np.asarray(np.maximum(0, 1 - distance), dtype=np.float32)


def gaussian_weights(count: int, sigma: float) -> Image:
    """(count, count) weights of a Gaussian blur with edge renormalisation; sigma in voxels."""
    distance = np.arange(count)[:, None] - np.arange(count)[None]
    weights = np.exp(-0.5 * (distance / max(sigma, 1e-3)) ** 2)
    weights[np.abs(distance) > 4 * sigma + 1] = 0
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def slab_weights(from_mm: Image, to_mm: Image, thickness_mm: float) -> Image:
    """(to, from) weights that average a slab of `thickness_mm` around each target position."""
    half = (from_mm[1] - from_mm[0]) / 2
    low = np.maximum(to_mm[:, None] - thickness_mm / 2, from_mm[None] - half)
    high = np.minimum(to_mm[:, None] + thickness_mm / 2, from_mm[None] + half)
    weights = np.maximum(high - low, 0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def apply_separable(image: Image, weights_zyx: tuple[Image | None, Image | None, Image | None]) -> Image:
    """Filter (z, y, x) along each axis with a (to, from) matrix; None leaves the axis as it is."""
    along_z, along_y, along_x = weights_zyx
    if along_z is not None:
        z, y, x = image.shape
        image = (along_z @ image.reshape(z, y * x)).reshape(-1, y, x)
    if along_x is not None:
        image = image @ along_x.T
    if along_y is not None:
        image = along_y @ image
    return image


def blur(image: Image, sigma_zyx: tuple[float, float, float]) -> Image:
    """Gaussian blur of (z, y, x); sigma in voxels, zero leaves the axis as it is."""
    weights = [gaussian_weights(n, s) if s > 0.05 else None for n, s in zip(image.shape, sigma_zyx, strict=True)]
    return apply_separable(image, (weights[0], weights[1], weights[2]))


def upsample(image: Image, source: Grid, target: Grid) -> Image:
    """Interpolate linearly from one grid to another."""
    weights = [linear_weights(source.axis_mm(axis), target.axis_mm(axis)) for axis in range(3)]
    return apply_separable(image, (weights[0], weights[1], weights[2]))


def smooth_noise(grid: Grid, wavelength_mm: float, rng: np.random.Generator) -> Image:
    """A random field (z, y, x) of mean 0 and SD 1 whose bumps are about `wavelength_mm` apart."""
    extent = np.array(grid.shape_zyx) * np.array(grid.spacing_zyx_mm)
    coarse_shape = np.maximum(np.ceil(extent / (wavelength_mm / 2)).astype(int) + 3, 4)
    coarse = rng.standard_normal(tuple(coarse_shape), dtype=np.float32)
    weights = []
    for axis in range(3):
        knots = np.linspace(0, grid.shape_zyx[axis] - 1, coarse_shape[axis])
        weights.append(linear_weights(knots, np.arange(grid.shape_zyx[axis], dtype=np.float64)))
    field = apply_separable(coarse, (weights[0], weights[1], weights[2]))
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-6), dtype=np.float32)
