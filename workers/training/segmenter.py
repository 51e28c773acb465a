"""Trains the Segmenter: one nodule at the centre of a patch, its mask out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from workers.networks.blocks import scaled_hu
from workers.networks.patches import Line
from workers.networks.segmenter import Segmenter, SegmenterConfig
from workers.phantom.nodules import Attachment
from workers.training.backgrounds import Background
from workers.training.compose import Bank, attached, choose_background, fill
from workers.training.loop import Run, Training
from workers.training.patch import Patch, Plan
from workers.training.progress import Report
from workers.training.real import RealNodule

CONFIG = SegmenterConfig()
DRAWN = 0.25
"""Share of drawn nodules; the rest is real."""
CONTEXT = 0.7
"""Share of real nodules that bring their own vessels and pleura along."""
LARGE = 0.15
"""Share of nodules zoomed to a mass."""


@dataclass(frozen=True)
class Masks(Dataset[tuple[Tensor, Tensor]]):
    """Sample i of an epoch depends on seed, epoch, i and the bank alone."""

    bank: Bank
    seed: int
    epoch: int
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        torch.set_num_threads(1)
        rng = np.random.default_rng([self.seed, self.epoch, index, 2])
        patch = one_nodule(self.bank, rng)
        while not (patch.balls and patch.balls[0].visible and (patch.share > 0.5).any()):
            patch = one_nodule(self.bank, rng)
        mask = torch.from_numpy((patch.share > 0.5).astype(np.float32))
        return scaled_hu(torch.from_numpy(patch.hu))[None], mask[None]


def one_nodule(bank: Bank, rng: np.random.Generator) -> Patch:
    """A random nodule in a random place."""
    nodule = _nodule(bank.nodules, rng)
    return patch_of(bank, nodule, rng.random() < CONTEXT, rng)


def patch_of(bank: Bank, nodule: tuple[RealNodule | str, float], context: bool, rng: np.random.Generator) -> Patch:
    """A patch as `workers.segment` cuts it: about 2.4 diameters wide, the nodule near its centre."""
    source, diameter = nodule
    guessed = diameter * float(np.exp(rng.normal(0, 0.2)))
    spacing = CONFIG.spacing_mm(guessed)
    middle = (CONFIG.patch - 1) / 2
    center = middle + rng.normal(0, 0.12, 3) * diameter / spacing
    attachment: Attachment = ("isolated", "vessel", "pleura")[int(rng.integers(3))]
    if isinstance(source, RealNodule):
        attachment = "pleura" if attached(source) else "isolated"
    background = choose_background(bank, rng)
    site = _site(background, diameter, attachment, rng)
    z, y, x = (Line(float(c), spacing, CONFIG.patch) for c in site - center * spacing)
    bring = context and isinstance(source, RealNodule)
    plan = Plan(np.clip(center, 4, CONFIG.patch - 5), diameter, attachment, source, bring)
    return fill(background, (z, y, x), spacing, [plan], rng)


def _nodule(nodules: Sequence[RealNodule], rng: np.random.Generator) -> tuple[RealNodule | str, float]:
    if not nodules or rng.random() < DRAWN:
        return "drawn", float(4 * (60 / 4) ** rng.beta(1.1, 1.9))
    nodule = nodules[int(rng.integers(len(nodules)))]
    large = rng.random() < LARGE and nodule.diameter_mm > 9
    return nodule, float(rng.uniform(20, 70)) if large else nodule.diameter_mm * float(np.exp(rng.normal(0, 0.12)))


def _site(
    background: Background, diameter_mm: float, attachment: Attachment, rng: np.random.Generator
) -> NDArray[np.int16]:
    """One lung point that suits the attachment."""
    if attachment == "vessel":
        return np.asarray(background.vessels[rng.integers(len(background.vessels))])
    depth = background.depth_mm
    at_wall = depth < 0.3 * diameter_mm + 1
    suited = at_wall if attachment == "pleura" else depth > min(0.5 * diameter_mm + 1, 0.6 * float(np.nanmax(depth)))
    found = np.flatnonzero(suited)
    return np.asarray(background.points[found[rng.integers(len(found))]])


def loss(network: nn.Module, batch: list[Tensor]) -> dict[str, Tensor]:
    """Soft Dice for each nodule, and binary cross-entropy."""
    volume, mask = batch
    logit = network(volume.contiguous(memory_format=torch.channels_last_3d)).float()
    share = torch.sigmoid(logit)
    overlap = (share * mask).sum(dim=(1, 2, 3, 4))
    size = share.sum(dim=(1, 2, 3, 4)) + mask.sum(dim=(1, 2, 3, 4))
    dice = 1 - (2 * overlap + 1) / (size + 1)
    return {"dice": dice.mean(), "entropy": functional.binary_cross_entropy_with_logits(logit, mask)}


def train_segmenter(bank: Bank, run: Run, report: Report) -> Segmenter:
    """Train, from the last checkpoint where there is one, and return the averaged network."""
    torch.manual_seed(run.seed)
    training = Training(Segmenter(CONFIG), run, "segmenter")
    while training.progress < 1:
        samples = Masks(bank, run.seed, training.step // run.epoch, run.epoch * run.batch)
        training.epoch(samples, loss, report)
    network = training.averaged()
    assert isinstance(network, Segmenter)
    return network
