"""The RetinaNet of a MONAI bundle, built by us with pip's monai: a volume in, candidates out."""

import pickle
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from node.errors import ModelFailed, WeightsError
from workers.detect import Candidate, LungField
from workers.models.bundle import WEIGHTS, Recipe, recipe
from workers.models.grid import Grid, Shape
from workers.networks.budget import Budget, largest_that_fits
from workers.networks.precision import fast_bf16
from workers.volume import Volume

# Lin 2017, https://arxiv.org/abs/1708.02002, as in MONAI's detection tutorial on LUNA16
OVERLAP = 0.25
"""Share of a window that neighbours see, too; the bundle's."""
LEVELS = {"layer1": 256, "layer2": 512}
"""Of the backbone, with their channels."""
NOT_WEIGHTS = (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, TypeError, KeyError, AttributeError)
"""What torch.load raises for what is no file of tensors, code in a pickle included."""


class RetinaNetDetector:
    """A bundle's network on one device."""

    def __init__(self, wanted: Recipe, detector: nn.Module, device: str) -> None:
        self._patch = wanted.patch
        self._multiple = wanted.size_divisible[2]
        self._shape = Shape(wanted.axes, wanted.spacing_mm, wanted.size_divisible, wanted.hu_window)
        self._detector: Any = detector
        self._device = device

    def find(self, volume: Volume, lungs: LungField, may_take: Budget) -> tuple[Candidate, ...]:
        """Candidates in the lungs, best first. Raises OutOfMemory, ModelFailed."""
        grid = Grid.over(volume, lungs, self._shape)
        image = grid.image()[None, None]
        boxes, scores = largest_that_fits(may_take.tile_depths, lambda depth: self.boxes(image, depth))
        corners = boxes.double().numpy()
        low, high = corners[:, :3], corners[:, 3:]
        sizes_mm = (high - low) * np.array(self._shape.spacing_mm)
        rows = [(low + high) / 2, sizes_mm.mean(axis=1, keepdims=True), scores.double().numpy()[:, None]]
        return grid.candidates(np.concatenate(rows, axis=1), lungs)

    def boxes(self, image: Tensor, depth: int) -> tuple[Tensor, Tensor]:
        """Image (1, 1, x, y, z), windows of `depth` slices at most, to boxes (n, 6) as xyzxyz in voxels, scores (n)."""
        x, y, z = (min(*sides) for sides in zip(self._patch, image.shape[2:], strict=True))  # it pads to the window
        roi = (x, y, max(min(z, depth) // self._multiple, 1) * self._multiple)
        self._detector.set_sliding_window_inferer(roi, overlap=OVERLAP, sw_batch_size=1, mode="constant", device="cpu")
        bf16 = fast_bf16(self._device)
        with torch.inference_mode(), torch.autocast(self._device, dtype=torch.bfloat16, enabled=bf16):
            (found,) = self._detector(image.to(self._device), use_inferer=True)
        return found["box"].float().cpu(), found["label_scores"].float().cpu()


def load(files: Mapping[str, bytes], device: str) -> RetinaNetDetector:
    """Build the network of a bundle and put its weights in.

    Raises WeightsError where they do not fit, or hold anything but numbers, and where the extra is missing.
    """
    wanted = recipe(files)
    network = _network(wanted)
    try:
        state = torch.load(BytesIO(files[WEIGHTS]), map_location="cpu", weights_only=True)
    except NOT_WEIGHTS as error:
        raise WeightsError(f"{WEIGHTS} holds something else than tensors, and is not loaded.") from error
    state = state.get("model", state) if isinstance(state, dict) else state
    try:
        network.load_state_dict(state, assign=True)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise WeightsError(f"The tensors of {WEIGHTS} are not those of the bundle's network.") from error
    if not all(bool(torch.isfinite(each).all()) for each in network.state_dict().values()):
        raise WeightsError(f"{WEIGHTS} holds something that is not a number.")
    network.register_forward_hook(_require_numbers)
    return RetinaNetDetector(wanted, _selecting(wanted, network.eval().float().to(device)), device)


def _network(wanted: Recipe) -> nn.Module:
    """Raises WeightsError without the extra."""
    try:
        from monai.apps.detection.networks.retinanet_network import RetinaNet
        from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool
        from monai.networks.nets.resnet import resnet50
    except ImportError as error:
        raise WeightsError("A MONAI bundle needs the extra of that name: install nodus[monai].") from error

    class Pyramid(nn.Module):
        """MONAI's BackboneWithFPN, which wants torchvision for the four lines of its loop."""

        def __init__(self) -> None:
            super().__init__()
            backbone = resnet50(spatial_dims=3, n_input_channels=1, conv1_t_stride=[2, 2, 1], conv1_t_size=[7, 7, 7])
            kept = ("conv1", "bn1", "act", "maxpool", *LEVELS)
            self.body = nn.ModuleDict({name: backbone.get_submodule(name) for name in kept})
            self.fpn = FeaturePyramidNetwork(3, list(LEVELS.values()), 256, LastLevelMaxPool(3))
            self.out_channels = 256

        def forward(self, x: Tensor) -> Any:
            levels = {}
            for name, layer in self.body.items():
                x = layer(x)  # (n, 64 .. 512, x/2 .. x/8, y/2 .. y/8, z .. z/4)
                if name in LEVELS:
                    levels[name] = x
            return self.fpn(levels)

    with torch.device("meta"):  # the file's tensors take the places of these
        network: nn.Module = RetinaNet(3, 1, len(wanted.anchors), Pyramid(), wanted.size_divisible)
    return network.requires_grad_(False)


def _selecting(wanted: Recipe, network: nn.Module) -> nn.Module:
    """The network with its anchors and its selection of boxes."""
    from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector as Selecting
    from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape

    detector: Any = Selecting(network, AnchorGeneratorWithAnchorShape(wanted.scales, wanted.anchors))
    detector.set_target_keys(box_key="box", label_key="label")
    detector.set_box_selector_parameters(
        score_thresh=wanted.score_thresh,
        nms_thresh=wanted.nms_thresh,
        topk_candidates_per_level=wanted.topk_candidates_per_level,
        detections_per_img=wanted.detections_per_img,
    )
    selecting: nn.Module = detector.eval()
    return selecting


def _require_numbers(network: nn.Module, given: Any, maps: Mapping[str, list[Tensor]]) -> None:
    """The selection of boxes drops what is not a number without a word, and nothing found would look like a result."""
    if not all(bool(torch.isfinite(each).all()) for levels in maps.values() for each in levels):
        raise ModelFailed("The detector gave something that is not a number: its answer is none.")
