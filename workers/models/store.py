"""Models in the data directory: copied, pinned by SHA-256, and which of them is in use or in shadow.

Layout under the data directory::

    models/registry.json    each model with the SHA-256 of its files, which one detects, and which one reads in shadow;
                            written last, in one step
    models/NAME/…           the files that are loaded, and no others; they never change
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from node.errors import SettingsError, WeightsError
from node.spool import sync_directory, write_durably

SHIPPED = "shipped"
"""Name of our own detector."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,19}")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,11}")
"""Name and version are short enough to be whole where DICOM has 64 characters for all networks (LO)."""
MOST_BYTES = 4 << 30
"""Of one file: it is read into memory."""


@dataclass(frozen=True)
class Entry:
    """One model that was added."""

    name: str
    kind: str
    """monai or onnx."""
    version: str
    files: tuple[tuple[str, str], ...]
    """Path below models/NAME and SHA-256, of every file that is loaded."""

    @property
    def sha256(self) -> str:
        """One over all files: what `sha256sum` prints of them, summed again."""
        return hashlib.sha256("".join(f"{digest}  {path}\n" for path, digest in self.files).encode()).hexdigest()


@dataclass(frozen=True)
class Registry:
    """What is there, and what is in use."""

    entries: tuple[Entry, ...] = ()
    in_use: str = SHIPPED
    in_shadow: str = ""
    """Reads beside the one in use, for comparison alone; empty: none does."""

    def entry(self, name: str) -> Entry:
        """One model. Raises WeightsError."""
        for each in self.entries:
            if each.name == name:
                return each
        raise WeightsError(f"There is no model {name!r}: `nodus models list` shows those that are here.")

    def having(self, name: str) -> "Registry":
        """Itself, where a model of that name is here. Raises WeightsError."""
        if name != SHIPPED:
            self.entry(name)
        return self

    def may_be_tried(self, name: str) -> None:
        """Raises WeightsError where a model cannot read in shadow."""
        self.having(name)
        if name == self.in_use:
            raise WeightsError(f"The model {name!r} is in use: it cannot be its own shadow.")

    def removable(self, name: str) -> Entry:
        """A model that nobody needs. Raises WeightsError."""
        if name == SHIPPED:
            raise WeightsError("The shipped detector comes with Nodus and cannot be removed.")
        entry = self.entry(name)
        if name == self.in_use:
            raise WeightsError(f"The model {name!r} is in use: `nodus models use` another one first.")
        if name == self.in_shadow:
            raise WeightsError(f"The model {name!r} is in shadow: `nodus models use {name} --no-shadow` first.")
        return entry


def registry_of(data: Path) -> Registry:
    """What a data directory says; empty where nothing was ever added.

    Raises WeightsError where it cannot be read: the shipped detector never takes the place of another unasked.
    """
    folder = data / "models"
    try:
        told = json.loads((folder / "registry.json").read_bytes())
        entries = tuple(_entry(name, **fields) for name, fields in told["models"].items())
        return Registry(entries, str(told["in_use"]), str(told.get("in_shadow", "")))
    except FileNotFoundError:
        if folder.is_dir() and any(each.is_dir() for each in folder.iterdir()):
            raise WeightsError(f"{folder}/registry.json is missing: put it back, or remove {folder}.") from None
        return Registry()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(f"{folder}/registry.json cannot be read: put it back from a backup.") from error


def _entry(name: str, kind: str, version: str, files: dict[str, str]) -> Entry:
    return Entry(name, kind, version, tuple(sorted(files.items())))


def content(data: Path, entry: Entry) -> dict[str, bytes]:
    """The files of a model, read once: what is checked is what is loaded.

    Raises WeightsError where one is missing or its SHA-256 is not the pinned one.
    """
    found = {path: plain_file(data / "models" / entry.name, path) for path, _ in entry.files}
    for path, digest in entry.files:
        if hashlib.sha256(found[path]).hexdigest() != digest:
            raise WeightsError(f"The model {entry.name!r} is not what was added: the SHA-256 of {path} differs.")
    return found


def plain_file(folder: Path, relative: str) -> bytes:
    """A regular file below a folder, reached over no link and no `..`. Raises WeightsError."""
    parts = PurePosixPath(relative).parts
    if not parts or parts[0] == "/" or ".." in parts:
        raise WeightsError(f"The model names {relative!r}, which is no file below its own folder.")
    steps = [folder.joinpath(*parts[: n + 1]) for n in range(len(parts))]
    if any(step.is_symlink() for step in steps):
        raise WeightsError(f"{relative} of the model is a symbolic link: copy the file itself.")
    try:
        with os.fdopen(os.open(steps[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            state = os.fstat(file.fileno())
            if stat.S_ISREG(state.st_mode) and state.st_size <= MOST_BYTES:
                return file.read()
    except OSError as error:
        raise WeightsError(f"{relative} of the model is missing or cannot be read.") from error
    raise WeightsError(f"{relative} of the model is no plain file of at most {MOST_BYTES >> 30} GiB.")


def install(data: Path, name: str, kind: str, version: str, files: Mapping[str, bytes]) -> Entry:
    """Keep a model durably, closed to others; where this fails nothing of it stays.

    Raises WeightsError for a name that is taken or none, SettingsError where the data directory does not take it.
    """
    if name == SHIPPED or not NAME.fullmatch(name):
        raise WeightsError(f"{name!r} is no name for a model: up to 20 letters, digits and _ . -, not {SHIPPED!r}.")
    digests = {path: hashlib.sha256(raw).hexdigest() for path, raw in files.items()}
    entry = _entry(name, kind, version, digests)
    with _changing(data) as folder:
        registry = registry_of(data)
        if any(each.name == name for each in registry.entries):
            raise WeightsError(f"There is a model {name!r} already: choose another --name.")
        _publish(folder, name, files)
        _write(folder, replace(registry, entries=(*registry.entries, entry)))
    return entry


def choose(data: Path, name: str) -> None:
    """Let a model detect from now on; one that was in shadow is so no longer.

    Raises WeightsError where there is none of that name, SettingsError.
    """
    with _changing(data) as folder:
        registry = registry_of(data).having(name)
        left = "" if registry.in_shadow == name else registry.in_shadow
        _write(folder, replace(registry, in_use=name, in_shadow=left))


def shade(data: Path, name: str) -> None:
    """Let a model read in shadow from now on, in place of any other; with an empty name, none.

    Raises WeightsError where there is none of that name or it is in use, SettingsError.
    """
    with _changing(data) as folder:
        registry = registry_of(data)
        if name:
            registry.may_be_tried(name)
        _write(folder, replace(registry, in_shadow=name))


def remove(data: Path, name: str) -> Entry:
    """Forget a model and delete its files. Raises WeightsError where it is in use, in shadow or ours, SettingsError."""
    with _changing(data) as folder:
        registry = registry_of(data)
        entry = registry.removable(name)
        _write(folder, replace(registry, entries=tuple(each for each in registry.entries if each != entry)))
        shutil.rmtree(folder / name, ignore_errors=True)
        sync_directory(folder)
    return entry


@contextmanager
def _changing(data: Path) -> Iterator[Path]:
    """The folder of models, made where it is missing, for one who changes it alone."""
    folder = data / "models"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            sync_directory(data)
            yield folder
        finally:
            os.close(handle)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "not possible"
        raise SettingsError(f"Models cannot be kept in {data} ({reason}); choose another --data.") from error


def _publish(folder: Path, name: str, files: Mapping[str, bytes]) -> None:
    """Write aside, sync, and give the folder its name; one of that name is left of an addition that was killed."""
    aside = folder / f".{name}.aside"
    try:
        shutil.rmtree(aside, ignore_errors=True)
        for path, raw in files.items():
            for parent in reversed((aside / path).relative_to(folder).parents):
                (folder / parent).mkdir(exist_ok=True, mode=0o700)
            write_durably(aside / path, raw)
        sync_directory(aside)
        shutil.rmtree(folder / name, ignore_errors=True)
        aside.rename(folder / name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    sync_directory(folder)


def _write(folder: Path, registry: Registry) -> None:
    models: dict[str, Any] = {
        each.name: {"kind": each.kind, "version": each.version, "files": dict(each.files)} for each in registry.entries
    }
    told = {"in_use": registry.in_use, "in_shadow": registry.in_shadow, "models": models}
    write_durably(folder / "registry.json", (json.dumps(told, indent=2) + "\n").encode())
