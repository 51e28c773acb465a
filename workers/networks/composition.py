"""Densities of one nodule to its composition: solid, part-solid or ground glass."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Multinomial logistic regression: with 18 part-solid nodules to learn from, anything larger learns the nodules.


@dataclass(frozen=True)
class CompositionConfig:
    """What a Composition sees and says."""

    densities: tuple[str, ...] = ("log_diameter", "mean_hu", "sd_hu", "p5_hu", "median_hu", "p95_hu", "solid_share")
    """Order of the inputs; see `workers.composition.densities`."""
    types: tuple[str, ...] = ("solid", "part-solid", "ground-glass")
    """Order of the logits; calcified is told by HU."""
    farthest: float = 4.0
    """Inputs are clipped at so many standard deviations of those it learned from."""


class Composition(nn.Module):
    """Densities to logits of the types, which were made equally common."""

    def __init__(self, config: CompositionConfig) -> None:
        super().__init__()
        self.config = config
        inputs = len(config.densities)
        self.register_buffer("center", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.out = nn.Linear(inputs, len(config.types))

    def forward(self, densities: Tensor) -> Tensor:
        usual = (densities - self.center) / self.scale  # (n, inputs)
        return self.out(usual.clamp(-self.config.farthest, self.config.farthest))  # (n, types)
