"""NodeNet: an anchor-free 3D detector of centre points at two scales."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workers.networks.blocks import ConvNorm, Encoder, Merge

# Objects as points: Zhou 2019, https://arxiv.org/abs/1904.07850
# Centre points for lung nodules, single stage: Song 2020 (CPM-Net), https://doi.org/10.1007/978-3-030-59725-2_53
# Feature pyramid: Lin 2017, https://arxiv.org/abs/1612.03144
# Space to depth instead of full-resolution convolutions: Sajjadi 2018, https://arxiv.org/abs/1801.04590


@dataclass(frozen=True)
class NodeNetConfig:
    """Shape of a NodeNet; `small16` is (16, 32, 64, 96), `medium` is (24, 48, 96, 128)."""

    widths: tuple[int, int, int, int] = (24, 48, 96, 128)
    """Channels at strides 2, 4, 8, 16."""
    blocks: tuple[int, int, int, int] = (1, 2, 2, 2)
    head: int = 48
    """Channels of the pyramid and the heads."""
    spacing_mm: float = 1.25
    """Isotropic voxel size that the weights were trained for."""
    prior: float = 0.01
    """Initial score everywhere, so that the first steps are not drowned by background (Lin 2017, focal loss)."""


FINE_STRIDE, COARSE_STRIDE = 4, 8
"""Cells of the nodule map and of the mass map, voxels."""
MULTIPLE = 16
"""The input's z, y, x must be multiples of this."""
REFERENCE_DIAMETER_MM = 8.0
"""Diameters are predicted as log(d / reference)."""


class Head(nn.Module):
    """Heat logit, offset of the centre in cells, log diameter: 5 channels."""

    def __init__(self, width: int, prior: float) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvNorm(width, width), nn.ReLU())
        self.out = nn.Conv3d(width, 5, 1)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)
        with torch.no_grad():
            self.out.bias[0] = torch.logit(torch.tensor(prior))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(x))  # (n, 5, z, y, x)


class NodeNet(nn.Module):
    """CT patch in network units to centre maps: nodules at stride 4, masses at stride 8."""

    def __init__(self, config: NodeNetConfig) -> None:
        super().__init__()
        self.config = config
        w = config.widths
        self.encoder = Encoder(1, w, config.blocks)
        self.merge8 = Merge(w[3], w[2], config.head)
        self.merge4 = Merge(config.head, w[1], config.head)
        self.fine = Head(config.head, config.prior)
        self.coarse = Head(config.head, config.prior)

    def forward(self, volume: Tensor) -> tuple[Tensor, Tensor]:
        _, at4, at8, at16 = self.encoder(volume)  # (n, w, z/2 .. z/16, ...)
        top8 = self.merge8(at16, at8)  # (n, head, z/8, y/8, x/8)
        top4 = self.merge4(top8, at4)  # (n, head, z/4, y/4, x/4)
        return self.fine(top4), self.coarse(top8)  # (n, 5, z/4, y/4, x/4), (n, 5, z/8, y/8, x/8)
