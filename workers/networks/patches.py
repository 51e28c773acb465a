"""CT arrays to network input and back: boxes of isotropic voxels along the patient's axes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

AIR_HU = -1024.0
"""What lies outside the scan."""
SLICES_AT_ONCE = 32


@dataclass(frozen=True)
class Upright:
    """A CT whose axes rise with LPS z, y, x: a view of the original array, turned."""

    hu: NDArray[np.int16]
    """(z, y, x)"""
    affine: NDArray[np.float64]
    """4x4: (z, y, x, 1) of `hu` to (X, Y, Z, 1) in LPS mm."""
    order: tuple[int, int, int]
    """Axis of the original array that became axis 0, 1, 2."""
    flipped: tuple[bool, bool, bool]
    """Whether that axis runs backwards."""

    @property
    def spacing_zyx_mm(self) -> NDArray[np.float64]:
        spacing: NDArray[np.float64] = np.linalg.norm(self.affine[:3, :3], axis=0)
        return spacing

    def index(self, points_lps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """LPS mm (n, 3) to fractional (z, y, x) of `hu` (n, 3)."""
        inverse = np.linalg.inv(self.affine)
        zyx: NDArray[np.float64] = points_lps_mm @ inverse[:3, :3].T + inverse[:3, 3]
        return zyx

    def lps_mm(self, points_zyx: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fractional (z, y, x) of `hu` (n, 3) to LPS mm (n, 3)."""
        lps: NDArray[np.float64] = points_zyx @ self.affine[:3, :3].T + self.affine[:3, 3]
        return lps

    def to_original(self, box: NDArray[np.bool_], offset_zyx: Sequence[int]) -> tuple[NDArray[np.bool_], list[int]]:
        """Turn a box cut out of `hu` back to the original axes; returns it with its offset there."""
        back = np.argsort(self.order)
        turned = np.flip(box, tuple(axis for axis in range(3) if self.flipped[axis]))
        starts = [
            self.hu.shape[axis] - offset_zyx[axis] - box.shape[axis] if self.flipped[axis] else offset_zyx[axis]
            for axis in range(3)
        ]
        return np.ascontiguousarray(np.transpose(turned, back)), [int(starts[axis]) for axis in back]


def upright(hu: NDArray[np.int16], affine: NDArray[np.float64]) -> Upright:
    """Turn a volume (z, y, x) so that its axes come closest to LPS z, y, x; nothing is resampled."""
    directions = np.abs(affine[:3, :3])
    nearest = directions.argmax(axis=0)
    order = tuple(int(np.flatnonzero(nearest == axis)[0]) if axis in nearest else 2 - axis for axis in (2, 1, 0))
    matrix = affine.copy()
    matrix[:3, :3] = affine[:3, order]
    turned = np.transpose(hu, order)
    flipped = []
    for axis, component in enumerate((2, 1, 0)):
        flipped.append(bool(matrix[component, axis] < 0))
        if flipped[axis]:
            matrix[:3, 3] += matrix[:3, axis] * (turned.shape[axis] - 1)
            matrix[:3, axis] *= -1
            turned = np.flip(turned, axis)
    return Upright(turned, matrix, (order[0], order[1], order[2]), (flipped[0], flipped[1], flipped[2]))


@dataclass(frozen=True)
class Line:
    """Sampling positions along one axis: start + step * k for k < count, in voxels of the source."""

    start: float
    step: float
    count: int

    @classmethod
    def around(cls, center: float, step: float, count: int) -> "Line":
        """`count` positions centred on `center`."""
        return cls(center - step * (count - 1) / 2, step, count)

    def span(self, size: int) -> slice:
        """Source voxels that the positions can see."""
        reach = max(1.0, self.step)
        low = int(np.floor(self.start - reach))
        high = int(np.ceil(self.start + self.step * (self.count - 1) + reach)) + 1
        return slice(min(max(low, 0), size - 1), max(min(high, size), 1))

    def weights(self, size: int, part: slice) -> Tensor:
        """(count, voxels of `part`) triangle weights; wide as the step, so that shrinking does not alias.

        Positions outside the source have no weight at all.
        """
        at = self.start + self.step * torch.arange(self.count, dtype=torch.float64)
        inside = (at > -0.5 - 1e-6) & (at < size - 0.5 + 1e-6)
        reach = max(1.0, self.step)
        source = torch.arange(part.start, part.stop, dtype=torch.float64)
        triangle = torch.clamp(1 - (at.clamp(0, size - 1)[:, None] - source[None]).abs() / reach, min=0)
        triangle = triangle / triangle.sum(dim=1, keepdim=True).clamp(min=1e-9)
        return (triangle * inside[:, None]).float()


Lines = tuple[Line, Line, Line]


def sample(hu: NDArray[np.int16] | NDArray[np.float32], lines: Lines, outside: float = AIR_HU) -> Tensor:
    """Resample a CT array (z, y, x) at a box of positions; (counts), float32; `outside` beyond its edges."""
    parts = [line.span(size) for line, size in zip(lines, hu.shape, strict=True)]
    along_z, along_y, along_x = (
        line.weights(size, part) for line, size, part in zip(lines, hu.shape, parts, strict=True)
    )
    first = parts[0].start
    planes = torch.empty((parts[0].stop - first, lines[1].count, lines[2].count))
    for z in range(first, parts[0].stop, SLICES_AT_ONCE):
        stop = min(z + SLICES_AT_ONCE, parts[0].stop)
        slab = torch.from_numpy(np.ascontiguousarray(hu[z:stop, parts[1], parts[2]])).float() - outside
        planes[z - first : stop - first] = along_y @ (slab @ along_x.T)
    box = (along_z @ planes.flatten(1)).view(lines[0].count, lines[1].count, lines[2].count)
    return box + outside


def filtered(hu: NDArray[Any], weights_zyx: Sequence[NDArray[Any] | None]) -> NDArray[np.float32]:
    """Apply a (to, from) matrix along each axis of (z, y, x); None leaves the axis as it is."""
    along_z, along_y, along_x = (None if w is None else torch.from_numpy(w).float() for w in weights_zyx)
    box = torch.from_numpy(np.ascontiguousarray(hu)).float()
    if along_z is not None:
        box = (along_z @ box.flatten(1)).view(-1, *box.shape[1:])
    if along_x is not None:
        box = box @ along_x.T
    if along_y is not None:
        box = along_y @ box
    return np.asarray(box.numpy(), dtype=np.float32)


def cube(ct: Upright, center_zyx: NDArray[np.float64], spacing_mm: float, edge: int) -> tuple[Tensor, Lines]:
    """A cube of `edge` isotropic voxels centred on a point, and where its voxels lie in `ct.hu`."""
    steps = spacing_mm / ct.spacing_zyx_mm
    z, y, x = (Line.around(float(c), float(s), edge) for c, s in zip(center_zyx, steps, strict=True))
    return sample(ct.hu, (z, y, x)), (z, y, x)


def validity(shape: Sequence[int], lines: Lines) -> Tensor:
    """1 where the positions lie inside an array of this shape, else 0; (counts)."""
    masks = []
    for line, size in zip(lines, shape, strict=True):
        at = line.start + line.step * torch.arange(line.count)
        masks.append(((at > -0.5) & (at < size - 0.5)).float())
    return masks[0][:, None, None] * masks[1][None, :, None] * masks[2][None, None, :]
