"""Trains the Classifier on a pool of candidates: nodule or not."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from workers.classify import network_input
from workers.networks.classifier import Classifier, ClassifierConfig
from workers.networks.nodenet import NodeNet
from workers.networks.patches import filtered
from workers.training.candidates import MARGIN, Mined, mine, store
from workers.training.compose import Bank, thick_slices
from workers.training.loop import Run, Training
from workers.training.progress import Report

CONFIG = ClassifierConfig()
POOL_PATCHES = 1800
"""Composed patches of the pool."""


@dataclass(frozen=True)
class Pool:
    """Candidates in memory; see `candidates.Sample`."""

    hu: NDArray[np.int16]
    seen: NDArray[np.int16]
    nodule: NDArray[np.bool_]
    type: NDArray[np.int8]
    diameter_mm: NDArray[np.float32]
    detector_logit: NDArray[np.float32]

    @classmethod
    def read(cls, path: Path) -> "Pool":
        with np.load(path) as file:
            return cls(**{name: file[name] for name in cls.__dataclass_fields__})


def make_pool(bank: Bank, network: NodeNet, run: Run, report: Report) -> Pool:
    """The pool of a detector, from disk where it was made before."""
    path = run.out / "pool.npz"
    if not path.is_file():
        mined = Mined(bank, network, CONFIG, run.seed, POOL_PATCHES)
        store(mine(mined, run.workers, lambda n: report(f"pool {n}/{POOL_PATCHES} patches")), path)
    pool = Pool.read(path)
    report(f"pool of {len(pool.nodule)} candidates, {int(pool.nodule.sum())} of them nodules")
    return pool


@dataclass(frozen=True)
class Looks(Dataset[tuple[Tensor, ...]]):
    """Candidates drawn half from nodules and half from others, each time a little different."""

    pool: Pool
    seed: int
    epoch: int
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        torch.set_num_threads(1)
        rng = np.random.default_rng([self.seed, self.epoch, index, 4])
        found = np.flatnonzero(self.pool.nodule == (rng.random() < 0.5))
        chosen = int(found[rng.integers(len(found))])
        hu, seen = _varied(self.pool, chosen, rng)
        diameter = float(self.pool.diameter_mm[chosen]) * float(np.exp(rng.normal(0, 0.05)))
        patch, log_diameter = network_input(torch.from_numpy(hu)[None], torch.from_numpy(seen)[None], [diameter])
        label = torch.tensor(float(self.pool.nodule[chosen]))
        return patch[0], log_diameter[0], label, torch.tensor(int(self.pool.type[chosen]))


def _varied(pool: Pool, chosen: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One candidate shifted, mirrored, with thicker slices, other grey values, perhaps cut off along z."""
    shift = rng.integers(0, 2 * MARGIN + 1, 3)
    size = CONFIG.patch
    part = tuple(slice(int(s), int(s) + size) for s in shift)
    hu = pool.hu[chosen][part].astype(np.float32)
    seen = np.zeros(hu.shape, np.float32)
    low, high = (np.clip(pool.seen[chosen, :, k] - shift, 0, size) for k in (0, 1))
    if rng.random() < 0.3:
        reach = int(rng.integers(3, 14))
        low[0], high[0] = max(low[0], size // 2 - reach), min(high[0], size // 2 + reach)
    inside = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    seen[inside] = 1
    if rng.random() < 0.3:
        spacing = CONFIG.spacing_mm(float(pool.diameter_mm[chosen]))
        thickness = float(rng.uniform(max(1.5, spacing), max(3.0, 1.5 * spacing)))
        weights = thick_slices(size, spacing, (thickness, thickness), rng.random())
        hu = filtered(hu, (weights, None, None))
    hu = hu * np.float32(rng.uniform(0.96, 1.04)) + np.float32(rng.uniform(-25, 25))
    hu += np.float32(rng.uniform(0, 20)) * rng.standard_normal(hu.shape, dtype=np.float32)
    axes = tuple(axis for axis in range(3) if rng.random() < 0.5)
    hu, seen = np.flip(np.where(seen > 0, hu, -1024), axes), np.flip(seen, axes)
    if rng.random() < 0.5:
        hu, seen = np.swapaxes(hu, 1, 2), np.swapaxes(seen, 1, 2)
    return np.ascontiguousarray(hu, dtype=np.float32), np.ascontiguousarray(seen)


def loss(network: nn.Module, batch: list[Tensor]) -> dict[str, Tensor]:
    """Cross-entropy of nodule-or-not, and of the type where it is known."""
    patch, log_diameter, label, kind = batch
    logits = network(patch.contiguous(memory_format=torch.channels_last_3d), log_diameter).float()
    target = 0.02 + 0.96 * label
    losses = {"nodule": functional.binary_cross_entropy_with_logits(logits[:, 0], target)}
    known = kind >= 0
    if bool(known.any()):
        balance = torch.tensor([0.5, 2.0, 1.5], device=logits.device)
        losses["type"] = 0.3 * functional.cross_entropy(logits[known, 1:], kind[known], weight=balance)
    return losses


def begun_from(detector: NodeNet) -> Classifier:
    """A Classifier that sees what the detector sees: from nothing, a thousand steps teach it next to nothing.

    What was scanned is a channel that the detector does not have; it counts for nothing at first.
    """
    told = detector.config
    network = Classifier(replace(CONFIG, widths=told.widths, blocks=told.blocks, head=told.head))
    weights = {key: value for key, value in detector.state_dict().items() if key in network.state_dict()}
    stem = weights["encoder.stem.0.weight"]  # (w, 8, 3, 3, 3)
    weights["encoder.stem.0.weight"] = torch.cat([stem, torch.zeros_like(stem)], dim=1)
    network.load_state_dict(weights, strict=False)
    return network


def train_classifier(bank: Bank, detector: NodeNet, run: Run, report: Report) -> Classifier:
    """Train, from the last checkpoint where there is one, and return the averaged network."""
    torch.manual_seed(run.seed)
    pool = make_pool(bank, detector, run, report)
    training = Training(begun_from(detector), run, "classifier")
    while training.progress < 1:
        samples = Looks(pool, run.seed, training.step // run.epoch, run.epoch * run.batch)
        training.epoch(samples, loss, report)
    network = training.averaged()
    assert isinstance(network, Classifier)
    return network
