"""A patch around one nodule to its mask."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workers.networks.blocks import ConvNorm, Encoder, Merge, depth_to_space, space_to_depth

# Encoder-decoder with skips: Ronneberger 2015, https://arxiv.org/abs/1505.04597
# Sub-pixel output instead of full-resolution convolutions: Shi 2016, https://arxiv.org/abs/1609.05158


@dataclass(frozen=True)
class SegmenterConfig:
    """Shape of a Segmenter."""

    widths: tuple[int, int, int] = (32, 64, 96)
    """Channels at strides 2, 4, 8."""
    blocks: tuple[int, int, int] = (1, 2, 2)
    patch: int = 48
    """Voxels along each edge."""
    finest_mm: float = 0.7
    """Smallest voxel of the patch; larger nodules get larger voxels."""
    coarsest_mm: float = 4.0
    reach: float = 2.4
    """Edge of the patch in diameters of the nodule."""

    def spacing_mm(self, diameter_mm: float) -> float:
        """Voxel of the isotropic patch for a nodule of this diameter."""
        return min(max(self.reach * diameter_mm / self.patch, self.finest_mm), self.coarsest_mm)


class Segmenter(nn.Module):
    """CT patch in network units, nodule at its centre, to one logit a voxel."""

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        self.config = config
        w = config.widths
        self.encoder = Encoder(1, w, config.blocks)
        self.merge4 = Merge(w[2], w[1], w[1])
        self.merge2 = Merge(w[1], w[0], w[0])
        self.refine = nn.Sequential(ConvNorm(w[0] + 8, w[0]), nn.ReLU())
        self.out = nn.Conv3d(w[0], 8, 1)

    def forward(self, volume: Tensor) -> Tensor:
        at2, at4, at8 = self.encoder(volume)  # (n, w, z/2 .. z/8, ...)
        top2 = self.merge2(self.merge4(at8, at4), at2)  # (n, w0, z/2, y/2, x/2)
        seen = torch.cat([top2, space_to_depth(volume)], dim=1)  # (n, w0 + 8, z/2, y/2, x/2)
        return depth_to_space(self.out(self.refine(seen)))  # (n, 1, z, y, x)
