"""What `nodus models` does: lists, adds, chooses, tries in shadow and removes detectors, and leaves it in the audit."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from node.catalog import audit, comparisons, jobs
from node.catalog.session import Catalog
from node.domain.audit import Detail, Event, EventKind
from node.errors import CatalogError, WeightsError
from node.settings import Settings
from workers.models import bundle, onnx_file
from workers.models.choice import load
from workers.models.store import (
    SHIPPED,
    Entry,
    Registry,
    choose,
    content,
    install,
    plain_file,
    registry_of,
    remove,
    shade,
)
from workers.networks import weights
from workers.workplace import Workplace


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
    in_shadow: bool = False
    """It reads beside the one in use, for comparison alone."""
    problem: str = ""
    """Why it cannot be loaded, where that was looked at."""


def listing(settings: Settings) -> list[Listed]:
    """Every model that is installed. Raises WeightsError."""
    registry = registry_of(settings.data)
    shipped = [
        Listed(SHIPPED, task, "nodus", one.version, one.sha256, task != "detector" or registry.in_use == SHIPPED,
               task == "detector" and registry.in_shadow == SHIPPED)
        for task, one in sorted(weights.registry().items())
    ]  # fmt: skip
    return shipped + [_listed(each, registry) for each in registry.entries]


def _listed(entry: Entry, registry: Registry) -> Listed:
    used, tried = entry.name == registry.in_use, entry.name == registry.in_shadow
    return Listed(entry.name, "detector", entry.kind, entry.version, entry.sha256, used, tried)


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
    return _listed(entry, registry_of(settings.data))


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
    sha256 = _loadable(settings, name)
    tried = registry_of(settings.data).in_shadow
    _tell(settings, EventKind.MODEL_CHOSEN, name, sha256, no_longer_tried=name if tried == name else "")
    choose(settings.data, name)
    return _one(settings, name)


def try_beside(settings: Settings, name: str) -> Listed:
    """Let a model read in shadow, beside the one in use and in place of one that did so until now.

    Raises as `use`, and WeightsError for the one in use.
    """
    sha256, registry = _loadable(settings, name), registry_of(settings.data)
    registry.may_be_tried(name)
    before = registry.in_shadow if registry.in_shadow != name else ""
    _tell(settings, EventKind.MODEL_IN_SHADOW, name, sha256, no_longer_tried=before)
    shade(settings.data, name)
    return _one(settings, name)


def try_no_longer(settings: Settings, name: str) -> Listed:
    """Let a model read in shadow no longer: what waits or runs is cancelled, what it has read stays.

    Raises WeightsError where it does not, SettingsError, CatalogError.
    """
    if registry_of(settings.data).in_shadow != name:
        raise WeightsError(f"The model {name!r} is not in shadow.")
    listed = _one(settings, name)
    _tell(settings, EventKind.MODEL_OUT_OF_SHADOW, name, listed.sha256, no_longer_tried=name)
    shade(settings.data, "")
    return replace(listed, in_shadow=False)


def remove_unused(settings: Settings, name: str) -> Listed:
    """Delete a model that is neither in use nor in shadow.

    Raises WeightsError where it is, SettingsError, CatalogError.
    """
    entry = registry_of(settings.data).removable(name)
    _tell(settings, EventKind.MODEL_REMOVED, name, entry.sha256)
    return _listed(remove(settings.data, name), registry_of(settings.data))


def compared(settings: Settings, study_instance_uid: str = "") -> list[dict[str, Any]]:
    """Readings beside those in shadow, of one study or of the newest.

    Raises Unavailable, SettingsError, CatalogError.
    """
    with _opened(settings, "What was read cannot be told") as catalog, catalog.reading() as session:
        if study_instance_uid:
            return comparisons.of_study(session, study_instance_uid)
        return comparisons.listing(session)


def _loadable(settings: Settings, name: str) -> str:
    """SHA-256 of a model, once it was loaded to see that it can be."""
    if name == SHIPPED:
        weights.load("detector")
        return weights.registry()["detector"].sha256
    entry = registry_of(settings.data).entry(name)
    load(entry.kind, content(settings.data, entry), "cpu")
    return entry.sha256


def _one(settings: Settings, name: str) -> Listed:
    return next(each for each in listing(settings) if each.name == name and each.task == "detector")


def _tell(settings: Settings, kind: EventKind, name: str, sha256: str, *, no_longer_tried: str = "") -> None:
    """In the audit trail, where a node has run on this data directory; what one model had to read in shadow ends."""
    if not (settings.data / "audit.key").exists():
        return
    detail: Detail = {"model": name, "weights_sha256": sha256}
    failing = "The change could not be written into the audit trail"
    with _opened(settings, failing) as catalog, catalog.writing() as session:
        audit.append(session, Event(kind, actor="operator", detail=detail))
        if no_longer_tried:
            jobs.stop(session, no_longer_tried)


@contextmanager
def _opened(settings: Settings, otherwise: str) -> Iterator[Catalog]:
    """The catalog, for the time of a command. Raises CatalogError where it does not answer."""
    workplace = Workplace(settings)
    try:
        yield workplace.catalog
    except SQLAlchemyError as error:
        raise CatalogError(f"{otherwise}: the database does not answer.") from error
    finally:
        if "catalog" in vars(workplace):
            workplace.catalog.close()
