"""One picture of many phantoms and their nodules, so that a person sees how they vary, and what looks unreal."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from workers.phantom.chest import Phantom, Spec
from workers.phantom.truth import Nodule

PHANTOMS = 12
CENTER_HU, WIDTH_HU = -600.0, 1500.0
"""The usual window for lung."""
CHEST_PX, NODULE_PX, TEXT_PX = 288, 144, 14
COLUMNS = 6
"""Chests in a row; two nodules fit below each."""
AROUND_MM = 44.0
"""Edge of what is shown of a nodule's surroundings; larger for large ones."""

Pixels = NDArray[np.uint8]
Tile = tuple[Pixels, str]


class Gallery:
    """Tiles of chests and nodules, one phantom after the other, so that none needs to stay in memory."""

    def __init__(self) -> None:
        self._chests: list[Tile] = []
        self._nodules: list[Tile] = []

    def add(self, phantom: Phantom) -> None:
        """Show an axial slice through a nodule, a coronal one, and each nodule."""
        captions = _captions(phantom.spec)
        middle = _nodules_slice(phantom)
        axial, coronal = phantom.hu[middle], phantom.hu[::-1, int(phantom.hu.shape[1] * 0.47)]
        step, row, column = phantom.grid.spacing_zyx_mm
        for plane, spacing, caption in zip((axial, coronal), ((row, column), (step, column)), captions, strict=True):
            self._chests.append((_fitted(plane, spacing, CHEST_PX), caption))
        for nodule in phantom.nodules:
            self._nodules.append((_close_up(phantom, nodule), _named(nodule)))

    def picture(self) -> Image.Image:
        """All tiles: chests above, nodules below."""
        rows = [*_rows(self._chests, COLUMNS), *_rows(self._nodules, COLUMNS * CHEST_PX // NODULE_PX)]
        height = sum(len(row[0][0]) + TEXT_PX for row in rows)
        canvas = Image.new("L", (COLUMNS * CHEST_PX, height))
        pen, top = ImageDraw.Draw(canvas), 0
        for row in rows:
            for number, (pixels, caption) in enumerate(row):
                left = number * pixels.shape[1]
                canvas.paste(Image.fromarray(pixels), (left, top + TEXT_PX))
                pen.text((left + 3, top + 1), caption, fill=200)
            top += len(row[0][0]) + TEXT_PX
        return canvas


def _rows(tiles: list[Tile], columns: int) -> Iterator[list[Tile]]:
    return (tiles[start : start + columns] for start in range(0, len(tiles), columns))


def _captions(spec: Spec) -> tuple[str, str]:
    slices = f"seed {spec.seed}: {spec.thickness_mm:g} mm every {spec.step_mm:g} mm, tilt {spec.tilt_deg:g}"
    return slices, f"sharpness {spec.sharpness:g}, noise {spec.noise_hu:g} HU, matrix {spec.matrix}"


def _named(nodule: Nodule) -> str:
    kind = nodule.type.value.replace("ground-glass", "glass")
    return f"{nodule.diameter_mm:.0f} {kind[:8]} {nodule.outline[:7]} {nodule.attachment[:5]}"


def _nodules_slice(phantom: Phantom) -> int:
    """The slice through the largest nodule; without any, one a little above the middle."""
    if not phantom.nodules:
        return int(0.55 * len(phantom.hu))
    largest = max(phantom.nodules, key=lambda one: one.diameter_mm)
    return int(largest.offset_zyx[0] + largest.mask.shape[0] // 2)


def _close_up(phantom: Phantom, nodule: Nodule) -> Pixels:
    """An axial cut around a nodule."""
    x, y, z = nodule.center_lps_mm
    at = np.rint(phantom.grid.index(np.array([z, y, x]))).astype(int)
    half = np.ceil(max(AROUND_MM, 2.2 * nodule.long_mm) / 2 / np.array(phantom.grid.spacing_zyx_mm)).astype(int)
    slice_ = int(np.clip(at[0], 0, len(phantom.hu) - 1))
    padded = np.pad(phantom.hu[slice_], ((half[1], half[1]), (half[2], half[2])), constant_values=-1000)
    cut = padded[at[1] : at[1] + 2 * half[1] + 1, at[2] : at[2] + 2 * half[2] + 1]
    return _fitted(cut, phantom.grid.spacing_zyx_mm[1:], NODULE_PX)


def _fitted(plane_hu: NDArray[np.int16], spacing_mm: tuple[float, float], edge_px: int) -> Pixels:
    """A windowed plane with square pixels, as large as fits into a square."""
    grey = np.clip((plane_hu - (CENTER_HU - WIDTH_HU / 2)) / WIDTH_HU, 0, 1) * 255
    height_mm, width_mm = (n * mm for n, mm in zip(plane_hu.shape, spacing_mm, strict=True))
    scale = edge_px / max(height_mm, width_mm)
    size = max(round(width_mm * scale), 1), max(round(height_mm * scale), 1)
    image = Image.fromarray(grey.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    square = np.zeros((edge_px, edge_px), np.uint8)
    top, left = (edge_px - size[1]) // 2, (edge_px - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = np.asarray(image)
    return square
