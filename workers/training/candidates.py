"""What the classifier learns from: places where the detector fires, right and wrong, and slices of real nodules."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.utils.data import DataLoader, Dataset

from workers.detect import Peak, find_peaks
from workers.networks.classifier import ClassifierConfig
from workers.networks.nodenet import NodeNet
from workers.networks.patches import Line, Lines, sample
from workers.training.compose import Bank, compose
from workers.training.crowded import peaks_in
from workers.training.patch import Ball, Patch
from workers.training.real import RealNodule
from workers.training.targets import FINE
from workers.training.window import window

EDGE = 120
"""Voxels of a composed patch at 1 mm."""
MARGIN = 3
"""Voxels kept around the classifier's patch, for jitter."""
RIM = 12
"""Pixels at the rim of a real nodule's slices where nothing is taken from."""
FROM_ONE_PATCH = 6
OTHERS = 4
"""Most false candidates around one real nodule."""
LEAST_SCORE = 0.03
UNKNOWN_TYPE = -1


@dataclass(frozen=True)
class Sample:
    """One candidate."""

    hu: NDArray[np.int16]
    """(z, y, x), the classifier's patch and a margin."""
    seen: NDArray[np.int16]
    """(3, 2): first and last + 1 voxel inside the scan along z, y, x."""
    nodule: bool
    type: int
    """Index in the classifier's types, or -1."""
    diameter_mm: float
    detector_logit: float


@dataclass(frozen=True)
class Mined(Dataset[list[Sample]]):
    """Candidate i of a pool depends on seed, i, the bank and the detector alone."""

    bank: Bank
    network: NodeNet
    config: ClassifierConfig
    seed: int
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> list[Sample]:
        torch.set_num_threads(1)
        rng = np.random.default_rng([self.seed, index, 3])
        if index % 3 == 2 and self.bank.nodules:
            nodule = self.bank.nodules[int(rng.integers(len(self.bank.nodules)))]
            return from_slices(nodule, self.network, self.config, rng)
        return from_patch(compose(self.bank, EDGE, 1.0, rng), self.network, self.config, rng)


def mine(samples: Mined, workers: int, report: Callable[[int], None]) -> Iterator[Sample]:
    """All candidates of a pool, in order."""
    loader = DataLoader(samples, batch_size=None, num_workers=workers, collate_fn=_as_it_is)
    for number, found in enumerate(loader):
        yield from found
        if number % 200 == 199:
            report(number + 1)


def _as_it_is(found: list[Sample]) -> list[Sample]:
    return found


def from_patch(patch: Patch, network: NodeNet, config: ClassifierConfig, rng: np.random.Generator) -> list[Sample]:
    """The detector's best peaks in a patch, and its nodules wherever it found nothing."""
    step = network.config.spacing_mm / patch.spacing_mm
    line = Line(0.0, step, int(patch.hu.shape[0] / step) // 16 * 16)
    peaks = find_peaks(network, sample(patch.hu, (line, line, line)), LEAST_SCORE)
    samples: list[Sample] = []
    missed = [ball for ball in patch.balls if ball.visible and FINE.smallest_mm <= ball.diameter_mm <= 90]
    for peak in peaks[: 3 * FROM_ONE_PATCH]:
        at = np.array(peak.center_zyx) * step
        hit = _label(patch, at)
        if hit is not None and len(samples) < FROM_ONE_PATCH:
            missed = [ball for ball in missed if ball is not hit]
            kind = hit.type if isinstance(hit, Ball) else ""
            samples.append(_cut(patch, at, peak, kind, config))
    for ball in missed:
        at = np.array(ball.center_zyx) + rng.normal(0, 0.1, 3) * ball.diameter_mm / patch.spacing_mm
        guessed = Peak(ball.center_zyx, ball.diameter_mm * float(np.exp(rng.normal(0, 0.2))), LEAST_SCORE)
        samples.append(_cut(patch, at, guessed, ball.type, config))
    return samples


def _label(patch: Patch, at: NDArray[np.float64]) -> Ball | bool | None:
    """The nodule that a place lies on; False for none; None where that cannot be told."""
    for ball in patch.balls:
        distance = float(np.linalg.norm(at - ball.center_zyx)) * patch.spacing_mm
        if distance <= max(ball.diameter_mm / 2, 2.5):
            return ball if ball.visible and ball.diameter_mm >= FINE.smallest_mm else None
        if distance < ball.diameter_mm / 2 + 6:
            return None
    index = np.rint(at).astype(int)
    inside = ((index >= 4) & (index < np.array(patch.hu.shape) - 4)).all()
    return False if inside and not patch.unknown[tuple(index)] else None


def _cut(patch: Patch, at: NDArray[np.float64], peak: Peak, kind: str, config: ClassifierConfig) -> Sample:
    spacing = config.spacing_mm(peak.diameter_mm) / patch.spacing_mm
    z, y, x = (Line.around(float(c), spacing, config.patch + 2 * MARGIN) for c in at)
    return _sample(patch.hu, (z, y, x), kind, peak.diameter_mm, config, _logit(peak.score))


def _logit(score: float) -> float:
    return float(np.log(score / (1 - score)))


def _sample(
    hu: NDArray[np.float32], lines: Lines, kind: str, diameter_mm: float, config: ClassifierConfig, logit: float
) -> Sample:
    seen = []
    for line, size in zip(lines, hu.shape, strict=True):
        inside = np.flatnonzero(np.abs(line.start + line.step * np.arange(line.count) - (size - 1) / 2) < size / 2)
        seen.append((inside[0], inside[-1] + 1) if len(inside) else (0, 0))
    values = np.clip(np.rint(sample(hu, lines).numpy()), -1024, 2000).astype(np.int16)
    types = config.types.index(kind) if kind in config.types else UNKNOWN_TYPE
    return Sample(values, np.array(seen, np.int16), bool(kind), types, diameter_mm, logit)


def from_slices(
    nodule: RealNodule, network: NodeNet, config: ClassifierConfig, rng: np.random.Generator
) -> list[Sample]:
    """A real nodule in its own slices, and what else the detector fires on there, all cut off alike.

    Where it fires on little else, bright spots take its place: vessels, most of all.
    """
    chest = window(nodule, rng)
    spacing = np.array(nodule.spacing_zyx_mm)
    origin = np.array(chest.truths[0].center_lps_mm[::-1]) - nodule.center_zyx * spacing
    free = _away(nodule)
    guessed = nodule.diameter_mm * float(np.exp(rng.normal(0, 0.15)))
    found, others = Peak(_triple(nodule.center_zyx), guessed, LEAST_SCORE), []
    for z, y, x, diameter, score in reversed(peaks_in(network, chest)):  # best last: it is the one that is kept
        at = (np.array([z, y, x]) - origin) / spacing
        peak = Peak(_triple(at), diameter, score)
        if np.linalg.norm((at - nodule.center_zyx) * spacing) <= nodule.diameter_mm / 2:
            found = peak
        elif score >= LEAST_SCORE and free[tuple(np.clip(np.rint(at).astype(int), 0, np.array(free.shape) - 1))]:
            others.append(peak)
    others = others[-OTHERS:] or [
        Peak(_triple(at), float(rng.uniform(4, 12)), LEAST_SCORE) for at in _blobs(nodule, rng)
    ]
    return [
        _cut_slices(nodule, peak, kind, config) for peak, kind in [(found, nodule.type), *((o, "") for o in others)]
    ]


def _triple(at: NDArray[np.float64]) -> tuple[float, float, float]:
    z, y, x = at.tolist()
    return z, y, x


def _cut_slices(nodule: RealNodule, peak: Peak, kind: str, config: ClassifierConfig) -> Sample:
    steps = config.spacing_mm(peak.diameter_mm) / np.array(nodule.spacing_zyx_mm)
    z, y, x = (Line.around(c, float(s), config.patch + 2 * MARGIN) for c, s in zip(peak.center_zyx, steps, strict=True))
    return _sample(nodule.hu.astype(np.float32), (z, y, x), kind, peak.diameter_mm, config, _logit(peak.score))


def _away(nodule: RealNodule) -> NDArray[np.bool_]:
    """Voxels (z, y, x) that are no part of the nodule for any reader and lie well inside the slices."""
    inner = np.zeros(nodule.hu.shape, bool)
    inner[:, RIM:-RIM, RIM:-RIM] = True
    far: NDArray[np.bool_] = ndimage.distance_transform_edt(~nodule.touched, nodule.spacing_zyx_mm) > 8
    return far & inner


def _blobs(nodule: RealNodule, rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Up to three bright spots in the lung away from the nodule: vessels, most of all."""
    spacing = np.array(nodule.spacing_zyx_mm)
    hu = nodule.hu.astype(np.float32)
    small = ndimage.gaussian_filter(hu, 1.3 / spacing, mode="nearest")
    around = ndimage.gaussian_filter(hu, 6.0 / spacing, mode="nearest")
    size = np.maximum(np.rint(6.0 / spacing).astype(int), 1)
    peak = (small == ndimage.maximum_filter(small, size)) & (small > -600) & (around < -550) & (small - around > 150)
    found = np.argwhere(peak & _away(nodule)).astype(np.float64)
    return [found[k] for k in rng.permutation(len(found))[:3]]


def store(samples: Iterator[Sample], path: Path) -> None:
    """Keep a pool on disk as one .npz."""
    every = list(samples)
    np.savez(
        path,
        hu=np.stack([one.hu for one in every]),
        seen=np.stack([one.seen for one in every]),
        nodule=np.array([one.nodule for one in every]),
        type=np.array([one.type for one in every], np.int8),
        diameter_mm=np.array([one.diameter_mm for one in every], np.float32),
        detector_logit=np.array([one.detector_logit for one in every], np.float32),
    )
