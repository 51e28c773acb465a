"""A patch around one candidate to: nodule or not, by what lies in its middle and what around it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workers.networks.blocks import Encoder, Merge

# Second look at candidates to remove false positives: Setio 2016, https://doi.org/10.1109/TMI.2016.2536809
# Residual networks: He 2016, https://arxiv.org/abs/1512.03385
# Feature pyramid: Lin 2017, https://arxiv.org/abs/1612.03144


@dataclass(frozen=True)
class ClassifierConfig:
    """Shape of a Classifier."""

    widths: tuple[int, int, int, int] = (16, 32, 64, 96)
    """Channels at strides 2, 4, 8, 16. Widths, blocks and head are the detector's: training begins with its weights."""
    blocks: tuple[int, int, int, int] = (1, 2, 2, 2)
    head: int = 48
    """Channels of the pyramid."""
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
        w, head = config.widths, config.head
        self.encoder = Encoder(2, w, config.blocks)
        self.merge8 = Merge(w[3], w[2], head)
        self.merge4 = Merge(head, w[1], head)
        self.drop = nn.Dropout(config.dropout)
        self.out = nn.Linear(4 * head + w[3] + 1, 1 + len(config.types))

    def forward(self, patch: Tensor, log_diameter: Tensor) -> Tensor:
        _, at4, at8, at16 = self.encoder(patch)  # (n, w, z/2 .. z/16, ...)
        top8 = self.merge8(at16, at8)  # (n, head, z/8, y/8, x/8)
        top4 = self.merge4(top8, at4)  # (n, head, z/4, y/4, x/4)
        middles = [pooled for top in (top4, top8) for pooled in _middle(top)]  # (n, head) each
        seen = self.drop(torch.cat([*middles, at16.mean(dim=(2, 3, 4))], dim=1))
        return self.out(torch.cat([seen, log_diameter[:, None].to(seen.dtype)], dim=1))  # nodule logit, type logits


def _middle(top: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over the two cells along each axis that the candidate lies in, and peak over these and their neighbours."""
    z, y, x = (n // 2 for n in top.shape[2:])
    near = top[:, :, z - 2 : z + 2, y - 2 : y + 2, x - 2 : x + 2]
    return near[:, :, 1:3, 1:3, 1:3].mean(dim=(2, 3, 4)), near.amax(dim=(2, 3, 4))
