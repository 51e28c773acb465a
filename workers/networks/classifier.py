"""A patch around one candidate to: nodule or not."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workers.networks.blocks import Encoder

# Second look at candidates to remove false positives: Setio 2016, https://doi.org/10.1109/TMI.2016.2536809
# Residual networks: He 2016, https://arxiv.org/abs/1512.03385


@dataclass(frozen=True)
class ClassifierConfig:
    """Shape of a Classifier."""

    widths: tuple[int, int, int, int] = (24, 48, 96, 128)
    """Channels at strides 2, 4, 8, 16."""
    blocks: tuple[int, int, int, int] = (1, 1, 1, 1)
    patch: int = 48
    """Voxels along each edge."""
    finest_mm: float = 1.0
    """Smallest voxel of the patch; large candidates get larger voxels."""
    reach: float = 2.4
    """Edge of the patch in diameters of the candidate, at least."""
    types: tuple[str, ...] = ("solid", "part-solid", "ground-glass")
    """Order of the type logits: a second task for training, see `workers.composition` for what is reported."""
    dropout: float = 0.2

    def spacing_mm(self, diameter_mm: float) -> float:
        """Voxel of the isotropic patch for a candidate of this diameter."""
        return max(self.reach * diameter_mm / self.patch, self.finest_mm)


class Classifier(nn.Module):
    """CT patch in network units and a validity channel (1 = seen, 0 = outside the scan) to logits."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(2, config.widths, config.blocks)
        self.pool = nn.AdaptiveAvgPool3d(1)
        self.drop = nn.Dropout(config.dropout)
        self.out = nn.Linear(2 * config.widths[3] + 1, 1 + len(config.types))

    def forward(self, patch: Tensor, log_diameter: Tensor) -> Tensor:
        top = self.encoder(patch)[-1]  # (n, w3, z/16, y/16, x/16)
        mean, peak = self.pool(top).flatten(1), top.amax(dim=(2, 3, 4))  # (n, w3) each
        seen = torch.cat(
            [self.drop(mean), self.drop(peak), log_diameter[:, None].to(mean.dtype)], dim=1
        )  # (n, 2 w3 + 1)
        return self.out(seen)  # (n, 1 + types): nodule logit, type logits
