"""Held-out chests with many held-out nodules: what models are measured on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from workers.detect import find_peaks
from workers.evaluation.matching import Truth
from workers.networks.nodenet import NodeNet
from workers.networks.patches import Line, sample
from workers.phantom.grid import blur
from workers.phantom.nodules import Attachment
from workers.training.backgrounds import Background
from workers.training.compose import attached
from workers.training.insert import insert_real
from workers.training.patch import Patch, Plan
from workers.training.real import RealNodule

IN_ONE_CHEST = 8
MARGIN = 15
NOISE_HU = 15.0
LEAST_SCORE = 0.01
"""Of a detector's peak."""


@dataclass(frozen=True)
class Chest:
    """A chest on a 1 mm grid with nodules of known place."""

    hu: NDArray[np.float32]
    """(z, y, x)"""
    usable: NDArray[np.bool_]
    """(z, y, x) at a quarter of the resolution: lung that findings count in."""
    truths: tuple[Truth, ...]
    """Centres as x, y, z in voxels, which are mm."""
    nodules: tuple[RealNodule, ...]
    """The nodule of each truth."""

    def counts(self, at_zyx: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether places (n, 3) lie in usable lung."""
        index = np.clip(at_zyx // 4, 0, np.array(self.usable.shape) - 1).astype(int)
        return np.asarray(self.usable[tuple(index.T)])


def crowded(nodules: Sequence[RealNodule], background: Background, seed: int) -> Iterator[Chest]:
    """All nodules, a few at a time, in copies of one background."""
    rng = np.random.default_rng([seed, 11])
    low = np.maximum(background.points.min(axis=0) - MARGIN, 0)
    high = np.minimum(background.points.max(axis=0) + MARGIN, background.hu.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    sharp = background.hu[box].astype(np.float32)
    hu = blur(sharp, (0.5, 0.6, 0.6)) if background.sharp else sharp
    points = background.points - low
    usable = _around(points, hu.shape)
    waiting = list(nodules)
    while waiting:
        patch = Patch(hu.copy(), 1.0, [], np.zeros((1, 1, 1), bool), np.zeros_like(hu))
        placed = _fill(patch, waiting[:IN_ONE_CHEST], points, background.depth_mm, rng)
        waiting = waiting[IN_ONE_CHEST:]
        if background.sharp:
            grain = blur(rng.standard_normal(hu.shape, dtype=np.float32), (0.0, 0.5, 0.5))
            patch.hu += grain * np.float32(NOISE_HU / grain.std())
        truths = tuple(
            Truth((b.center_zyx[2], b.center_zyx[1], b.center_zyx[0]), b.diameter_mm, b.visible) for b in patch.balls
        )
        yield Chest(patch.hu, usable, truths, tuple(placed))


def _around(points: NDArray[np.int16], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Cells of 4 mm that hold a point or touch one that does: points are a sample, and cells at the rim miss theirs."""
    cells = np.zeros(np.array(shape) // 4 + 1, bool)
    cells[tuple((points // 4).T)] = True
    return np.asarray(ndimage.binary_dilation(cells, np.ones((3, 3, 3), bool)))


def _fill(
    patch: Patch,
    nodules: Sequence[RealNodule],
    points: NDArray[np.int16],
    depth_mm: NDArray[np.float32],
    rng: np.random.Generator,
) -> list[RealNodule]:
    """Put nodules in, far from each other; returns them in the order of the patch's balls."""
    taken: list[NDArray[np.float64]] = []
    placed = []
    for nodule in nodules:
        attachment: Attachment = "pleura" if attached(nodule) else "isolated"
        near = depth_mm < 0.3 * nodule.diameter_mm + 1
        suited = np.flatnonzero(near if attachment == "pleura" else depth_mm > 0.5 * nodule.diameter_mm + 1)
        for _ in range(200):
            center = points[suited[rng.integers(len(suited))]].astype(np.float64)
            if all(np.linalg.norm(center - other) > 30 for other in taken):
                before = len(patch.balls)
                insert_real(patch, Plan(center, nodule.diameter_mm, attachment, nodule, False), rng)
                taken.append(center)
                placed.extend([nodule] * (len(patch.balls) - before))
                break
    return placed


def peaks_in(network: NodeNet, chest: Chest) -> list[tuple[float, float, float, float, float]]:
    """Peaks in usable lung, best first: z, y, x in voxels of the chest, diameter in mm, score."""
    step = network.config.spacing_mm
    z, y, x = (Line(0.0, step, int(np.ceil(n / step / 16)) * 16) for n in chest.hu.shape)
    with torch.inference_mode():
        peaks = find_peaks(network, sample(chest.hu, (z, y, x)), LEAST_SCORE)
    rows = [(*(c * step for c in peak.center_zyx), peak.diameter_mm, peak.score) for peak in peaks]
    counts = chest.counts(np.array([row[:3] for row in rows]).reshape(-1, 3))
    return [(row[0], row[1], row[2], row[3], row[4]) for row, ok in zip(rows, counts, strict=True) if ok]
