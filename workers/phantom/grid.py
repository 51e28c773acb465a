"""A voxel grid in LPS mm, upright or tilted as a gantry, and the separable filters that move images between grids."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.floating[Any]]
"""float32 wherever it is large."""


@dataclass(frozen=True)
class Grid:
    """Voxel centres at origin + index * spacing; z toward the head, y toward the back, x toward the left.

    Under a tilted gantry the rows lie in planes that fall toward the back, and slices still follow each other along z.
    """

    shape_zyx: tuple[int, int, int]
    spacing_zyx_mm: tuple[float, float, float]
    origin_zyx_mm: tuple[float, float, float]
    """LPS z, y, x of the first voxel's centre."""
    tilt_deg: float = 0.0
    """Of the gantry: from slice to slice it is `spacing` along z, not along the slices' normal."""

    @classmethod
    def around(cls, low_zyx_mm: Image, high_zyx_mm: Image, spacing_zyx_mm: tuple[float, float, float]) -> "Grid":
        """The grid of this spacing that covers the box from low to high, centred on it."""
        low, high, spacing = (np.asarray(v, dtype=np.float64) for v in (low_zyx_mm, high_zyx_mm, spacing_zyx_mm))
        count = np.ceil((high - low) / spacing).astype(int) + 1
        origin = (low + high) / 2 - (count - 1) * spacing / 2
        z, y, x = (int(n) for n in count)
        oz, oy, ox = (float(v) for v in origin)
        return cls((z, y, x), spacing_zyx_mm, (oz, oy, ox))

    @property
    def down_mm(self) -> float:
        """How far a row lies below the one before it."""
        return self.spacing_zyx_mm[1] * float(np.sin(np.radians(self.tilt_deg)))

    @property
    def voxel_mm3(self) -> float:
        return float(np.prod(self.spacing_zyx_mm)) * float(np.cos(np.radians(self.tilt_deg)))

    def axis_mm(self, axis: int) -> Image:
        """Coordinates of the voxel centres along one axis, mm; z of a tilted grid is that of its first row."""
        back = float(np.cos(np.radians(self.tilt_deg))) if axis == 1 else 1.0
        return np.asarray(
            self.origin_zyx_mm[axis] + np.arange(self.shape_zyx[axis]) * (self.spacing_zyx_mm[axis] * back)
        )

    def mesh_mm(self) -> tuple[Image, Image, Image]:
        """z (n,1,1) or, tilted, (n,n,1), y (1,n,1), x (1,1,n) in mm, ready to broadcast."""
        return self.local_mesh((slice(None), slice(None), slice(None)))

    def local_mesh(self, box: tuple[slice, slice, slice]) -> tuple[Image, Image, Image]:
        """The part of `mesh_mm` that belongs to a box of voxels."""
        z, y, x = (self.axis_mm(axis)[part] for axis, part in enumerate(box))
        z = z[:, None, None]
        if self.tilt_deg:
            z = z - (np.arange(self.shape_zyx[1])[box[1]] * self.down_mm)[None, :, None]
        return z.astype(np.float32), y.astype(np.float32)[None, :, None], x.astype(np.float32)[None, None, :]

    def part(self, box: tuple[slice, slice, slice]) -> "Grid":
        """The voxels of a box of this grid, as a grid."""
        z, y, x = (len(range(*b.indices(n))) for b, n in zip(box, self.shape_zyx, strict=True))
        oz, oy, ox = (float(self.axis_mm(axis)[b.start or 0]) for axis, b in enumerate(box))
        return Grid((z, y, x), self.spacing_zyx_mm, (oz, oy, ox))

    def slabs(self, slices: int = 8) -> Iterator[slice]:
        """Runs of slices whose voxels fit a processor's cache: large images are made one slab at a time."""
        return (slice(k, min(k + slices, self.shape_zyx[0])) for k in range(0, self.shape_zyx[0], slices))

    def index(self, points_zyx_mm: NDArray[np.floating]) -> NDArray[np.float64]:
        """Fractional voxel indices (n, 3) of points (n, 3) in mm."""
        spacing = np.array(self.spacing_zyx_mm)
        spacing[1] *= np.cos(np.radians(self.tilt_deg))
        index = np.asarray((points_zyx_mm - np.asarray(self.origin_zyx_mm)) / spacing)
        if self.tilt_deg:
            index[..., 0] += index[..., 1] * self.down_mm / spacing[0]
        return index

    def box(self, low_zyx_mm: Image, high_zyx_mm: Image) -> tuple[slice, slice, slice] | None:
        """The voxels between two corners, clipped to the grid; None where nothing is left."""
        corners = np.array([low_zyx_mm, high_zyx_mm])
        corners = self.index(np.concatenate([corners, np.where([True, False, True], corners, corners[::-1])]))
        low = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
        high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 1, self.shape_zyx)
        if (low >= high).any():
            return None
        z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        return z, y, x

    @property
    def affine(self) -> NDArray[np.float64]:
        """4x4: (z, y, x, 1) voxel centre to (X, Y, Z, 1) in LPS mm."""
        matrix = np.zeros((4, 4))
        matrix[[2, 1, 0], [0, 1, 2]] = self.spacing_zyx_mm
        matrix[1, 1] *= np.cos(np.radians(self.tilt_deg))
        matrix[2, 1] = -self.down_mm
        matrix[:3, 3] = self.origin_zyx_mm[::-1]
        matrix[3, 3] = 1.0
        return matrix


def linear_weights(from_mm: Image, to_mm: Image) -> Image:
    """(to, from) weights of linear interpolation between two sorted, evenly spaced axes; clamped at the ends."""
    step = from_mm[1] - from_mm[0]
    position = np.clip((to_mm - from_mm[0]) / step, 0, len(from_mm) - 1)
    distance = np.abs(position[:, None] - np.arange(len(from_mm))[None])
    return np.asarray(np.maximum(0, 1 - distance), dtype=np.float32)


def spline_weights(from_mm: Image, to_mm: Image) -> Image:
    """(to, from) weights of a cubic B-spline on evenly spaced knots: smoother than interpolation, no kinks."""
    step = from_mm[1] - from_mm[0]
    distance = np.abs(to_mm[:, None] - from_mm[None]) / step
    near, far = 2 / 3 - distance**2 + distance**3 / 2, np.maximum(2 - distance, 0) ** 3 / 6
    weights = np.where(distance < 1, near, far)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


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


class Upsampled:
    """An image of a coarse grid, interpolated linearly to a finer one, some slices at a time."""

    def __init__(self, image: Image, source: Grid, target: Grid) -> None:
        self._image = image
        self._along = [linear_weights(source.axis_mm(axis), target.axis_mm(axis)) for axis in range(3)]

    def __getitem__(self, slices: slice) -> Image:
        """(n, y, x): a new array, the caller's to change."""
        along_z, along_y, along_x = self._along
        used = np.flatnonzero(along_z[slices].any(axis=0))
        near = slice(used[0], used[-1] + 1)
        return apply_separable(self._image[near], (along_z[slices, near], along_y, along_x))


def upsample(image: Image, source: Grid, target: Grid) -> Image:
    """Interpolate linearly from one grid to another."""
    return Upsampled(image, source, target)[:]


def smooth_noise(grid: Grid, wavelength_mm: float, rng: np.random.Generator) -> Image:
    """A random field (z, y, x) of mean 0 and SD 1 whose bumps are about `wavelength_mm` apart; for coarse grids."""
    extent = np.array(grid.shape_zyx) * np.array(grid.spacing_zyx_mm)
    knots = np.maximum(np.ceil(extent / (wavelength_mm / 2)).astype(int) + 3, 4)
    coarse = rng.standard_normal(tuple(knots), dtype=np.float32)
    along = [
        spline_weights(np.linspace(0, n - 1, k), np.arange(n, dtype=np.float64))
        for n, k in zip(grid.shape_zyx, knots, strict=True)
    ]
    field = apply_separable(coarse, (along[0], along[1], along[2]))
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-6), dtype=np.float32)
