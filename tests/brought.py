"""Models as a site brings them along, made here: a MONAI bundle and an ONNX file that fire where it is brightest."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydicom.uid import CTImageStorage
from torch import nn

from node.domain.finding import Point
from tests.peers import require_library
from workers.models import bundle, retinanet
from workers.volume import SliceSource, Volume

DIAMETER_MM, SCORE = 9.0, 0.8
"""What the ONNX model says of every place."""


@dataclass(frozen=True)
class Everywhere:
    """Lungs that fill a volume."""

    volume: Volume

    def contains(self, points_lps_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.ones(len(points_lps_mm), bool)

    def bounds_lps_mm(self) -> tuple[Point, Point]:
        corners = self.volume.to_lps_mm(np.array([[0, 0, 0], np.array(self.volume.hu.shape) - 1], np.float64))
        low, high = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def bump(at_lps_mm: Point, sigma_mm: float = 4.0) -> Callable[[NDArray[np.float64]], NDArray[np.int16]]:
    """HU at points (..., 3) in LPS mm: lung, and one place that is brightest in its middle."""

    def hu(points: NDArray[np.float64]) -> NDArray[np.int16]:
        square = ((points - np.array(at_lps_mm)) ** 2).sum(axis=-1)
        return np.rint(-850 + 1000 * np.exp(-square / (2 * sigma_mm**2))).astype(np.int16)

    return hu


def volume_of(
    hu: Callable[[NDArray[np.float64]], NDArray[np.int16]], shape: tuple[int, int, int], affine: NDArray[np.float64]
) -> Volume:
    """A volume (z, y, x) that shows what `hu` says, whatever its axes."""
    points = np.moveaxis(np.indices(shape, np.float64), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    depth, height, width = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    slices = tuple(SliceSource(f"1.2.3.{z}", CTImageStorage, None, z) for z in range(shape[0]))
    return Volume(hu(points), (depth, height, width), affine, slices)


def axial(
    spacing_zyx_mm: tuple[float, float, float], signs: tuple[int, int, int], origin: Point
) -> NDArray[np.float64]:
    """Affine of a volume whose z, y, x rise or fall with LPS z, y, x."""
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]] = np.array(spacing_zyx_mm) * signs
    affine[:, 3] = (*origin, 1.0)
    return affine


def inference_json(**changes: Any) -> dict[str, Any]:
    """configs/inference.json of lung_nodule_ct_detection 0.6, as far as anything of it could matter."""
    selection = "score_thresh=0.02,topk_candidates_per_level=1000,nms_thresh=0.22,detections_per_img=300"
    return {
        "imports": ["$import os"],
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "spatial_dims": 3,
        "num_classes": 1,
        "size_divisible": [16, 16, 8],
        "infer_patch_size": [512, 512, 192],
        "anchor_generator": {
            "_target_": "monai.apps.detection.utils.anchor_utils.AnchorGeneratorWithAnchorShape",
            "feature_map_scales": [1, 2, 4],
            "base_anchor_shapes": [[6, 8, 4], [8, 6, 5], [10, 10, 6]],
        },
        **bundle.NETWORK,
        "network_def": {
            "_target_": "RetinaNet",
            "spatial_dims": "@spatial_dims",
            "num_classes": "@num_classes",
            "num_anchors": 3,
            "feature_extractor": "@feature_extractor",
            "size_divisible": "@size_divisible",
        },
        "detector_ops": [
            "$@detector.set_target_keys(box_key='box', label_key='label')",
            f"$@detector.set_box_selector_parameters({selection})",
        ],
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
                {"_target_": "Spacingd", "keys": "image", "pixdim": [0.703125, 0.703125, 1.25]},
                {"_target_": "ScaleIntensityRanged", "a_min": -1024.0, "a_max": 300.0, "b_min": 0.0, "b_max": 1.0}
                | {"clip": True},
            ],
        },
    } | changes


def write_configs(folder: Path, config: dict[str, Any] | None = None, **metadata: Any) -> Path:
    """A bundle without weights."""
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    (folder / "models").mkdir(exist_ok=True)
    about = {"version": "0.6.8", "task": bundle.TASK, "name": "Lung nodule CT detection"} | metadata
    (folder / bundle.METADATA).write_text(json.dumps(about))
    (folder / bundle.INFERENCE).write_text(json.dumps(config or inference_json()))
    return folder


def write_bundle(folder: Path) -> Path:
    """A bundle in the true layout, whose network fires where the image is brightest."""
    require_library("monai", "monai")
    write_configs(folder)
    torch.save(firing_at_the_brightest().state_dict(), folder / bundle.WEIGHTS)
    return folder


def firing_at_the_brightest() -> nn.Module:
    """The bundle's network: channel 0 carries the blurred image to the scores, and boxes are the anchors."""
    files = {name: json.dumps(each).encode() for name, each in _configs().items()}
    network = retinanet._network(bundle.recipe(files)).to_empty(device="cpu")
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            buffer.fill_(1 if name.endswith("running_var") else 0)
        for name, parameter in network.named_parameters():
            is_norm = parameter.ndim == 1 and name.endswith("weight")
            parameter.fill_(1.0 if is_norm else 0.0)
            if parameter.ndim == 5 and _carries(name):
                middle = [n // 2 for n in parameter.shape[2:]]
                parameter[0, 0, middle[0], middle[1], middle[2]] = 1.0
        network.get_parameter("feature_extractor.body.conv1.weight")[0, 0] = 1 / 343
        network.get_parameter("classification_head.cls_logits.weight")[:, 0, 1, 1, 1] = 0.5
        network.get_parameter("classification_head.cls_logits.bias").fill_(-4.0)
    return network


def _carries(name: str) -> bool:
    """Of the pyramid the finest level alone: the others have cells of 6 mm and more."""
    return any(part in name for part in ("downsample", "inner_blocks.0", "layer_blocks.0", "classification_head.conv."))


def _configs() -> dict[str, Any]:
    return {bundle.METADATA: {"version": "0", "task": bundle.TASK}, bundle.INFERENCE: inference_json()}


CARD = """\
task = "lung nodule detection"
version = "1.2"
file = "peak.onnx"
axes = "{axes}"
spacing_mm = [{spacing_mm}]
hu_window = [-1024, 300]
least_score = 0.1
"""


def write_onnx(folder: Path, axes: str = "SPL", spacing_mm: str = "2.0, 1.5, 1.0", more: str = "") -> Path:
    """A folder with model.toml and an ONNX file that names the brightest voxel of its input."""
    require_library("onnx", "dev")
    import onnx

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.toml").write_text(CARD.format(axes=axes, spacing_mm=spacing_mm) + more)
    onnx.save(brightest_voxel(), folder / "peak.onnx")
    return folder


def brightest_voxel(score: float = SCORE, size: tuple[int | str, ...] = ("a", "b", "c")) -> Any:
    """ONNX: (1, 1, a, b, c) to (1, 5), the indices of the largest value, a diameter and a score."""
    from onnx import TensorProto, helper, numpy_helper

    ints = {"minus_one": [-1], "one": [1], "from": [2], "to": [5], "b_at": [1], "c_at": [2]}
    constants = [helper.make_tensor(name, TensorProto.INT64, [1], value) for name, value in ints.items()]
    constants.append(numpy_helper.from_array(np.array([DIAMETER_MM, score], np.float32), "said"))
    steps = [
        ("Reshape", ["image", "minus_one"], "flat"),
        ("ArgMax", ["flat"], "index"),
        ("Shape", ["image"], "shape5"),
        ("Slice", ["shape5", "from", "to"], "shape"),
        ("Gather", ["shape", "b_at"], "b"),
        ("Gather", ["shape", "c_at"], "c"),
        ("Mod", ["index", "c"], "at_c"),
        ("Div", ["index", "c"], "row"),
        ("Mod", ["row", "b"], "at_b"),
        ("Div", ["row", "b"], "at_a"),
        ("Concat", ["at_a", "at_b", "at_c"], "at"),
        ("Cast", ["at"], "place"),
        ("Concat", ["place", "said"], "all"),
        ("Unsqueeze", ["all", "zero"], "candidates"),
    ]
    constants.append(helper.make_tensor("zero", TensorProto.INT64, [1], [0]))
    extra: dict[str, dict[str, int]] = {
        "ArgMax": {"axis": 0, "keepdims": 1},
        "Concat": {"axis": 0},
        "Cast": {"to": TensorProto.FLOAT},
    }
    nodes = [helper.make_node(kind, inputs, [output], **extra.get(kind, {})) for kind, inputs, output in steps]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, *size])
    candidates = helper.make_tensor_value_info("candidates", TensorProto.FLOAT, ["n", 5])
    graph = helper.make_graph(nodes, "brightest voxel", [image], [candidates], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
