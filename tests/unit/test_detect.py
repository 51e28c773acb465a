"""From heat maps to candidates: places, sizes, one for each nodule, inside the lungs only."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from node.domain.finding import Point
from node.errors import OutOfMemory
from workers import detect as module
from workers.detect import Peak, find_peaks
from workers.networks.nodenet import COARSE_STRIDE, FINE_STRIDE, REFERENCE_DIAMETER_MM, NodeNet, NodeNetConfig
from workers.networks.patches import upright

TINY = NodeNetConfig(widths=(8, 8, 8, 8), blocks=(1, 1, 1, 1), head=8)
SHAPE = (96, 64, 64)


class Oracle(NodeNet):
    """A NodeNet that says what it is told, whatever it sees."""

    def __init__(self, fine: dict[tuple[int, int, int], Tensor], coarse: dict[tuple[int, int, int], Tensor]) -> None:
        super().__init__(TINY)
        self.told = fine, coarse

    def forward(self, volume: Tensor) -> tuple[Tensor, Tensor]:
        maps = []
        for told, stride in zip(self.told, (FINE_STRIDE, COARSE_STRIDE), strict=True):
            map_ = torch.full((1, 5, *(n // stride for n in volume.shape[2:])), -9.0)
            map_[:, 1:] = 0
            for cell, values in told.items():
                map_[0, :, cell[0], cell[1], cell[2]] = values
            maps.append(map_)
        return maps[0], maps[1]


def cell(score: float, offset: tuple[float, float, float], diameter_mm: float) -> Tensor:
    logit = float(np.log(score / (1 - score)))
    return torch.tensor([logit, *offset, float(np.log(diameter_mm / REFERENCE_DIAMETER_MM))])


def peaks(
    fine: dict[tuple[int, int, int], Tensor], coarse: dict[tuple[int, int, int], Tensor] | None = None
) -> list[Peak]:
    return find_peaks(Oracle(fine, coarse or {}), torch.full(SHAPE, -800.0), 0.1)


def test_a_peak_lies_at_its_cell_plus_its_offset() -> None:
    (found,) = peaks({(5, 6, 7): cell(0.8, (0.25, -0.5, 0.0), 12.0)})
    assert found.center_zyx == pytest.approx((5.25 * 4 + 1.5, 5.5 * 4 + 1.5, 7 * 4 + 1.5))
    assert found.diameter_mm == pytest.approx(12)
    assert found.score == pytest.approx(0.8)


def test_masses_come_from_the_coarse_map() -> None:
    (found,) = peaks({}, {(4, 4, 4): cell(0.7, (0.0, 0.0, 0.0), 60.0)})
    assert found.center_zyx == pytest.approx((4 * 8 + 3.5,) * 3)
    assert found.diameter_mm == pytest.approx(60)


def test_two_peaks_on_one_nodule_are_one_candidate_and_the_better_one() -> None:
    near = {(5, 5, 5): cell(0.8, (0, 0, 0), 14.0), (5, 5, 7): cell(0.6, (-0.9, 0, 0), 14.0)}
    assert [p.score for p in peaks(near)] == pytest.approx([0.8, 0.6])
    near = {(5, 5, 5): cell(0.8, (0, 0, 0), 24.0), (5, 5, 7): cell(0.6, (0, 0, 0), 24.0)}
    assert [p.score for p in peaks(near)] == pytest.approx([0.8])


def test_both_maps_seeing_one_mass_give_one_candidate() -> None:
    both = peaks({(8, 8, 8): cell(0.5, (0, 0, 0), 28.0)}, {(4, 4, 4): cell(0.9, (0, 0, 0), 30.0)})
    assert [p.score for p in both] == pytest.approx([0.9])


def test_what_scores_below_the_least_is_no_candidate() -> None:
    assert peaks({(5, 5, 5): cell(0.09, (0, 0, 0), 8.0)}) == []


def test_tiles_and_one_pass_see_the_same() -> None:
    torch.manual_seed(0)
    network = NodeNet(TINY).eval().requires_grad_(False)
    hu = torch.randn((160, 32, 32), generator=torch.Generator().manual_seed(1)) * 200 - 700
    whole, tiled = module._tiled(network, hu, 1024), module._tiled(network, hu, 96)
    for one, other in zip(whole, tiled, strict=True):
        assert one.shape == other.shape
        inner = (one - other).abs()
        assert float(inner.max()) < 0.05 * float(one.std() + 1)


def test_when_memory_runs_out_smaller_tiles_are_tried_and_then_the_operator_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []

    class Hungry(NodeNet):
        def forward(self, volume: Tensor) -> tuple[Tensor, Tensor]:
            tried.append(volume.shape[2])
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")

    with pytest.raises(OutOfMemory, match="memory"):
        find_peaks(Hungry(TINY), torch.zeros((320, 16, 16)), 0.1)
    assert tried == [320, 192, 128]


def test_other_errors_of_the_network_are_not_taken_for_memory() -> None:
    class Broken(NodeNet):
        def forward(self, volume: Tensor) -> tuple[Tensor, Tensor]:
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        find_peaks(Broken(TINY), torch.zeros(SHAPE), 0.1)


@dataclass(frozen=True)
class BoxLungs:
    """Lungs that are a box in LPS mm."""

    low: Point
    high: Point

    def contains(self, points_lps_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
        return ((points_lps_mm >= self.low) & (points_lps_mm <= self.high)).all(axis=1)

    def bounds_lps_mm(self) -> tuple[Point, Point]:
        return self.low, self.high


def test_the_network_sees_the_lungs_and_a_margin_whatever_the_orientation() -> None:
    affine = np.array([[0, 0, -0.8, 150], [0, -0.8, 0, 140], [2.0, 0, 0, -300], [0, 0, 0, 1.0]])
    ct = upright(np.zeros((150, 350, 375), np.int16), affine)
    lungs = BoxLungs((-100.0, -90.0, -250.0), (90.0, 80.0, -60.0))
    lines = module.lung_box(ct, lungs, 1.25)
    first = ct.lps_mm(np.array([[line.start for line in lines]]))[0]
    last = ct.lps_mm(np.array([[line.start + line.step * (line.count - 1) for line in lines]]))[0]
    assert (first <= np.array(lungs.low) - module.MARGIN_MM + 1e-6).all()
    assert (last >= np.array(lungs.high) + module.MARGIN_MM - 1.25).all()
    assert all(line.count % 16 == 0 for line in lines)
    assert [line.step * s for line, s in zip(lines, ct.spacing_zyx_mm, strict=True)] == pytest.approx([1.25] * 3)
