"""A MONAI bundle on disk detects, built and loaded by us: where its boxes lie in the patient, and what is refused."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from node.errors import ModelFailed, WeightsError
from tests.brought import Everywhere, axial, bump, inference_json, volume_of, write_bundle, write_configs
from tests.peers import require_library
from workers.models import bundle, retinanet
from workers.models.bundle import recipe
from workers.networks.budget import budget

pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")
SPACING_ZYX = (1.25, 0.703125, 0.703125)


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that fires where it is brightest."""
    return write_bundle(tmp_path_factory.mktemp("bundle"))


def files_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in bundle.FILES}


@pytest.fixture(scope="module")
def detector(brought: Path) -> retinanet.RetinaNetDetector:
    return retinanet.load(files_of(brought), "cpu")


def test_boxes_lie_where_monai_puts_them_in_the_patient(detector: retinanet.RetinaNetDetector) -> None:
    """The reference: the image in RAS from the same function, MONAI's own selection, affine and box modes."""
    from monai.apps.detection.transforms.array import AffineBox, ConvertBoxMode

    at = (7.0, -8.0, 142.0)
    stored = axial(SPACING_ZYX, (1, -1, 1), (-10.0, 15.0, 125.0))
    volume = volume_of(bump(at), (24, 48, 48), stored)
    found = detector.find(volume, Everywhere(volume), budget())

    low, high = Everywhere(volume).bounds_lps_mm()
    ras = np.diag([0.703125, 0.703125, 1.25, 1.0])
    ras[:3, 3] = (-high[0], -high[1], low[2])
    points = np.moveaxis(np.indices((48, 48, 24), np.float64), 0, -1) @ ras[:3, :3].T + ras[:3, 3]
    hu = torch.from_numpy(bump(at)(points * [-1, -1, 1])).float()
    boxes, scores = detector.boxes(((hu + 1024) / 1324).clamp(0, 1)[None, None], 192)
    world = ConvertBoxMode("xyzxyz", "cccwhd")(AffineBox()(boxes, ras)).numpy()
    best = int(scores.argmax())
    expected = world[best, :3] * [-1, -1, 1]
    assert found[0].center_lps_mm == pytest.approx(expected.tolist(), abs=0.01)
    assert found[0].diameter_mm == pytest.approx(float(world[best, 3:].mean()), abs=0.01)
    assert found[0].score == pytest.approx(float(scores[best]), abs=1e-3)
    assert np.linalg.norm(expected - at) < 4


@pytest.mark.parametrize("signs", [(1, 1, -1), (-1, -1, 1)])
def test_the_same_place_is_found_however_the_volume_is_stored(
    detector: retinanet.RetinaNetDetector, signs: tuple[int, int, int]
) -> None:
    spacing, shape = (2.5, 0.6, 0.8), (12, 56, 42)
    origin = tuple(-0.5 * s * n * sign for s, n, sign in zip(spacing, shape, signs, strict=True))[::-1]
    at = (7.0, -6.0, 6.0)
    volume = volume_of(bump(at), shape, axial(spacing, signs, (origin[0], origin[1], origin[2])))
    best = detector.find(volume, Everywhere(volume), budget())[0]
    assert np.linalg.norm(np.array(best.center_lps_mm) - at) < 6, "an axis that is flipped moves it by 12 mm or more"


def test_the_literal_values_of_a_bundle_are_read() -> None:
    read = recipe(configs())
    assert (read.axes, read.spacing_mm, read.hu_window) == ("RAS", (0.703125, 0.703125, 1.25), (-1024, 300))
    assert (read.score_thresh, read.nms_thresh) == (0.02, 0.22)
    assert (read.topk_candidates_per_level, read.detections_per_img) == (1000, 300)
    assert read.size_divisible == (16, 16, 8)


def configs(config: dict[str, Any] | None = None, **metadata: Any) -> dict[str, bytes]:
    about = {"version": "0.6.8", "task": bundle.TASK} | metadata
    return {
        bundle.METADATA: json.dumps(about).encode(),
        bundle.INFERENCE: json.dumps(config or inference_json()).encode(),
    }


def spoiled(spoil: Callable[[dict[str, Any]], object]) -> dict[str, bytes]:
    config = inference_json()
    spoil(config)
    return configs(config)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (configs(task="Spleen segmentation"), "task is not"),
        (configs(version=6), "version is not understood"),
        (configs(version="$print(1)"), "version is not understood"),
        (configs({"imports": []}), "configs are not those"),
        (configs() | {bundle.INFERENCE: b"{"}, "configs are not those"),
        (configs() | {bundle.METADATA: b"[]"}, "configs are not those"),
        (spoiled(lambda c: c.update(backbone="$exec('x')")), "backbone is not the one"),
        (spoiled(lambda c: c.update(num_classes=5)), "network_def"),
        (spoiled(lambda c: c["anchor_generator"].update(_target_="scripts.own.Anchors")), "anchor_generator"),
        (spoiled(lambda c: c["anchor_generator"].update(feature_map_scales="$[1, 2, 4]")), "scales is not understood"),
        (spoiled(lambda c: c.update(infer_patch_size=[512, 512])), "patch is not understood"),
        (spoiled(lambda c: c.update(size_divisible="$[16] * 3")), "size_divisible is not understood"),
        (spoiled(lambda c: c.update(detector_ops=[])), "configs are not those"),
        (spoiled(lambda c: c["preprocessing"]["transforms"][2].update(pixdim=[0.7, -0.7, 1.25])), "spacing_mm"),
        (spoiled(lambda c: c["preprocessing"]["transforms"][1].update(axcodes="LPS")), "axes is not understood"),
        (spoiled(lambda c: c["preprocessing"]["transforms"][3].update(b_max=255)), "grey values"),
    ],
)
def test_another_bundle_is_refused_in_one_sentence(files: dict[str, bytes], why: str) -> None:
    with pytest.raises(WeightsError, match=why):
        recipe(files)


class Runs:
    """A pickle that runs a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (self.command,)


def test_weights_that_want_to_run_something_are_refused_and_run_nothing(tmp_path: Path) -> None:
    require_library("monai", "monai")
    ran = tmp_path / "ran"
    for raw in (_saved(tmp_path, Runs(f"touch {ran}")), pickle.dumps(Runs(f"touch {ran}"), protocol=2)):
        with pytest.raises(WeightsError, match="something else than tensors"):
            retinanet.load(configs() | {bundle.WEIGHTS: raw}, "cpu")
    assert not ran.exists()


def _saved(folder: Path, what: Any) -> bytes:
    torch.save(what, folder / "weights.pt")
    return (folder / "weights.pt").read_bytes()


def test_tensors_of_another_network_and_numbers_that_are_none_are_refused(brought: Path, tmp_path: Path) -> None:
    state = torch.load(brought / bundle.WEIGHTS, weights_only=True)
    wrong_shape = state | {"classification_head.cls_logits.bias": torch.zeros(4)}
    missing = {key: value for key, value in state.items() if "regression" not in key}
    for each in (wrong_shape, missing, {}, [1, 2], torch.zeros(3)):
        with pytest.raises(WeightsError, match="are not those of the bundle's network"):
            retinanet.load(configs() | {bundle.WEIGHTS: _saved(tmp_path, each)}, "cpu")
    nan = state | {"classification_head.cls_logits.bias": torch.full((3,), float("nan"))}
    with pytest.raises(WeightsError, match="not a number"):
        retinanet.load(configs() | {bundle.WEIGHTS: _saved(tmp_path, nan)}, "cpu")


def test_weights_under_the_key_of_a_checkpoint_load_as_well(brought: Path, tmp_path: Path) -> None:
    state = torch.load(brought / bundle.WEIGHTS, weights_only=True)
    assert retinanet.load(configs() | {bundle.WEIGHTS: _saved(tmp_path, {"model": state})}, "cpu")


@pytest.mark.filterwarnings("ignore:cls_logits is NaN or Inf")
def test_an_answer_that_is_not_a_number_is_an_error_and_not_a_negative_result(brought: Path, tmp_path: Path) -> None:
    state = torch.load(brought / bundle.WEIGHTS, weights_only=True)
    huge = state | {"classification_head.cls_logits.weight": torch.full((3, 256, 3, 3, 3), 3e38)}
    network = retinanet.load(configs() | {bundle.WEIGHTS: _saved(tmp_path, huge)}, "cpu")
    volume = volume_of(bump((0.0, 0.0, 0.0)), (8, 16, 16), axial((1.25, 0.7, 0.7), (1, 1, 1), (-5.0, -5.0, -5.0)))
    with pytest.raises(ModelFailed, match="not a number"):
        network.find(volume, Everywhere(volume), budget())


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    for name in [each for each in sys.modules if each.split(".")[0] == "monai"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "monai", None)
    files = {name: (write_configs(tmp_path) / name).read_bytes() for name in (bundle.METADATA, bundle.INFERENCE)}
    with pytest.raises(WeightsError, match=r"install nodus\[monai\]"):
        retinanet.load(files | {bundle.WEIGHTS: b""}, "cpu")
