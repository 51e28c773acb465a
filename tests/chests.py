"""A chest of ellipsoids whose lungs are known exactly: small, quick and easy to spoil in one way at a time."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tests.builders import as_volume
from workers.volume import Volume

Xyz = tuple[float, float, float]
SPACING = (3.0, 2.0, 2.0)
SHAPE = (96, 160, 192)
ORIGIN: Xyz = (-192.0, -160.0, -150.0)
RIGHT_CENTER: Xyz = (-72.0, 0.0, 0.0)
LEFT_CENTER: Xyz = (72.0, 0.0, 0.0)
LUNG_RADII: Xyz = (58.0, 80.0, 110.0)


@dataclass(frozen=True)
class Ball:
    """Something dense or airy at a place, LPS mm."""

    center_lps_mm: Xyz
    radius_mm: float
    hu: float = 40.0


@dataclass(frozen=True)
class Chest:
    """What is in the chest; every default is a healthy one in room air on a table."""

    gap_mm: float = 0.0
    """How far the lungs are moved toward each other; 16 lets them touch in front."""
    balls: tuple[Ball, ...] = ()
    trachea: bool = True
    table: bool = True
    bronchi: bool = False
    """Join the windpipe to both lungs, as two main bronchi do."""
    mattress: bool = False
    """Foam as dense as lung under the body."""
    left: bool = True
    lung_hu: float = -850.0
    noise_hu: float = 0.0


@cache
def chest(what: Chest | None = None) -> tuple[Volume, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the volume, and the right and left lung as boolean grids of its shape."""
    what = what or Chest()
    z, y, x = (
        (np.arange(size) * step + start).reshape([-1 if axis == own else 1 for axis in range(3)])
        for own, (size, step, start) in enumerate(zip(SHAPE, SPACING, ORIGIN[::-1], strict=True))
    )
    hu = np.full(SHAPE, -1000.0)
    hu[np.broadcast_to((x / 165) ** 2 + (y / 115) ** 2 <= 1, SHAPE)] = 40
    if what.table:
        hu[:, round((125 + 160) / SPACING[1]) : round((133 + 160) / SPACING[1])] = -150
    right, left = (
        ((x - sign * (abs(RIGHT_CENTER[0]) - what.gap_mm)) / LUNG_RADII[0]) ** 2
        + (y / LUNG_RADII[1]) ** 2
        + (z / LUNG_RADII[2]) ** 2
        <= 1
        for sign in (-1, 1)
    )
    left &= what.left
    hu[right | left] = what.lung_hu
    if what.trachea:
        hu[np.broadcast_to((x**2 + (y - 20) ** 2 <= 64) & (z > 20), SHAPE)] = -1000
    if what.bronchi:
        hu[np.broadcast_to(((y - 20) ** 2 + (z - 24) ** 2 <= 36) & (np.abs(x) < 30), SHAPE)] = -1000
    if what.mattress:
        under = np.broadcast_to((y > 30) & (y < 150), SHAPE) & (hu < -990) & (np.abs(x) < 150)
        hu[under & ~right & ~left & np.broadcast_to((x / 165) ** 2 + (y / 115) ** 2 > 1, SHAPE)] = -880
    for ball in what.balls:
        bx, by, bz = ball.center_lps_mm
        hu[(x - bx) ** 2 + (y - by) ** 2 + (z - bz) ** 2 <= ball.radius_mm**2] = ball.hu
    if what.noise_hu:
        hu += np.random.default_rng(5).normal(0, what.noise_hu, SHAPE)
    return as_volume(np.rint(np.clip(hu, -1024, None)).astype(np.int16), SPACING, ORIGIN), right, left
