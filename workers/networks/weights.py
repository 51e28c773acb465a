"""Model files by name: version, SHA-256, and loading that refuses anything else."""

import hashlib
import json
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from node.errors import WeightsError
from workers.networks.classifier import Classifier, ClassifierConfig
from workers.networks.composition import Composition, CompositionConfig
from workers.networks.nodenet import NodeNet, NodeNetConfig
from workers.networks.segmenter import Segmenter, SegmenterConfig

FOLDER = Path(__file__).parent / "weights"
KINDS: dict[str, tuple[type, type]] = {
    "detector": (NodeNet, NodeNetConfig),
    "segmenter": (Segmenter, SegmenterConfig),
    "classifier": (Classifier, ClassifierConfig),
    "composition": (Composition, CompositionConfig),
}
"""Name of a model to its network and the network's configuration."""


@dataclass(frozen=True)
class Record:
    """One line of the registry `weights/registry.json`."""

    version: str
    file: str
    sha256: str


@dataclass(frozen=True)
class Loaded:
    """A network in memory, and the record of the file that it came from."""

    network: nn.Module
    record: Record


def registry(folder: Path = FOLDER) -> dict[str, Record]:
    """All recorded models by name; WeightsError where the registry is missing or broken."""
    try:
        entries = json.loads((folder / "registry.json").read_text())
        return {name: Record(**entry) for name, entry in entries.items()}
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError("The registry of model weights cannot be read: install Nodus again.") from error


def load(name: str, folder: Path = FOLDER) -> nn.Module:
    """Build the network `name` with its recorded weights, in evaluation mode, on the CPU.

    Raises WeightsError where the file is missing, its SHA-256 is not the recorded one, or it does not fit.
    """
    return _checked(name, folder).network


def _checked(name: str, folder: Path) -> Loaded:
    record = registry(folder).get(name)
    if record is None:
        raise WeightsError(f"No weights are recorded under the name {name!r}.")
    path = folder / record.file
    if not path.is_file():
        raise WeightsError(f"The weights of {name!r} are missing: {record.file} is not installed.")
    if sha256_of(path) != record.sha256:
        raise WeightsError(f"The weights of {name!r} are not the recorded ones: the SHA-256 of {record.file} differs.")
    return Loaded(read(name, path), record)


def read(name: str, path: Path) -> nn.Module:
    """Build a network from a safetensors file of any origin: for training and for weights that were just checked."""
    network_type, config_type = KINDS[name]
    try:
        with safe_open(path, framework="pt") as file:
            settings: dict[str, Any] = json.loads((file.metadata() or {}).get("config", "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        config = config_type(**{key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()})
        network: nn.Module = network_type(config)
        network.load_state_dict(tensors)
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise WeightsError(f"The weights of {name!r} do not fit this version of the network.") from error
    return network.eval().requires_grad_(False)


def save(network: nn.Module, path: Path) -> str:
    """Write a network's weights with its configuration; returns the file's SHA-256."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    config: Any = network.config
    save_file(tensors, path, metadata={"config": json.dumps(asdict(config))})
    return sha256_of(path)


def record(name: str, version: str, path: Path, folder: Path = FOLDER) -> None:
    """Put a weights file that lies in the folder into the registry."""
    entries = {key: asdict(value) for key, value in registry(folder).items()} if _has_registry(folder) else {}
    entries[name] = asdict(Record(version, path.name, sha256_of(path)))
    (folder / "registry.json").write_text(json.dumps(entries, indent=2, sort_keys=True) + "\n")


def _has_registry(folder: Path) -> bool:
    return (folder / "registry.json").is_file()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def ready(name: str, device: str = "cpu") -> nn.Module:
    """The recorded network, checked, moved to a device and laid out for speed; loaded once a process."""
    return _on(device, name, FOLDER)


def in_use(name: str) -> Record:
    """The record of the network that `ready` gives, whatever was installed since it was loaded."""
    return _loaded(name, FOLDER).record


@lru_cache(maxsize=8)
def _loaded(name: str, folder: Path) -> Loaded:
    """Network and record stay together: a result must name the weights that read, not those of the registry by now."""
    return _checked(name, folder)


@lru_cache(maxsize=16)
def _on(device: str, name: str, folder: Path) -> nn.Module:
    """A copy for each device: a reading that ran out of the GPU's memory goes to the CPU."""
    return deepcopy(_loaded(name, folder).network).to(device).to(memory_format=torch.channels_last_3d)
