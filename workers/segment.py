"""Volume and candidates to masks on the native grid: one piece each, never empty, never two on one voxel."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from node.domain.finding import Point
from workers.networks.blocks import scaled_hu
from workers.networks.budget import Budget, budget
from workers.networks.patches import Line, Lines, Upright, cube, sample, upright
from workers.networks.precision import fast_bf16
from workers.networks.segmenter import Segmenter
from workers.networks.weights import ready
from workers.volume import Mask, Volume

BATCH = 8
"""Patches in one pass, where memory allows."""
INSIDE = 0.5
"""Share above which a voxel belongs to the nodule."""

Box = tuple[slice, slice, slice]


class Sphere(Protocol):
    """What segmentation needs to know about a candidate."""

    @property
    def center_lps_mm(self) -> Point: ...

    @property
    def diameter_mm(self) -> float: ...


def segment(volume: Volume, candidates: Sequence[Sphere], may_take: Budget | None = None) -> tuple[Mask, ...]:
    """Outline each candidate on the volume's own grid; a voxel goes to the first candidate that claims it.

    Raises WeightsError where the weights are not the recorded ones.
    """
    may_take = may_take or budget()
    network = ready("segmenter", may_take.device)
    assert isinstance(network, Segmenter)
    ct = upright(volume.hu, volume.affine)
    batch = min(BATCH, may_take.batch)
    taken: list[tuple[Box, NDArray[np.bool_]]] = []
    for (share, box), one in zip(_shares(network, ct, candidates, batch), candidates, strict=True):
        center = ct.index(np.array([one.center_lps_mm]))[0] - [part.start for part in box]
        free = _free(box, taken)
        taken.append((box, _one_piece((share > INSIDE) & free, free, center)))
    return tuple(_to_mask(ct, box, voxels) for box, voxels in taken)


def _shares(
    network: Segmenter, ct: Upright, spheres: Sequence[Sphere], batch: int
) -> list[tuple[NDArray[np.float32], Box]]:
    """For each sphere the share of nodule in each native voxel of a box around it."""
    config = network.config
    centers = ct.index(np.array([one.center_lps_mm for one in spheres]).reshape(-1, 3))
    cubes = [
        cube(ct, center, config.spacing_mm(one.diameter_mm), config.patch)
        for center, one in zip(centers, spheres, strict=True)
    ]
    shares: list[Tensor] = []
    for first in range(0, len(cubes), batch):
        shares.extend(predict(network, torch.stack([hu for hu, _ in cubes[first : first + batch]])))
    return [to_native(share, lines, ct.hu.shape) for share, (_, lines) in zip(shares, cubes, strict=True)]


def predict(network: Segmenter, hu: Tensor) -> Tensor:
    """Patches (n, z, y, x) in HU to the share of nodule in each voxel (n, z, y, x)."""
    device = next(network.parameters()).device
    volume = scaled_hu(hu)[:, None].to(device).contiguous(memory_format=torch.channels_last_3d)
    with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast_bf16(device.type)):
        return torch.sigmoid(network(volume)[:, 0].float()).cpu()


def to_native(share: Tensor, lines: Lines, shape: Sequence[int]) -> tuple[NDArray[np.float32], Box]:
    """A patch's shares on the native voxels that it covers."""
    parts, back = [], []
    for line, size in zip(lines, shape, strict=True):
        last = line.start + line.step * (line.count - 1)
        low = int(np.clip(np.ceil(line.start), 0, size - 1))
        high = int(np.clip(np.floor(last), low, size - 1))
        parts.append(slice(low, high + 1))
        back.append(Line((low - line.start) / line.step, 1 / line.step, high + 1 - low))
    native = sample(share.numpy(), (back[0], back[1], back[2]), 0.0).numpy()
    return native, (parts[0], parts[1], parts[2])


def _free(box: Box, taken: Sequence[tuple[Box, NDArray[np.bool_]]]) -> NDArray[np.bool_]:
    """Voxels of a box that no earlier mask holds."""
    free = np.ones([part.stop - part.start for part in box], bool)
    for other, voxels in taken:
        low = [max(a.start, b.start) for a, b in zip(box, other, strict=True)]
        high = [min(a.stop, b.stop) for a, b in zip(box, other, strict=True)]
        if all(a < b for a, b in zip(low, high, strict=True)):
            mine = tuple(slice(a - p.start, b - p.start) for a, b, p in zip(low, high, box, strict=True))
            theirs = tuple(slice(a - p.start, b - p.start) for a, b, p in zip(low, high, other, strict=True))
            free[mine] &= ~voxels[theirs]
    return free


def _one_piece(mask: NDArray[np.bool_], free: NDArray[np.bool_], center_zyx: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The piece that lies nearest to the centre, holes filled; the free voxel nearest to it where there is none."""
    pieces, count = ndimage.label(mask)
    at = np.argwhere(mask if count else free)
    nearest = at[int(((at - center_zyx) ** 2).sum(axis=1).argmin())]
    if not count:
        alone = np.zeros_like(mask)
        alone[tuple(nearest)] = True
        return alone
    piece = ndimage.binary_fill_holes(pieces == pieces[tuple(nearest)]) & free
    joined, _ = ndimage.label(piece)
    return np.asarray(joined == joined[tuple(nearest)])


def _to_mask(ct: Upright, box: Box, voxels: NDArray[np.bool_]) -> Mask:
    used = ndimage.find_objects(voxels.astype(np.uint8))[0]
    offset = [part.start + cut.start for part, cut in zip(box, used, strict=True)]
    turned, start = ct.to_original(voxels[used], offset)
    return Mask(turned, (start[0], start[1], start[2]))
