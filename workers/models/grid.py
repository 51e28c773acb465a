"""What a detector of others sees: the lungs, resampled along axes that it names, and the way back to LPS."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from node.errors import ModelFailed
from workers.detect import Candidate, LungField, distinct, lung_box
from workers.networks.patches import Lines, Upright, sample, upright
from workers.volume import Volume

RISING, FALLING = "SPL", "IAR"
"""Letters of the axes z, y, x: where they rise to in LPS, and the opposite."""
MARGIN_VOXELS = 1.0
"""A centre may lie so far outside of the input, and its radius more: models round and pad."""


@dataclass(frozen=True)
class Shape:
    """The input of a model; axes are letters as in NIfTI, such as RAS: where index 0, 1, 2 rise to."""

    axes: str
    spacing_mm: tuple[float, float, float]
    """In the order of the axes."""
    multiple: tuple[int, int, int]
    """Voxels along each axis are a multiple of this, in the order of the axes."""
    hu_window: tuple[float, float]
    """These become 0 and 1; beyond is clipped."""

    @property
    def order(self) -> tuple[int, ...]:
        """Which of z, y, x each axis is."""
        return tuple(max(RISING.find(letter), FALLING.find(letter)) for letter in self.axes)

    @property
    def flipped(self) -> tuple[int, ...]:
        """Axes that fall along LPS."""
        return tuple(axis for axis, letter in enumerate(self.axes) if letter in FALLING)

    def of_zyx(self, values: Sequence[float]) -> list[float]:
        """Values in the order of the axes, in the order z, y, x."""
        return [values[self.order.index(axis)] for axis in range(3)]


@dataclass(frozen=True)
class Grid:
    """Where the voxels of an input lie."""

    ct: Upright
    lines: Lines
    shape: Shape

    @classmethod
    def over(cls, volume: Volume, lungs: LungField, shape: Shape) -> "Grid":
        """The lungs of a volume and a margin."""
        ct = upright(volume.hu, volume.affine)
        spacing, multiple = (np.array(shape.of_zyx(each)) for each in (shape.spacing_mm, shape.multiple))
        return cls(ct, lung_box(ct, lungs, spacing, multiple.astype(int)), shape)

    @property
    def counts(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return tuple(self.lines[axis].count for axis in self.shape.order)

    def image(self) -> Tensor:
        """The input (axes as named), float32, 0..1."""
        low, high = self.shape.hu_window
        hu = sample(self.ct.hu, self.lines).permute(self.shape.order).flip(self.shape.flipped)
        return ((hu - low) / (high - low)).clamp(0, 1).contiguous()

    def lps_mm(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Voxels of the input (n, 3), whole numbers at their centres, to LPS mm (n, 3)."""
        rising = points.copy()
        for axis in self.shape.flipped:
            rising[:, axis] = self.counts[axis] - 1 - rising[:, axis]
        zyx = np.stack([rising[:, self.shape.order.index(axis)] for axis in range(3)], axis=1)
        starts, steps = (np.array([getattr(line, name) for line in self.lines]) for name in ("start", "step"))
        return self.ct.lps_mm(starts + zyx * steps)

    def candidates(self, found: NDArray[np.float64], lungs: LungField) -> tuple[Candidate, ...]:
        """Rows (n, 5) of centre in voxels of the input, diameter in mm and score, as candidates in the lungs.

        Best first, one for each nodule. Raises ModelFailed where a row cannot be what a detector says.
        """
        self._require_sense(found)
        best_first = found[np.argsort(-found[:, 4], kind="stable")]
        centers = self.lps_mm(best_first[:, :3])
        kept = [index for index in distinct(centers, best_first[:, 3]) if lungs.contains(centers[index : index + 1])[0]]
        rows = ((centers[index].tolist(), best_first[index].tolist()) for index in kept)
        return tuple(Candidate((x, y, z), row[3], row[4]) for (x, y, z), row in rows)

    def _require_sense(self, found: NDArray[np.float64]) -> None:
        if not np.isfinite(found).all():
            raise ModelFailed("The detector gave something that is not a number: its answer is none.")
        if ((found[:, 4] < 0) | (found[:, 4] > 1)).any() or (found[:, 3] <= 0).any():
            raise ModelFailed("The detector gave a score outside of 0 to 1 or a diameter of nothing.")
        reach = 0.5 * found[:, 3:4] / np.array(self.shape.spacing_mm) + MARGIN_VOXELS
        last = np.array(self.counts) - 1
        if ((found[:, :3] < -reach) | (found[:, :3] > last + reach)).any():
            raise ModelFailed("The detector gave a place outside of what it was shown: its description is wrong.")
