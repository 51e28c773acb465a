"""Fits the Composition to real nodules as the chain sees them: outlined by the segmenter in their own slices."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from node.domain.finding import Point
from workers.composition import densities
from workers.networks.composition import Composition, CompositionConfig
from workers.segment import segment
from workers.training.progress import Report
from workers.training.real import RealNodule
from workers.training.window import in_quiet_lung
from workers.volume import Mask, Volume

CONFIG = CompositionConfig()
PENALTY = 0.03
"""On the squared weights: chosen among 0.003, 0.01 and 0.03 by the same folds that are reported."""
CENTER_ERROR, DIAMETER_ERROR = 0.08, 0.15
"""Of a detector, relative to the diameter: standard deviations."""

Seen = NDArray[np.float32]


@dataclass(frozen=True)
class Place:
    """Where a detector believes a nodule, and how large."""

    center_lps_mm: Point
    diameter_mm: float


def seen_by_the_chain(nodules: Sequence[RealNodule], seed: int, report: Report) -> Seen:
    """Densities (n, 7) of nodules inside the segmenter's outlines, place and size as wrong as a detector's."""
    rows = []
    for number, nodule in enumerate(nodules):
        rows.append(densities(*outlined(nodule, np.random.default_rng([seed, number, 6]))))
        if number % 100 == 99:
            report(f"{number + 1}/{len(nodules)} nodules outlined")
    return np.stack(rows)


def outlined(nodule: RealNodule, rng: np.random.Generator) -> tuple[Volume, Mask]:
    """A nodule in its own slices, quiet lung above and below, and the segmenter's mask of it."""
    spacing = np.array(nodule.spacing_zyx_mm)
    hu, quiet = in_quiet_lung(nodule, rng)
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]], affine[3, 3] = spacing, 1
    volume = Volume(hu, nodule.spacing_zyx_mm, affine, ())
    error_mm = rng.normal(0, CENTER_ERROR, 3) * nodule.diameter_mm
    x, y, z = volume.to_lps_mm((nodule.center_zyx + [quiet, 0, 0] + error_mm / spacing)[None])[0].tolist()
    diameter = nodule.diameter_mm * float(np.exp(rng.normal(0, DIAMETER_ERROR)))
    (mask,) = segment(volume, [Place((x, y, z), diameter)])
    return volume, mask


def kinds(nodules: Sequence[RealNodule]) -> NDArray[np.int64]:
    """Index of each nodule's type among the Composition's, by the readers' texture."""
    return np.array([CONFIG.types.index(nodule.type) for nodule in nodules])


def fit_composition(seen: Seen, kind: NDArray[np.int64]) -> Composition:
    """The Composition of these nodules, each type counting as much as the others."""
    network = Composition(CONFIG)
    weight = logistic_weights(kind, len(CONFIG.types))
    fit(network, seen, kind, weight)
    return network.eval().requires_grad_(False)


def logistic_weights(label: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """One weight a class, so that all classes count the same and a sample counts one on average."""
    count = np.maximum(np.bincount(label, minlength=classes), 1)
    return np.asarray(len(label) / classes / count)


def fit(network: Composition, seen: Seen, label: NDArray[np.int64], weight: NDArray[np.float64]) -> None:
    """Multinomial logistic regression to its optimum, which does not depend on where it began."""
    network.center.copy_(torch.from_numpy(seen.mean(axis=0)))
    network.scale.copy_(torch.from_numpy(seen.std(axis=0) + 1e-6))
    torch.nn.init.zeros_(network.out.weight)
    torch.nn.init.zeros_(network.out.bias)
    inputs, target = torch.from_numpy(seen), torch.from_numpy(label)
    weights = torch.from_numpy(weight).float()
    optimiser = torch.optim.LBFGS(network.out.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = functional.cross_entropy(network(inputs), target, weight=weights)
        loss = loss + PENALTY * network.out.weight.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
