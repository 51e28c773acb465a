"""A MONAI bundle of lung_nodule_ct_detection: its literal values, read without executing anything of it.

Layout and conventions: Project-MONAI/model-zoo, models/lung_nodule_ct_detection, 0.1 to 0.6.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from node.errors import WeightsError
from workers.models.store import VERSION

METADATA, INFERENCE, WEIGHTS = "configs/metadata.json", "configs/inference.json", "models/model.pt"
FILES = (METADATA, INFERENCE, WEIGHTS)
TASK = "CT lung nodule detection"
NETWORK = {
    "backbone": "$monai.networks.nets.resnet.resnet50(spatial_dims=3,n_input_channels=1,"
    "conv1_t_stride=[2,2,1],conv1_t_size=[7,7,7])",
    "feature_extractor": "$monai.apps.detection.networks.retinanet_network.resnet_fpn_feature_extractor("
    "@backbone,3,False,[1,2],None)",
}
"""Expressions that we compare and never evaluate: the one network that `retinanet` builds."""

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Length = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, gt=0)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]


class Recipe(BaseModel):
    """What a bundle says of its input, its anchors and its selection of boxes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    version: str = Field(pattern=f"^{VERSION.pattern}$")
    axes: str = Field(pattern="^RAS$")
    spacing_mm: tuple[Length, Length, Length]
    hu_window: tuple[Number, Number]
    size_divisible: tuple[Count, Count, Count]
    patch: tuple[Count, Count, Count]
    """Largest input of one pass, voxels."""
    scales: tuple[Count, Count, Count]
    anchors: tuple[tuple[Length, Length, Length], ...]
    """Voxels."""
    score_thresh: Share
    nms_thresh: Share
    topk_candidates_per_level: Count
    detections_per_img: Count


def recipe(files: Mapping[str, bytes]) -> Recipe:
    """Read the literal values. Raises WeightsError where it is a bundle of something else, or is not understood."""
    try:
        metadata, config = (json.loads(files[name]) for name in (METADATA, INFERENCE))
        if metadata.get("task") != TASK:
            raise WeightsError(f"The bundle's task is not {TASK!r}: this is another model.")
        _require_network(config)
        return Recipe(version=metadata.get("version"), **_input(config), **_boxes(config))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise WeightsError(f"The bundle's {first['loc'][0]} is not understood: {first['msg']}.") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WeightsError("The bundle's configs are not those of lung_nodule_ct_detection.") from error


def _require_network(config: Mapping[str, Any]) -> None:
    for key, known in NETWORK.items():
        if re.sub(r"\s", "", str(config[key])) != known:
            raise WeightsError(f"The bundle's {key} is not the one that Nodus builds: this is another network.")
    network = config["network_def"]
    sizes = [_literal(config, network[key]) for key in ("spatial_dims", "num_classes", "num_anchors")]
    if sizes != [3, 1, len(config["anchor_generator"]["base_anchor_shapes"])]:
        raise WeightsError("The bundle's network_def is not that of a detector of nodules alone.")


def _literal(config: Mapping[str, Any], value: Any) -> Any:
    """A value, or the one that `@key` names; expressions stay the text that they are."""
    return config[value[1:]] if isinstance(value, str) and value.startswith("@") else value


def _input(config: Mapping[str, Any]) -> dict[str, Any]:
    """Orientation, spacing and grey values."""
    steps = {step["_target_"]: step for step in config["preprocessing"]["transforms"]}
    scaling = steps["ScaleIntensityRanged"]
    if (scaling["b_min"], scaling["b_max"], scaling["clip"]) != (0, 1, True):
        raise WeightsError("The bundle scales grey values to something else than 0 to 1, clipped.")
    return {
        "axes": steps["Orientationd"]["axcodes"],
        "spacing_mm": steps["Spacingd"]["pixdim"],
        "hu_window": (scaling["a_min"], scaling["a_max"]),
    }


def _boxes(config: Mapping[str, Any]) -> dict[str, Any]:
    """Anchors and selection of boxes; the numbers of the selection stand in an expression, and are cut out of it."""
    generator = config["anchor_generator"]
    if generator["_target_"].rpartition(".")[2] != "AnchorGeneratorWithAnchorShape":
        raise WeightsError("The bundle's anchor_generator is not the one that Nodus builds.")
    (selection,) = (each for each in config["detector_ops"] if "set_box_selector_parameters(" in each)
    numbers = {key: json.loads(number) for key, number in re.findall(r"(\w+)\s*=\s*([\d.]+)\s*[,)]", selection)}
    return numbers | {
        "size_divisible": _literal(config, config["network_def"]["size_divisible"]),
        "patch": config["infer_patch_size"],
        "scales": generator["feature_map_scales"],
        "anchors": generator["base_anchor_shapes"],
    }
