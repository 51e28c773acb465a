"""Trains NodeNet: patches in, heat, offset and diameter out; centres new patches where it fires on nothing."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from workers.detect import find_peaks
from workers.networks.blocks import scaled_hu
from workers.networks.nodenet import NodeNet, NodeNetConfig
from workers.networks.patches import Line, sample
from workers.phantom.grid import blur
from workers.training.backgrounds import Background
from workers.training.compose import Bank, compose
from workers.training.loop import Run, Training
from workers.training.progress import Report
from workers.training.targets import COARSE, FINE, maps

EDGE = 96
"""Voxels of a training patch."""
CONFIG = NodeNetConfig(widths=(16, 32, 64, 96))
HARD_EVERY = 4
"""Epochs between searches for false positives."""
HARD_FROM = 0.15
"""Progress before which the network fires on everything and there is nothing to learn from that."""
HARD_SCORE = 0.08


@dataclass(frozen=True)
class Patches(Dataset[tuple[Tensor, ...]]):
    """Sample i of an epoch depends on seed, epoch, i and the bank alone."""

    bank: Bank
    seed: int
    epoch: int
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        torch.set_num_threads(1)
        rng = np.random.default_rng([self.seed, self.epoch, index])
        patch = compose(self.bank, EDGE, CONFIG.spacing_mm, rng)
        parts = [part for scale in (FINE, COARSE) for part in maps(patch, scale)]
        return (scaled_hu(torch.from_numpy(patch.hu))[None], *(torch.from_numpy(part) for part in parts))


def loss(network: nn.Module, batch: list[Tensor]) -> dict[str, Tensor]:
    """Focal loss on heat (CenterNet, alpha 2, beta 4), smooth L1 on offset and log diameter, both scales."""
    volume, *targets = batch
    outputs = network(volume.contiguous(memory_format=torch.channels_last_3d))
    losses = {}
    for name, output, target, weight in zip(("fine", "coarse"), outputs, targets[0::2], targets[1::2], strict=True):
        out = output.float()
        losses[name] = _focal(out[:, 0], target[:, 0], weight) * (1.0 if name == "fine" else 0.5)
        counts = target[:, 5]
        gap = functional.smooth_l1_loss(out[:, 1:], target[:, 1:5], beta=0.2, reduction="none")
        scale = torch.tensor([0.5, 0.5, 0.5, 1.0], device=out.device)[None, :, None, None, None]
        losses[f"{name}-box"] = (gap * scale * counts[:, None]).sum() / counts.sum().clamp(min=1)
    return losses


def _focal(logit: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    score = torch.sigmoid(logit)
    peak = target > 0.999
    hit = -functional.logsigmoid(logit) * (1 - score) ** 2
    miss = -functional.logsigmoid(-logit) * score**2 * (1 - target) ** 4
    return (torch.where(peak, hit, miss) * weight).sum() / peak.sum().clamp(min=2)


def train_detector(bank: Bank, run: Run, report: Report) -> NodeNet:
    """Train, from the last checkpoint where there is one, and return the averaged network."""
    torch.manual_seed(run.seed)
    training = Training(NodeNet(CONFIG), run, "detector")
    hard = _read_hard(run.out)
    while training.progress < 1:
        number = training.step // run.epoch
        if training.progress > HARD_FROM and number % HARD_EVERY == 0:
            hard = _search(training, bank, report)
            np.savez(run.out / "hard.npz", **cast(dict[str, Any], hard))
        patches = Patches(replace(bank, hard=hard), run.seed, number, run.epoch * run.batch)
        training.epoch(patches, loss, report)
    network = training.averaged()
    assert isinstance(network, NodeNet)
    return network


def _read_hard(out: Path) -> dict[str, NDArray[np.int16]]:
    if not (out / "hard.npz").is_file():
        return {}
    with np.load(out / "hard.npz") as file:
        return {key: file[key] for key in file.files}


def _search(training: Training, bank: Bank, report: Report) -> dict[str, NDArray[np.int16]]:
    """Where the averaged network fires on backgrounds without nodules."""
    network: Any = training.averaged()
    hard = {}
    for background in [*bank.lungs, *bank.phantoms[training.step // training.run.epoch % 4 :: 4]]:
        peaks = [peak for peak in peaks_on(network, background) if peak[3] >= HARD_SCORE]
        hard[background.name] = np.array([peak[:3] for peak in peaks[:150]], np.int16).reshape(-1, 3)
    training.resume()
    real = [len(hard[one.name]) for one in bank.lungs]
    report(f"false positives on real lungs {real}, on phantoms {sum(map(len, hard.values())) - sum(real)}")
    return hard


def peaks_on(network: NodeNet, background: Background) -> NDArray[np.float64]:
    """Peaks (n, 5) on a background inside its usable lung, best first: z, y, x at 1 mm, score, diameter in mm."""
    spacing = network.config.spacing_mm
    z, y, x = (Line(0.0, spacing, int(n / spacing) // 16 * 16) for n in background.hu.shape)
    hu = sample(background.hu, (z, y, x))
    if background.sharp:
        hu = torch.from_numpy(blur(hu.numpy(), (0.4, 0.5, 0.5)))
        hu = hu + 15 * torch.randn(hu.shape, generator=torch.Generator().manual_seed(0))
    found = [(*(c * spacing for c in p.center_zyx), p.score, p.diameter_mm) for p in find_peaks(network, hu, 0.02)]
    peaks = np.array(found).reshape(-1, 5)
    return peaks[in_usable_lung(background, peaks[:, :3])]


def in_usable_lung(background: Background, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether points (n, 3), voxels of the background, lie within 4 mm of its lung points."""
    cells = np.zeros(np.array(background.hu.shape) // 4 + 2, bool)
    cells[tuple((background.points // 4).T)] = True
    index = np.clip(points // 4, 0, np.array(cells.shape) - 1).astype(int)
    return np.asarray(cells[tuple(index.T)])
