"""The thorax as signed distances: body, lungs, mediastinum, heart, diaphragm, from one seed."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import ndimage

from workers.phantom.grid import Grid, Image, smooth_noise

RIGHT, LEFT = 1, 2


class Lobe(StrEnum):
    """Of a lung; the fissures part them."""

    RIGHT_UPPER = "right upper"
    RIGHT_MIDDLE = "right middle"
    RIGHT_LOWER = "right lower"
    LEFT_UPPER = "left upper"
    LEFT_LOWER = "left lower"


@dataclass(frozen=True)
class Build:
    """The proportions of one body, mm; z = 0 at the top of the right diaphragm."""

    half_width: float
    half_depth: float
    height: float
    """From the top of the diaphragm to the apex of the lung."""
    wall: float
    """Thickness of the chest wall, muscle and fat."""
    fat: float
    heart: float
    """Scale of the heart, 1 is usual."""
    mediastinum: float
    """Half width of the mediastinum."""
    dome: float
    """How far the diaphragm falls from its top to the costophrenic angle."""
    contrast_hu: float
    """Blood: 40 without contrast, up to 250 with."""
    seed: int

    @classmethod
    def random(cls, seed: int) -> "Build":
        """The body that belongs to a seed."""
        rng = np.random.default_rng([seed, 1])
        return cls(
            half_width=rng.uniform(118, 150),
            half_depth=rng.uniform(78, 105),
            height=rng.uniform(185, 245),
            wall=rng.uniform(16, 38),
            fat=rng.uniform(4, 18),
            heart=rng.uniform(0.85, 1.2),
            mediastinum=rng.uniform(24, 36),
            dome=rng.uniform(45, 75),
            contrast_hu=float(rng.choice([rng.uniform(35, 55), rng.uniform(90, 250)])),
            seed=seed,
        )

    @property
    def spine_y(self) -> float:
        """y of the middle of the vertebral bodies."""
        return 0.72 * self.half_depth

    @property
    def body_y(self) -> float:
        """y of the middle of the body: the chest wall is thicker behind."""
        return 9.0

    @property
    def carina_zyx(self) -> tuple[float, float, float]:
        return 0.58 * self.height, 0.22 * self.half_depth, 0.0

    def hilum_zyx(self, side: int) -> tuple[float, float, float]:
        """Where the vessels enter a lung."""
        sign = -1 if side == RIGHT else 1
        drop = 0.5 if side == RIGHT else 0.53
        return drop * self.height, 0.15 * self.half_depth, sign * (self.mediastinum + 10)

    @property
    def body_half_axes(self) -> tuple[float, float]:
        """Half width, at the shoulders, and half depth of the body."""
        return self.half_width + self.wall + 25, self.half_depth + 0.9 * self.wall + 12

    def cavity_half_axes(self, z_mm: Image) -> tuple[Image, Image]:
        """Half width and half depth of the chest cavity at a height."""
        high = np.clip((z_mm / self.height - 0.3) / 0.72, 0, 0.999)
        taper = np.sqrt(1 - high**2.4)
        return (
            self.half_width * np.maximum(taper, 0.05),
            self.half_depth * np.maximum(0.25 + 0.75 * taper, 0.05),
        )


@dataclass(frozen=True)
class Fields:
    """Signed distances on a coarse grid, mm, positive inside; each (z, y, x)."""

    body: Image
    cavity: Image
    right: Image
    left: Image
    heart: Image
    belly: Image
    oblique: Image
    """Above the oblique fissure of either lung."""
    horizontal: Image
    """Above the horizontal fissure of the right lung; it means something above the oblique one alone."""
    fissure_mm: Image
    """Thickness of the fissures; 0 where they are incomplete."""
    fat: Image
    """Smooth noise: where it is above zero the mediastinum and the wall are fat rather than muscle."""

    @property
    def lungs(self) -> Image:
        return np.maximum(self.right, self.left)

    def lobe(self, at_zyx: Image) -> Lobe:
        """The lobe of a place, an index of the grid; outside the lungs that of the nearer one."""
        right, left, oblique, horizontal = (
            float(ndimage.map_coordinates(field, np.asarray(at_zyx)[:, None], order=1, mode="nearest")[0])
            for field in (self.right, self.left, self.oblique, self.horizontal)
        )
        if left > right:
            return Lobe.LEFT_UPPER if oblique > 0 else Lobe.LEFT_LOWER
        if oblique <= 0:
            return Lobe.RIGHT_LOWER
        return Lobe.RIGHT_UPPER if horizontal > 0 else Lobe.RIGHT_MIDDLE


def smooth_min(a: Image, b: Image, rounding_mm: float) -> Image:
    """Intersection of two signed distances with the edge between them rounded."""
    blend = np.clip(0.5 + 0.5 * (b - a) / rounding_mm, 0, 1)
    return np.asarray(b * (1 - blend) + a * blend - rounding_mm * blend * (1 - blend))


def smooth_max(a: Image, b: Image, rounding_mm: float) -> Image:
    """Union of two signed distances with the edge between them rounded."""
    return -smooth_min(-a, -b, rounding_mm)


def superellipse(x: Image, y: Image, half_x: Image, half_y: Image, power: float = 2.3) -> Image:
    """About the distance to the rim of a rounded box, mm, positive inside."""
    radius = (np.abs(x / half_x) ** power + np.abs(y / half_y) ** power) ** (1 / power)
    return np.asarray((1 - radius) * np.minimum(half_x, half_y))


def ellipsoid(at: tuple[Image, Image, Image], center: tuple[float, ...], radii: tuple[float, ...]) -> Image:
    """About the distance to an ellipsoid's surface, mm, positive inside."""
    squares = [((p - c) / r) ** 2 for p, c, r in zip(at, center, radii, strict=True)]
    return np.asarray((1 - np.sqrt(squares[0] + squares[1] + squares[2])) * min(radii))


def anatomy(build: Build, grid: Grid) -> Fields:
    """The organs of one body on a coarse grid."""
    rng = np.random.default_rng([build.seed, 2])
    z, y, x = (
        axis + amplitude * smooth_noise(grid, 80, rng) + 0.7 * smooth_noise(grid, 24, rng)
        for axis, amplitude in zip(grid.mesh_mm(), (5.0, 4.0, 4.0), strict=True)
    )
    half_x, half_y = build.cavity_half_axes(z)
    cavity = np.minimum(superellipse(x, y, half_x, half_y), build.height - z)
    heart = _heart(build, (z, y, x))
    core = smooth_max(_mediastinum(build, (z, y, x)), heart, 10)
    sides = [_lung(build, (z, y, x), smooth_min(cavity, -core, 6), side) for side in (RIGHT, LEFT)]
    return Fields(
        body=_body(build, grid),
        cavity=cavity,
        right=sides[0],
        left=sides[1],
        heart=heart,
        belly=smooth_min(cavity, _below_diaphragm(build, (z, y, x)), 4),
        oblique=(z - 0.36 * build.height - 0.9 * y + 0.002 * (np.abs(x) - 60) ** 2) / 1.35,
        horizontal=z - 0.38 * build.height + 0.1 * y + 0 * x,
        fissure_mm=_fissure_mm(build, grid),
        fat=smooth_noise(grid, 26, rng) + 0.7 * smooth_noise(grid, 11, rng),
    )


def _body(build: Build, grid: Grid) -> Image:
    z, y, x = grid.mesh_mm()
    shoulder = np.clip((z / build.height - 0.62) / 0.4, 0, 1)
    half_x, half_y = build.body_half_axes
    return superellipse(x, y - build.body_y, half_x - 25 * (1 - shoulder), half_y + 0 * shoulder, 2.6)


def _heart(build: Build, at: tuple[Image, Image, Image]) -> Image:
    s, d = build.heart, build.half_depth
    ventricles = ellipsoid(at, (38 * s - 8, -0.28 * d, 26 * s), (50 * s, 0.48 * d, 50 * s))
    atria = ellipsoid(at, (0.28 * build.height, 0.12 * d, 0.0), (34 * s, 0.36 * d, 44 * s))
    return smooth_max(ventricles, atria, 12)


def _mediastinum(build: Build, at: tuple[Image, Image, Image]) -> Image:
    z, y, x = at
    d, m = build.half_depth, build.mediastinum
    width = m * (1.0 - 0.35 * np.clip(z / build.height - 0.75, 0, 1))
    column = superellipse(x, y - 0.18 * d, width + 0 * y, 0.62 * d + 0 * y, 2.2)
    spine = 22 - np.sqrt((x) ** 2 + (y - build.spine_y - 4) ** 2)
    sheet = 2.5 - np.abs(x + 3)
    aorta = 13 - np.hypot(x - 24, y - 0.62 * d) - 0 * z
    hila = [
        ellipsoid(at, build.hilum_zyx(side), (22.0, 13.0, 12.0 if side == LEFT else 14.0)) for side in (RIGHT, LEFT)
    ]
    solid = smooth_max(smooth_max(column, spine, 6), np.where(z < 0.72 * build.height, aorta, -20), 6)
    return smooth_max(np.maximum(solid, sheet), np.maximum(*hila), 8)


def _dome_mm(build: Build, at: tuple[Image, Image, Image], side: int) -> Image:
    """Height of the diaphragm over each point."""
    _, y, x = at
    sign, top = (-1, 0.0) if side == RIGHT else (1, -14.0)
    across = (x - sign * 0.48 * build.half_width) / (0.5 * build.half_width)
    along = (y + 0.1 * build.half_depth) / (0.9 * build.half_depth)
    fall = 0.55 * across**2 + 0.75 * np.maximum(along, 0) ** 2 + 0.35 * np.minimum(along, 0) ** 2
    return np.asarray(top - build.dome * fall)


def _lung(build: Build, at: tuple[Image, Image, Image], hollow: Image, side: int) -> Image:
    sign = -1 if side == RIGHT else 1
    above = (at[0] - _dome_mm(build, at, side)) * 0.75
    return np.minimum(smooth_min(hollow, above, 5), sign * (at[2] + 3))


def _below_diaphragm(build: Build, at: tuple[Image, Image, Image]) -> Image:
    dome = np.where(at[2] < -3, _dome_mm(build, at, RIGHT), _dome_mm(build, at, LEFT))
    return (dome - at[0]) * 0.75


def _fissure_mm(build: Build, grid: Grid) -> Image:
    """Thin as a rule, thicker in patches, incomplete in most bodies."""
    rng = np.random.default_rng([build.seed, 12])
    usual = float(np.exp(rng.uniform(np.log(0.2), np.log(0.9))))
    uneven = np.exp(rng.uniform(0.1, 0.5) * smooth_noise(grid, 30, rng))
    there = np.clip((smooth_noise(grid, 70, rng) + rng.uniform(0.3, 2.0)) * 4, 0, 1)
    return np.asarray(usual * uneven * there, dtype=np.float32)
