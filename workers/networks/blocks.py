"""What the three networks are made of."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


def space_to_depth(volume: Tensor) -> Tensor:
    """Fold each 2 x 2 x 2 cube into channels: nothing is lost and no full-resolution convolution is needed."""
    n, c, z, y, x = volume.shape
    cubes = volume.view(n, c, z // 2, 2, y // 2, 2, x // 2, 2)  # (n, c, z/2, 2, y/2, 2, x/2, 2)
    return cubes.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, 8 * c, z // 2, y // 2, x // 2)  # (n, 8c, z/2, y/2, x/2)


def depth_to_space(volume: Tensor) -> Tensor:
    """The inverse of `space_to_depth`."""
    n, c, z, y, x = volume.shape
    cubes = volume.view(n, c // 8, 2, 2, 2, z, y, x).permute(0, 1, 5, 2, 6, 3, 7, 4)  # (n, c/8, z, 2, y, 2, x, 2)
    return cubes.reshape(n, c // 8, 2 * z, 2 * y, 2 * x)  # (n, c/8, 2z, 2y, 2x)


class ConvNorm(nn.Sequential):
    """3 x 3 x 3 convolution and batch norm: at inference the norm is fixed, so tiles and whole volumes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm3d(outputs, momentum=0.02),
        )


class Residual(nn.Module):
    """Two convolutions around a shortcut (He 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = ConvNorm(width, width)
        self.second = ConvNorm(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.second(functional.relu(self.first(x))))  # as x


class Encoder(nn.Module):
    """Space-to-depth stem, then one level for each width, each at half the resolution of the one before."""

    def __init__(self, inputs: int, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = ConvNorm(8 * inputs, widths[0])
        rows = [[Residual(width) for _ in range(count)] for width, count in zip(widths, blocks, strict=True)]
        self.levels = nn.ModuleList(nn.Sequential(*row) for row in rows)
        self.downs = nn.ModuleList(ConvNorm(a, b, stride=2) for a, b in pairwise(widths))

    def forward(self, volume: Tensor) -> list[Tensor]:
        x = functional.relu(self.stem(space_to_depth(volume)))  # (n, widths[0], z/2, y/2, x/2)
        features = [self.levels[0](x)]
        for down, level in zip(self.downs, self.levels[1:], strict=True):
            features.append(level(functional.relu(down(features[-1]))))  # (n, widths[i], z/2^(i+1), ...)
        return features


class Merge(nn.Module):
    """One step up a feature pyramid: upsample the coarse map, add the fine one, smooth (Lin 2017)."""

    def __init__(self, coarse: int, fine: int, outputs: int) -> None:
        super().__init__()
        self.down = nn.Conv3d(coarse, outputs, 1)
        self.across = nn.Conv3d(fine, outputs, 1)
        self.smooth = ConvNorm(outputs, outputs)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        up = functional.interpolate(
            self.down(coarse), size=fine.shape[2:], mode="nearest"
        )  # (n, outputs, fine z, y, x)
        return functional.relu(self.smooth(up + self.across(fine)))  # (n, outputs, fine z, y, x)


def scaled_hu(hu: Tensor) -> Tensor:
    """HU to network units: -1 at air (-1024), 1 at 400 HU, clipped at 600."""
    return torch.clamp((hu + 312) / 712, -1.0, 1.281)
