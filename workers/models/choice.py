"""Which detector reads: ours, or the one that was chosen in the data directory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from node.errors import WeightsError
from workers.detect import Candidate, Detected, LungField, detect_with_heat
from workers.models import onnx_file, retinanet
from workers.models.store import SHIPPED, Entry, content, registry_of
from workers.networks.budget import Budget
from workers.networks.operating import OperatingPoint
from workers.networks.weights import in_use, ready
from workers.volume import Volume


class Detector(Protocol):
    """What finds candidates, and how results name it."""

    @property
    def version(self) -> str: ...

    @property
    def sha256(self) -> str: ...

    def prepare(self, device: str) -> None: ...

    def find(self, volume: Volume, lungs: LungField, point: OperatingPoint | None, may_take: Budget) -> Detected: ...


@dataclass(frozen=True)
class Shipped:
    """The detector that comes with Nodus."""

    @property
    def version(self) -> str:
        """Of the weights in this process."""
        return in_use("detector").version

    @property
    def sha256(self) -> str:
        """Of the weights in this process."""
        return in_use("detector").sha256

    def prepare(self, device: str) -> None:
        """Load it. Raises WeightsError."""
        ready("detector", device)

    def find(self, volume: Volume, lungs: LungField, point: OperatingPoint | None, may_take: Budget) -> Detected:
        """Candidates in the lungs, best first, and the heat. Raises OutOfMemory, WeightsError."""
        return detect_with_heat(volume, lungs, point, may_take)


class Loaded(Protocol):
    """A model of others in memory."""

    def find(self, volume: Volume, lungs: LungField, may_take: Budget) -> tuple[Candidate, ...]: ...


@dataclass(frozen=True)
class Own:
    """A model that the site added. Its thresholds are its own, whatever the operating point says."""

    data: Path
    entry: Entry

    @property
    def version(self) -> str:
        """Its name and version."""
        return f"{self.entry.name} {self.entry.version}"

    @property
    def sha256(self) -> str:
        """Of all its files, settings included."""
        return self.entry.sha256

    def prepare(self, device: str) -> None:
        """Check and load it. Raises WeightsError, ModelFailed."""
        _loaded(self.data, self.entry, device)

    def find(self, volume: Volume, lungs: LungField, point: OperatingPoint | None, may_take: Budget) -> Detected:
        """Candidates in the lungs, best first; no heat. Raises OutOfMemory, WeightsError, ModelFailed."""
        return Detected(_loaded(self.data, self.entry, may_take.device).find(volume, lungs, may_take))


def chosen(data: Path) -> Detector:
    """The detector of a data directory. Ask once for each study: all of it is then read by that one.

    Raises WeightsError where the choice cannot be read, or names a model that is not there.
    """
    return named(data, registry_of(data).in_use)


def named(data: Path, name: str) -> Detector:
    """A detector by its name. Raises WeightsError where there is none of that name."""
    return Shipped() if name == SHIPPED else Own(data, registry_of(data).entry(name))


def in_shadow(data: Path) -> str:
    """The model that reads in shadow; empty where none does, or none can be told: no reading fails for that."""
    try:
        return registry_of(data).in_shadow
    except WeightsError:
        return ""


LOADERS: dict[str, Callable[[Mapping[str, bytes], str], Loaded]] = {
    "monai": retinanet.load,
    "onnx": onnx_file.load,
}


def load(kind: str, files: Mapping[str, bytes], device: str) -> Loaded:
    """Build a model from its files, checked before. Raises WeightsError, ModelFailed."""
    if kind not in LOADERS:
        raise WeightsError(f"Models of the kind {kind!r} are not known to this version of Nodus.")
    return LOADERS[kind](files, device)


@lru_cache(maxsize=2)
def _loaded(data: Path, entry: Entry, device: str) -> Loaded:
    """Once a process: the entry has the pinned sums, so another choice or another file is another model."""
    return load(entry.kind, content(data, entry), device)
