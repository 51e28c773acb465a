"""How much a reading does at once: less memory, the same findings; and what counts as too little memory."""

import math

import numpy as np
import pytest
import torch

from node.errors import OutOfMemory
from tests.chests import Ball, Chest, chest
from tests.scarcity import MORE_THAN_THERE_IS, limited_memory
from workers.classify import judge
from workers.detect import Candidate, detect, lung_box
from workers.detect import _maps as maps_of
from workers.lungs import segment_lungs
from workers.networks import weights
from workers.networks.budget import budget, is_memory, naming_memory
from workers.networks.nodenet import NodeNet
from workers.networks.operating import OperatingPoint
from workers.networks.patches import sample, upright
from workers.segment import segment

BALLS = (Ball((-72.0, 0.0, 0.0), 7.0), Ball((-60.0, 30.0, 40.0), 5.0), Ball((-90.0, -20.0, -50.0), 9.0))


def test_each_step_of_economy_takes_less_and_the_last_leaves_the_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    steps = [budget(economy) for economy in range(3)]
    assert [step.device for step in steps] == ["cuda", "cuda", "cpu"]
    assert [max(step.tile_depths) for step in steps] == sorted({max(s.tile_depths) for s in steps}, reverse=True)
    assert [step.batch for step in steps] == [16, 4, 1]
    assert budget(3) == budget(2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert {budget(economy).device for economy in range(3)} == {"cpu"}


def test_tiles_are_multiples_of_what_the_network_shrinks_by() -> None:
    assert all(depth % 16 == 0 for economy in range(3) for depth in budget(economy).tile_depths)


ROUNDING = 0.02
"""Of a score anywhere: sums in another order, in bfloat16 on some processors."""


def test_the_same_heat_is_seen_with_the_least_memory() -> None:
    """Everywhere. Which of two faint peaks side by side is the higher may turn with the last digit."""
    volume, _, _ = chest(Chest(left=False, balls=BALLS))
    network = weights.ready("detector", "cpu")
    assert isinstance(network, NodeNet)
    ct = upright(volume.hu, volume.affine)
    hu = sample(ct.hu, lung_box(ct, segment_lungs(volume), network.config.spacing_mm))
    usual, least = (maps_of(network, hu, budget(economy).tile_depths) for economy in (0, 2))
    for one, other in zip(usual, least, strict=True):
        assert float((torch.sigmoid(one[0]) - torch.sigmoid(other[0])).abs().max()) < ROUNDING
        assert float(torch.sigmoid(one[0]).max()) > OperatingPoint().finding_score


def test_the_same_nodules_are_found_with_the_least_memory() -> None:
    volume, _, _ = chest(Chest(left=False, balls=BALLS))
    lungs, point = segment_lungs(volume), OperatingPoint(candidate_score=OperatingPoint().finding_score)
    usual, least = (detect(volume, lungs, point, budget(economy)) for economy in (0, 2))
    assert len(usual) == len(least) >= len(BALLS)
    for one in usual:
        other = min(least, key=lambda each: math.dist(each.center_lps_mm, one.center_lps_mm))
        assert math.dist(other.center_lps_mm, one.center_lps_mm) < 0.1
        assert other.score == pytest.approx(one.score, abs=0.005)
        assert other.diameter_mm == pytest.approx(one.diameter_mm, abs=0.3)


def test_nodules_are_judged_and_outlined_alike_one_at_a_time() -> None:
    volume, _, _ = chest(Chest(balls=BALLS))
    places = [Candidate(ball.center_lps_mm, 2 * ball.radius_mm, 0.8) for ball in BALLS]
    usual, least = (judge(volume, places, budget(economy)) for economy in (0, 2))
    assert [one.score for one in least] == pytest.approx([one.score for one in usual], abs=0.01)
    masks, others = (segment(volume, places, budget(economy)) for economy in (0, 2))
    for one, other in zip(masks, others, strict=True):
        assert (one.offset_zyx, one.voxels.shape) == (other.offset_zyx, other.voxels.shape)
        assert int((one.voxels != other.voxels).sum()) <= 0.002 * one.voxels.sum()


def test_torch_and_numpy_without_memory_are_out_of_memory() -> None:
    with limited_memory():
        with pytest.raises(OutOfMemory), naming_memory():
            torch.empty(MORE_THAN_THERE_IS, dtype=torch.uint8)
        with pytest.raises(OutOfMemory), naming_memory():
            np.empty(MORE_THAN_THERE_IS, dtype=np.uint8)


@pytest.mark.parametrize(
    "text",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "std::bad_alloc",
    ],
)
def test_the_gpu_without_memory_is_out_of_memory(text: str) -> None:
    assert is_memory(RuntimeError(text))
    assert is_memory(torch.OutOfMemoryError(text))


def test_other_errors_keep_their_names() -> None:
    with pytest.raises(RuntimeError, match="shapes"), naming_memory():
        raise RuntimeError("shapes do not fit")


def test_a_device_has_its_own_copy_of_a_network() -> None:
    on_cpu = weights.ready("detector", "cpu")
    elsewhere = weights.ready("detector", "meta")
    assert {each.device.type for each in on_cpu.parameters()} == {"cpu"}
    assert {each.device.type for each in elsewhere.parameters()} == {"meta"}
