"""Volume and lungs to candidates: one pass of NodeNet over the lungs, peaks, no two on one nodule."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from node.domain.finding import Point
from workers.networks.blocks import scaled_hu
from workers.networks.budget import USUAL_TILE_DEPTHS, Budget, budget, largest_that_fits
from workers.networks.nodenet import COARSE_STRIDE, FINE_STRIDE, MULTIPLE, REFERENCE_DIAMETER_MM, NodeNet
from workers.networks.operating import OperatingPoint
from workers.networks.patches import Line, Lines, Upright, sample, upright
from workers.networks.precision import fast_bf16
from workers.networks.weights import ready
from workers.volume import Volume
from workers.volume.heat import HeatMap

MARGIN_MM = 12.0
"""Around the lungs: context for what lies at the pleura."""
HALO = 32
"""Voxels that neighbouring tiles share on each side; a multiple of the network's 16."""
MOST_PEAKS = 500
"""Of one map, best first: bounds the time where a scan is nothing but noise."""


class LungField(Protocol):
    """What detection needs to know about the lungs."""

    def contains(self, points_lps_mm: NDArray[np.float64]) -> NDArray[np.bool_]: ...

    def bounds_lps_mm(self) -> tuple[Point, Point]: ...


@dataclass(frozen=True)
class Candidate:
    """A place that may be a nodule."""

    center_lps_mm: Point
    diameter_mm: float
    score: float
    """0..1, of the detector alone."""


@dataclass(frozen=True)
class Detected:
    """What a detector says of a scan."""

    candidates: tuple[Candidate, ...]
    """Best first."""
    heat: HeatMap | None = None
    """Its scores wherever it looked; None where it tells none."""


@dataclass(frozen=True)
class Peak:
    """A candidate on the resampled grid."""

    center_zyx: tuple[float, float, float]
    diameter_mm: float
    score: float


def detect(
    volume: Volume, lungs: LungField, point: OperatingPoint | None = None, may_take: Budget | None = None
) -> tuple[Candidate, ...]:
    """Find everything that may be a nodule inside the lungs, best first; the rest as `detect_with_heat`."""
    return detect_with_heat(volume, lungs, point, may_take).candidates


def detect_with_heat(
    volume: Volume, lungs: LungField, point: OperatingPoint | None = None, may_take: Budget | None = None
) -> Detected:
    """The same with the scores of the whole box around the lungs: a megabyte that is there anyhow.

    Raises OutOfMemory where even the smallest tile does not fit, WeightsError where the weights are not the recorded.
    """
    point, may_take = point or OperatingPoint(), may_take or budget()
    network = ready("detector", may_take.device)
    assert isinstance(network, NodeNet)
    ct = upright(volume.hu, volume.affine)
    lines = lung_box(ct, lungs, network.config.spacing_mm)
    hu = sample(ct.hu, lines)
    maps = _maps(network, hu, may_take.tile_depths)
    peaks = _peaks_of(maps, network.config.spacing_mm, point.candidate_score)
    found = tuple(each for each in _candidates(peaks, lines, ct) if _in_lungs(each, lungs))
    return Detected(found, _heat(maps, lines, ct))


def _heat(maps: tuple[Tensor, Tensor], lines: Lines, ct: Upright) -> HeatMap:
    """The higher score of both maps, on the cells of the fine one."""
    fine, coarse = (torch.sigmoid(each[0]) for each in maps)
    for axis in range(3):
        coarse = coarse.repeat_interleave(COARSE_STRIDE // FINE_STRIDE, dim=axis)
    start, step = (np.array([getattr(line, name) for line in lines]) for name in ("start", "step"))
    cells = np.eye(4)
    cells[:3, :3] = np.diag(step * FINE_STRIDE)
    cells[:3, 3] = start + step * (FINE_STRIDE - 1) / 2
    return HeatMap(torch.maximum(fine, coarse).numpy(), ct.affine @ cells)


def lung_box(
    ct: Upright,
    lungs: LungField,
    spacing_mm: float | NDArray[np.float64],
    multiple: int | NDArray[np.int_] = MULTIPLE,
) -> Lines:
    """Sampling positions along z, y, x over the lungs and a margin; as many as the network's multiple on each axis."""
    low, high = (np.array(corner) for corner in lungs.bounds_lps_mm())
    corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
    index = ct.index(corners)
    spacing = ct.spacing_zyx_mm
    first = np.maximum(index.min(axis=0) - MARGIN_MM / spacing, 0)
    last = np.minimum(index.max(axis=0) + MARGIN_MM / spacing, np.array(ct.hu.shape) - 1)
    steps = spacing_mm / spacing
    counts = np.ceil(((last - first) / steps + 1) / multiple).astype(int) * multiple
    z, y, x = (Line(float(f), float(s), int(n)) for f, s, n in zip(first, steps, counts, strict=True))
    return z, y, x


def find_peaks(
    network: NodeNet, hu: Tensor, least_score: float, tile_depths: Sequence[int] = USUAL_TILE_DEPTHS
) -> list[Peak]:
    """Run NodeNet over a resampled image (z, y, x) in HU and return its peaks, best first, one for each nodule."""
    return _peaks_of(_maps(network, hu, tile_depths), network.config.spacing_mm, least_score)


def _peaks_of(maps: tuple[Tensor, Tensor], spacing_mm: float, least_score: float) -> list[Peak]:
    found: list[Peak] = []
    for each, stride in zip(maps, (FINE_STRIDE, COARSE_STRIDE), strict=True):
        found.extend(_peaks(each, stride, spacing_mm, least_score))
    return _distinct(sorted(found, key=lambda peak: -peak.score), spacing_mm)


def _maps(network: NodeNet, hu: Tensor, tile_depths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Both maps of the whole image; in smaller tiles along z where memory does not allow the larger."""
    return largest_that_fits(tile_depths, lambda depth: _tiled(network, hu, depth))


def _tiled(network: NodeNet, hu: Tensor, depth: int) -> tuple[Tensor, Tensor]:
    """Maps (5, z/stride, y/stride, x/stride) of the image, `depth` slices at a time with a halo on both sides."""
    fine: list[Tensor] = []
    coarse: list[Tensor] = []
    for start in range(0, hu.shape[0], depth):
        low, high = max(start - HALO, 0), min(start + depth + HALO, hu.shape[0])
        maps = _forward(network, hu[low:high])
        stop = min(start + depth, hu.shape[0])
        for kept, part, stride in zip((fine, coarse), maps, (FINE_STRIDE, COARSE_STRIDE), strict=True):
            kept.append(part[:, (start - low) // stride : (stop - low) // stride])
    return torch.cat(fine, dim=1), torch.cat(coarse, dim=1)


def _forward(network: NodeNet, hu: Tensor) -> tuple[Tensor, Tensor]:
    device = next(network.parameters()).device
    volume = scaled_hu(hu)[None, None].to(device).contiguous(memory_format=torch.channels_last_3d)
    with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast_bf16(device.type)):
        fine, coarse = network(volume)
    return fine[0].float().cpu(), coarse[0].float().cpu()


def _peaks(maps: Tensor, stride: int, spacing_mm: float, least_score: float) -> list[Peak]:
    """Local maxima of the heat, each with its offset and diameter."""
    heat = torch.sigmoid(maps[0])
    highest = functional.max_pool3d(heat[None, None], 3, stride=1, padding=1)[0, 0]
    index = torch.nonzero((heat == highest) & (heat >= least_score))
    if not len(index):
        return []
    scored = heat[index[:, 0], index[:, 1], index[:, 2]]
    index = index[torch.argsort(scored, descending=True, stable=True)[:MOST_PEAKS]]
    values = maps[:, index[:, 0], index[:, 1], index[:, 2]].T
    centers = (index + values[:, 1:4].clamp(-2, 2)) * stride + (stride - 1) / 2
    diameters = REFERENCE_DIAMETER_MM * torch.exp(values[:, 4].clamp(-1.2, 2.7))
    scores = torch.sigmoid(values[:, 0])
    return [
        Peak((z, y, x), d, s)
        for (z, y, x), d, s in zip(centers.tolist(), diameters.tolist(), scores.tolist(), strict=True)
    ]


def _distinct(peaks: list[Peak], spacing_mm: float) -> list[Peak]:
    """The peaks, best first, without those on a nodule that a better one has."""
    centers = np.array([peak.center_zyx for peak in peaks]).reshape(-1, 3) * spacing_mm
    return [peaks[index] for index in distinct(centers, np.array([peak.diameter_mm for peak in peaks]))]


def distinct(centers_mm: NDArray[np.float64], diameters_mm: NDArray[np.float64]) -> list[int]:
    """Of places (n, 3), best first, those with no better one within 4 mm or half of either diameter."""
    kept: list[int] = []
    for index, (center, diameter) in enumerate(zip(centers_mm, diameters_mm, strict=True)):
        apart = np.linalg.norm(centers_mm[kept] - center, axis=1)
        if (apart > np.maximum(4.0, 0.5 * np.maximum(diameters_mm[kept], diameter))).all():
            kept.append(index)
    return kept


def _candidates(peaks: list[Peak], lines: Lines, ct: Upright) -> list[Candidate]:
    if not peaks:
        return []
    at = np.array([peak.center_zyx for peak in peaks])
    index = np.array([line.start for line in lines]) + at * np.array([line.step for line in lines])
    found = []
    for (x, y, z), peak in zip(ct.lps_mm(index).tolist(), peaks, strict=True):
        found.append(Candidate((x, y, z), peak.diameter_mm, peak.score))
    return found


def _in_lungs(candidate: Candidate, lungs: LungField) -> bool:
    return bool(lungs.contains(np.array([candidate.center_lps_mm]))[0])
