"""Makes a backup of a running node: the database first, then every file that it names."""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from node.audit.anchor import Anchors
from node.backup.copying import copy, private, sync_folders
from node.backup.manifest import Manifest, Watched, digest_of, read, read_sums, write, write_sums
from node.catalog import audit, installation, snapshot
from node.catalog.session import Catalog
from node.errors import SettingsError, Unavailable
from node.pictures import strips_beside
from node.spool import Spool, write_durably

DATABASE, KEY, ANCHORS, JOURNAL, MODELS = "database", "audit.key", "audit.anchors", "journal", "models"
UNFINISHED = "backup.unfinished"
"""A file that says of a folder that it was empty when a backup into it began: what is in it is ours."""
STATE = re.compile(r"\d{8}T\d{12}Z")


@dataclass(frozen=True)
class Source:
    """What is backed up."""

    catalog: Catalog
    spool: Spool
    data: Path
    anchors: Anchors


@dataclass(frozen=True)
class _Facts:
    """What the database said at the moment of the backup."""

    values: dict[str, object]
    head_seq: int
    named: list[str]
    unnamed: list[str]
    """Files that were received and had no row yet: a restored node registers them."""


def make(source: Source, folder: Path, watched: Watched = iter) -> Manifest:
    """Back up into a folder: what an earlier backup left there is kept where it is the same.

    Until it is complete the earlier backup stays whole. The caller keeps retention from removing anything meanwhile.
    Raises SettingsError, CatalogError, Unavailable and OSError.
    """
    _require_apart(source.data.resolve(), folder.resolve())
    private(folder)
    with _only_one(folder):
        earlier = _earlier(source.catalog, folder)
        now = datetime.now(UTC)
        state = f"{now:%Y%m%dT%H%M%S%fZ}"
        private(folder / state)
        facts = _database(source, folder / state)
        sums, missing = _files(source, folder, facts, earlier, watched)
        sums |= {f"{state}/{path}": digest for path, digest in _beside(source, folder / state, facts).items()}
        manifest = Manifest(
            state=state, made_at=now.isoformat(), nodus=version("nodus"), files=len(sums), missing=missing,
            sums_sha256=write_sums(folder, state, sums), **facts.values,  # type: ignore[arg-type]
        )  # fmt: skip
        write(folder, manifest)
        _forget(folder, state, sums)
        (folder / UNFINISHED).unlink(missing_ok=True)
    return manifest


def _require_apart(data: Path, folder: Path) -> None:
    """What an earlier backup left is removed from the folder: nothing of the node may be in it, nor around it."""
    if folder.is_relative_to(data) or data.is_relative_to(folder):
        raise SettingsError(f"{folder} and the data directory {data} lie in one another; choose another folder.")


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise SettingsError(f"Another backup is being made in {folder}.") from None
    finally:
        os.close(handle)


def _earlier(catalog: Catalog, folder: Path) -> dict[str, str]:
    """Sums of the backup that is there, if any. Raises SettingsError where the folder holds anything else."""
    names = {each.name for each in folder.iterdir()}
    if not names:
        write_durably(folder / UNFINISHED, b"")
    try:
        manifest = read(folder)
    except Unavailable:
        if names and UNFINISHED not in names:
            wanted = "choose a folder that is empty or not there"
            raise SettingsError(f"{folder} is not empty and holds no backup that can be read; {wanted}.") from None
        return {}
    with catalog.reading() as session:
        if manifest.serial != installation.serial(session):
            raise SettingsError(f"{folder} holds a backup of another installation; choose another folder.")
    return _sums(folder, manifest)


def _sums(folder: Path, manifest: Manifest) -> dict[str, str]:
    try:
        return read_sums(folder, manifest)
    except Unavailable:  # they are written anew
        return {}


def _database(source: Source, state: Path) -> _Facts:
    with snapshot.snapshot(source.catalog, state / DATABASE) as session:
        head = audit.head(session)
        values: dict[str, object] = {
            "database": source.catalog.engine.dialect.name,
            "revision": snapshot.revision(session),
            "serial": installation.serial(session),
            "audit_seq": head.seq,
            "audit_hash": head.hash,
            "counts": snapshot.counts(session),
        }
        return _Facts(
            values, head.seq, list(snapshot.files(session)), snapshot.without_row(session, source.spool.files())
        )


def _files(
    source: Source, folder: Path, facts: _Facts, earlier: dict[str, str], watched: Watched
) -> tuple[dict[str, str], list[str]]:
    """Sums of the files that are now in the backup, and those that were not there to be copied."""
    sums, missing, unnamed = {}, [], {*facts.unnamed}
    pictures = strips_beside(source.data, (path for path in facts.named if path.startswith("results/")))
    for path in watched([*facts.named, *facts.unnamed, *pictures]):
        try:
            sums[path] = _kept(source.data / path, folder / path, earlier.get(path))
        except FileNotFoundError:
            if path not in unnamed:
                missing.append(path)
    sync_folders({(folder / path).parent for path in sums})
    return sums, missing


def _kept(source: Path, target: Path, known: str | None) -> str:
    """Files never change: one of the same name and size is the same."""
    size = source.stat().st_size
    with suppress(FileNotFoundError):
        if target.stat().st_size == size:
            return known or digest_of(target)
    return copy(source, target)


def _beside(source: Source, state: Path, facts: _Facts) -> dict[str, str]:
    """What differs from backup to backup: database, key, anchors that are older, journal, models."""
    with (state / DATABASE).open("rb") as written:
        os.fsync(written.fileno())
    write_durably(
        state / ANCHORS, source.anchors.up_to(facts.head_seq)
    )  # later ones would speak of a tail that was cut
    sums = {name: digest_of(state / name) for name in (DATABASE, ANCHORS)}
    sums[KEY] = copy(source.data / KEY, state / KEY)
    journal = source.data / "spool" / JOURNAL
    for file in journal.glob("[!.]*") if journal.is_dir() else ():
        with suppress(FileNotFoundError):  # it is in the audit trail by now
            sums[f"{JOURNAL}/{file.name}"] = copy(file, state / JOURNAL / file.name)
    sums |= _models(source.data / MODELS, state / MODELS)
    sync_folders({state} | {folder for path in sums for folder in (state / path).parents if state in folder.parents})
    return sums


def _models(folder: Path, target: Path) -> dict[str, str]:
    """Detectors of others, and which of them is in use; nobody adds, chooses or removes one meanwhile.

    Copied each time: another one may have the name and the size of one that was removed.
    """
    if not folder.is_dir():
        return {}
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        inside = {file.relative_to(folder): file for file in sorted(folder.rglob("*"))}
        kept = {path: file for path, file in inside.items() if file.is_file() and not file.is_symlink()}
        whole = {path: file for path, file in kept.items() if not path.parts[0].startswith(".")}
        return {f"{MODELS}/{path}": copy(file, target / path) for path, file in whole.items()}
    finally:
        os.close(handle)


def _forget(folder: Path, state: str, sums: dict[str, str]) -> None:
    """Remove what only an earlier backup named: what retention removed does not live on here."""
    for each in folder.iterdir():
        if each.is_dir() and each.name != state and STATE.fullmatch(each.name):
            shutil.rmtree(each)
    for kind in ("spool", "results"):
        for file in (folder / kind).rglob("*"):
            if not file.is_dir() and str(file.relative_to(folder)) not in sums:
                file.unlink()
