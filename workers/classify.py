"""Volume and candidates to nodules: a second look that removes what is none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from node.domain.finding import Point
from workers.networks.blocks import scaled_hu
from workers.networks.budget import Budget, budget
from workers.networks.classifier import Classifier
from workers.networks.operating import OperatingPoint
from workers.networks.patches import cube, upright, validity
from workers.networks.precision import fast_bf16
from workers.networks.weights import ready
from workers.volume import Volume

LAST = 4
"""The last fourth of the candidates tells whether those behind them may hold nodules."""


class Candidate(Protocol):
    """What classification needs to know about a candidate."""

    @property
    def center_lps_mm(self) -> Point: ...

    @property
    def diameter_mm(self) -> float: ...

    @property
    def score(self) -> float: ...


@dataclass(frozen=True)
class Judged:
    """A candidate after a second look."""

    center_lps_mm: Point
    diameter_mm: float
    score: float
    """0..1, detector and classifier together; not a probability of disease."""


@dataclass(frozen=True)
class Selection:
    """The nodules that are reported, and what a reader must know about the others."""

    nodules: tuple[Judged, ...]
    """Best first."""
    limitations: tuple[str, ...] = ()

    @property
    def more(self) -> bool:
        """There may be more nodules than these."""
        return bool(self.limitations)


def classify(
    volume: Volume,
    candidates: Sequence[Candidate],
    point: OperatingPoint | None = None,
    may_take: Budget | None = None,
) -> Selection:
    """Look at the best candidates again, best first as `detect` gives them; select those above the finding score.

    Raises WeightsError where the weights are not the recorded ones.
    """
    point = point or OperatingPoint()
    seen = candidates[: point.most_candidates]
    return select(judge(volume, seen, may_take), len(candidates) - len(seen), point)


def select(judged: Sequence[Judged], unseen: int, point: OperatingPoint) -> Selection:
    """The nodules among candidates, which are in the detector's order; `unseen` more came behind them.

    What was not looked at matters as long as the last ones that were looked at still hold nodules.
    """
    nodules = sorted((one for one in judged if one.score >= point.finding_score), key=lambda one: -one.score)
    most, limitations = point.most_findings, []
    if len(nodules) > most:
        limitations.append(f"More than {most} nodules were found; only the {most} most certain were assessed.")
    last = judged[-(len(judged) // LAST) :]
    if unseen and any(one.score >= point.finding_score for one in last):
        limitations.append(f"Very many places look like nodules; only the {len(judged)} most suspicious were assessed.")
    return Selection(tuple(nodules[:most]), tuple(limitations))


def judge(volume: Volume, candidates: Sequence[Candidate], may_take: Budget | None = None) -> tuple[Judged, ...]:
    """Score every candidate, in the given order; nothing is dropped."""
    may_take = may_take or budget()
    network = ready("classifier", may_take.device)
    assert isinstance(network, Classifier)
    ct = upright(volume.hu, volume.affine)
    centers = ct.index(np.array([one.center_lps_mm for one in candidates]).reshape(-1, 3))
    judged: list[Judged] = []
    for first in range(0, len(candidates), may_take.batch):
        some = candidates[first : first + may_take.batch]
        spacings = [network.config.spacing_mm(one.diameter_mm) for one in some]
        cut = [
            cube(ct, center, spacing, network.config.patch)
            for center, spacing in zip(centers[first : first + may_take.batch], spacings, strict=True)
        ]
        seen = torch.stack([validity(ct.hu.shape, lines) for _, lines in cut])
        logits = look(network, torch.stack([hu for hu, _ in cut]), seen, [one.diameter_mm for one in some])
        judged.extend(_judged(one, row) for one, row in zip(some, logits, strict=True))
    return tuple(judged)


def look(network: Classifier, hu: Tensor, seen: Tensor, diameters_mm: Sequence[float]) -> Tensor:
    """Patches (n, z, y, x) in HU and what of them was scanned, 0 or 1, to logits (n, 1 + types)."""
    device = next(network.parameters()).device
    patch, log_diameter = (part.to(device) for part in network_input(hu, seen, diameters_mm))
    with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast_bf16(device.type)):
        return network(patch.contiguous(memory_format=torch.channels_last_3d), log_diameter).float().cpu()


def network_input(hu: Tensor, seen: Tensor, diameters_mm: Sequence[float]) -> tuple[Tensor, Tensor]:
    """The classifier's two inputs: (n, 2, z, y, x) and (n,)."""
    patch = torch.stack([scaled_hu(hu), seen], dim=1)
    return patch, torch.log(torch.tensor(diameters_mm, dtype=torch.float32) / 8)


def combined_score(detector_score: float, classifier_logit: float) -> float:
    """Both opinions as one score: the mean of their logits."""
    detector_logit = np.log(detector_score / (1 - detector_score))
    return float(1 / (1 + np.exp(-0.5 * (detector_logit + classifier_logit))))


def _judged(candidate: Candidate, logits: Tensor) -> Judged:
    score = combined_score(min(max(candidate.score, 1e-4), 1 - 1e-4), float(logits[0]))
    return Judged(candidate.center_lps_mm, candidate.diameter_mm, score)
