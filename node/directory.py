"""The data directory of a node: private, held by one node at a time, with its catalog and its keys."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from node.audit.anchor import Anchors, load_or_make_key
from node.catalog import installation
from node.catalog.session import Catalog
from node.errors import DataDirectoryInUse, SettingsError
from node.settings import Settings

AUDIT_KEY = "audit.key"
UNFINISHED = "restore.unfinished"
"""A file that says so of a data directory."""


def private_folder(data: Path) -> None:
    """Make a data directory where there is none, and close it to others. Raises SettingsError."""
    if (data / UNFINISHED).exists():
        raise SettingsError(f"A restore into {data} was interrupted: empty it, and restore again.")
    with usable(data):
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        if data.stat().st_mode & 0o077:
            data.chmod(0o700)


@contextmanager
def usable(data: Path) -> Iterator[None]:
    """A data directory that is full, read-only or somebody else's is one sentence. Raises SettingsError."""
    try:
        yield
    except OSError as error:
        raise SettingsError(
            f"The data directory {data} cannot be used ({reason_of(error)}); choose another --data."
        ) from None


def catalog_of(settings: Settings) -> Catalog:
    """The catalog of a data directory. Creates the directory and the audit key where they are missing."""
    private_folder(settings.data)
    return Catalog(settings.database, load_or_make_key(settings.data / AUDIT_KEY))


def require_home(settings: Settings) -> None:
    """Refuse a database that has run with other files than are here: an empty folder where a disk is not mounted, or a
    second host. Changes nothing but an older database, which is migrated. Raises SettingsError, CatalogError."""
    if (settings.data / AUDIT_KEY).exists():
        return
    catalog = Catalog(settings.database, b"")
    try:
        catalog.migrate()
        with catalog.reading() as session:
            serial = installation.known(session)
    finally:
        catalog.close()
    if serial is not None:
        raise SettingsError(
            f"The database belongs to a data directory that is not here: {settings.data} holds no audit key. Is its "
            f"disk mounted, is --data right? If its files are lost, restore a backup, or begin with an empty database."
        )


def has_catalog(settings: Settings) -> bool:
    """Whether a node has ever run on a data directory."""
    made = [settings.data / AUDIT_KEY] + [settings.data / "nodus.db"] * (not settings.database_url)
    return all(path.exists() for path in made)


def disk_of(settings: Settings) -> tuple[float, float]:
    """Free bytes where the data directory is, and the water mark: with less than that nothing is received."""
    usage = shutil.disk_usage(settings.data)
    return usage.free, max(settings.minimum_free_gib * 2**30, settings.minimum_free_fraction * usage.total)


def anchors_of(settings: Settings) -> Anchors:
    """Where the head of the audit chain is written outside the database."""
    return Anchors(settings.data / "audit.anchors")


@contextmanager
def only_node(data: Path) -> Iterator[None]:
    """Hold the lock of a data directory. Raises DataDirectoryInUse."""
    private_folder(data)
    with _lock_file(data) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataDirectoryInUse(f"A node is running on {data} already; stop it, or use another --data.") from None
        yield


@contextmanager
def keeping_files(data: Path) -> Iterator[None]:
    """Let nobody remove files that rows name: for a backup. Waits for a removal that is under way."""
    with _lock_file(data, "keep.lock") as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield


@contextmanager
def removing_files(data: Path) -> Iterator[bool]:
    """Whether files that rows name may be removed: not while a backup is being made. None begins meanwhile."""
    with _lock_file(data, "keep.lock") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _lock_file(data: Path, name: str = "nodus.lock") -> BinaryIO:
    try:
        return os.fdopen(os.open(data / name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb")
    except OSError as error:
        raise SettingsError(
            f"The data directory {data} cannot be written ({reason_of(error)}); choose another --data."
        ) from None


def reason_of(error: OSError) -> str:
    """What the system says, in its words."""
    return os.strerror(error.errno) if error.errno else "not possible"
