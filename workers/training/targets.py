"""Patches to what NodeNet shall say about them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.networks.nodenet import COARSE_STRIDE, FINE_STRIDE, REFERENCE_DIAMETER_MM
from workers.training.patch import Ball, Patch

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Scale:
    """Which nodules one of the two maps answers for."""

    stride: int
    smallest_mm: float
    largest_mm: float
    sigma_mm: float
    """Width of the peak, at least; wide nodules get d / 5."""
    near_mm: float
    """Cells within this, or 0.22 d, tell offset and diameter."""


FINE = Scale(FINE_STRIDE, 3.0, 32.0, 2.5, 4.4)
COARSE = Scale(COARSE_STRIDE, 22.0, 120.0, 6.0, 9.0)


def maps(patch: Patch, scale: Scale) -> tuple[Image, Image]:
    """Targets (6, z, y, x): heat, offset z y x in cells, log diameter, 1 where the last four count; and weights.

    Weights (z, y, x) are 0 where heat is not judged: unknown background, nodules of the other scale, hidden ones.
    """
    cells = tuple(n // scale.stride for n in patch.hu.shape)
    target = np.zeros((6, *cells), np.float32)
    weight = _known(patch.unknown, scale.stride)
    for ball in patch.balls:
        center = (np.array(ball.center_zyx) - (scale.stride - 1) / 2) / scale.stride
        offsets = [c - np.arange(n, dtype=np.float32) for c, n in zip(center, cells, strict=True)]
        cell_mm = scale.stride * patch.spacing_mm
        squares = [(o * cell_mm) ** 2 for o in offsets]
        distance = np.sqrt(squares[0][:, None, None] + squares[1][None, :, None] + squares[2][None, None, :])
        if ball.visible and scale.smallest_mm <= ball.diameter_mm <= scale.largest_mm:
            _draw(target, weight, ball, (offsets, distance), scale)
        else:
            weight[distance < max(0.5 * ball.diameter_mm, scale.near_mm)] = 0
    weight[target[0] > 0.99] = 1
    return target, weight


def _known(unknown: NDArray[np.bool_], stride: int) -> Image:
    """A cell counts where at least half of it is known."""
    z, y, x = (n // stride for n in unknown.shape)
    return (unknown.reshape(z, stride, y, stride, x, stride).mean(axis=(1, 3, 5)) < 0.5).astype(np.float32)


def _draw(target: Image, weight: Image, ball: Ball, where: tuple[list[Image], Image], scale: Scale) -> None:
    offsets, distance = where
    sigma = max(scale.sigma_mm, ball.diameter_mm / 5)
    np.maximum(target[0], np.exp(-0.5 * (distance / sigma) ** 2), out=target[0])
    peak = np.unravel_index(int(distance.argmin()), distance.shape)
    target[0][peak] = 1.0
    near = distance < max(scale.near_mm, 0.22 * ball.diameter_mm)
    near[peak] = True
    for axis, offset in enumerate(offsets):
        shape = [1, 1, 1]
        shape[axis] = -1
        target[1 + axis][near] = np.broadcast_to(offset.reshape(shape), distance.shape)[near]
    target[4][near] = np.log(ball.diameter_mm / REFERENCE_DIAMETER_MM)
    target[5][near] = 1.0
    weight[near] = 1.0
