"""What `nodus models` does: lists, adds, verifies and chooses detectors, and leaves it in the audit trail."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from node.catalog import audit
from node.domain.audit import Detail, Event, EventKind
from node.errors import CatalogError, WeightsError
from node.settings import Settings
from workers.models import bundle, onnx_file
from workers.models.choice import load
from workers.models.store import SHIPPED, Entry, choose, content, install, plain_file, registry_of
from workers.networks import weights
from workers.tasks import Workplace


@dataclass(frozen=True)
class Listed:
    """One model, as an operator sees it."""

    name: str
    task: str
    """detector, segmenter or classifier."""
    kind: str
    version: str
    sha256: str
    in_use: bool
    problem: str = ""
    """Why it cannot be loaded, where that was looked at."""


def listing(settings: Settings) -> list[Listed]:
    """Every model that is installed. Raises WeightsError."""
    registry = registry_of(settings.data)
    shipped = [
        Listed(SHIPPED, task, "nodus", one.version, one.sha256, task != "detector" or registry.in_use == SHIPPED)
        for task, one in sorted(weights.registry().items())
    ]
    return shipped + [_listed(each, registry.in_use) for each in registry.entries]


def _listed(entry: Entry, in_use: str, problem: str = "") -> Listed:
    return Listed(entry.name, "detector", entry.kind, entry.version, entry.sha256, entry.name == in_use, problem)


def verified(settings: Settings) -> Iterator[Listed]:
    """Read every file again and compare it with its pinned SHA-256. Raises WeightsError."""
    registry = registry_of(settings.data)
    for each in listing(settings):
        try:
            if each.kind == "nodus":
                weights.load(each.task)
            else:
                content(settings.data, registry.entry(each.name))
            yield each
        except WeightsError as error:
            yield Listed(**{**vars(each), "problem": str(error)})


def add(settings: Settings, folder: Path, name: str) -> Listed:
    """Copy a model into the data directory, once it was loaded to see that it can be. Raises WeightsError,
    ModelFailed, SettingsError, CatalogError; nothing of it stays then.
    """
    kind, version, files = _brought(folder)
    load(kind, files, "cpu")
    entry = install(settings.data, name, kind, version, files)
    _tell(settings, EventKind.MODEL_ADDED, entry.name, entry.sha256)
    return _listed(entry, registry_of(settings.data).in_use)


def _brought(folder: Path) -> tuple[str, str, dict[str, bytes]]:
    """Kind, version and the files that are loaded, of a folder that somebody brings along."""
    if (folder / onnx_file.CARD).exists():
        raw = plain_file(folder, onnx_file.CARD)
        wanted = onnx_file.card(raw)
        return "onnx", wanted.version, {onnx_file.CARD: raw, wanted.file: plain_file(folder, wanted.file)}
    if (folder / bundle.METADATA).exists():
        files = {path: plain_file(folder, path) for path in bundle.FILES}
        return "monai", bundle.recipe(files).version, files
    raise WeightsError(f"{folder} holds neither {bundle.METADATA} of a MONAI bundle nor {onnx_file.CARD}.")


def use(settings: Settings, name: str) -> Listed:
    """Let a model detect, from the next study on that a worker reads.

    Raises WeightsError, ModelFailed, SettingsError, CatalogError; the choice is as it was then.
    """
    if name == SHIPPED:
        weights.load("detector")
        sha256 = weights.registry()["detector"].sha256
    else:
        entry = registry_of(settings.data).entry(name)
        load(entry.kind, content(settings.data, entry), "cpu")
        sha256 = entry.sha256
    _tell(settings, EventKind.MODEL_CHOSEN, name, sha256)
    choose(settings.data, name)
    return next(each for each in listing(settings) if each.name == name and each.task == "detector")


def _tell(settings: Settings, kind: EventKind, name: str, sha256: str) -> None:
    """In the audit trail, where a node has run on this data directory."""
    if not (settings.data / "audit.key").exists():
        return
    detail: Detail = {"model": name, "weights_sha256": sha256}
    try:
        with Workplace(settings).catalog.writing() as session:
            audit.append(session, Event(kind, actor="operator", detail=detail))
    except SQLAlchemyError as error:
        raise CatalogError(
            "The change could not be written into the audit trail: the database does not answer."
        ) from error
