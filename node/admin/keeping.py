"""What is kept, for how long, and where else: retention, backups and the way back."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from node import backup
from node.admin.opened import opened
from node.admin.view import View
from node.backup.manifest import Watched
from node.catalog import audit, installation, overview, retention
from node.catalog.session import Catalog
from node.directory import UNFINISHED, anchors_of, keeping_files, only_node, reason_of, removing_files
from node.domain.audit import Detail, Event, EventKind
from node.domain.retention import Finished, Why
from node.errors import CatalogError, SettingsError, Unavailable
from node.flow.retain import Retain
from node.receiver import spool_of
from node.settings import Settings
from node.spool import sync_directory, write_durably

COLUMNS = ("study_instance_uid", "why", "last_received_at", "mib")


def retain(settings: Settings, dry_run: bool) -> View:
    """Remove now what the settings let go, or only say what that is."""
    with opened(settings) as catalog:
        retaining = _retaining(settings, catalog)
        if dry_run:
            gone = retaining.plan()
        else:
            with _alone(settings):
                gone = []
                while some := retaining.remove_some():
                    gone += some
    rows = [_row(study, why) for study, why in gone]
    note = "Nothing is to be removed." if not rows else "They would be removed." if dry_run else ""
    return View(rows, COLUMNS, rows, note=note)


def _row(study: Finished, why: Why) -> dict[str, Any]:
    return {
        "study_instance_uid": study.study_instance_uid,
        "why": str(why),
        "last_received_at": study.last_received_at,
        "mib": round(study.size / 2**20, 1),
    }


def purge(settings: Settings, study_uid: str, decided: bool) -> View:
    """Remove the files of one study now. Raises CatalogError when it may not go."""
    with opened(settings) as catalog:
        with catalog.reading() as session:
            row = overview.study_of_uid(session, study_uid)
            if row is None:
                raise Unavailable("There is no such study.")
            hindrance = retention.hindrance(session, row["id"], decided=decided)
        if hindrance:
            raise CatalogError(f"The files of this study stay: {hindrance}.")
        study = Finished(row["id"], study_uid, row["last_received_at"], 0)
        with _alone(settings):
            purged = _retaining(settings, catalog).purge(study, Why.OPERATOR, decided=decided)
    if purged is None:
        raise CatalogError("The files of this study stay: something came meanwhile.")
    data = {"study_instance_uid": study_uid, "images": len(purged.images), "results": len(purged.results),
            "bytes": purged.size}  # fmt: skip
    return View(data, note=f"{len(purged.images)} images and {len(purged.results)} results were removed.")


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    with removing_files(settings.data) as alone:
        if not alone:
            raise Unavailable("A backup or another removal is under way; try again when it is done.")
        yield


def _retaining(settings: Settings, catalog: Catalog) -> Retain:
    alone = partial(removing_files, settings.data)
    return Retain(catalog, spool_of(settings), settings.data, settings.retention, alone, lambda: datetime.now(UTC))


def back_up(settings: Settings, folder: Path, watched: Watched) -> View:
    """Back up a node, running or not, into a folder. Well: nothing was missing."""
    with opened(settings) as catalog, keeping_files(settings.data), _said_in_a_sentence("The backup was not made"):
        source = backup.Source(catalog, spool_of(settings), settings.data, anchors_of(settings))
        manifest = backup.make(source, folder, watched)
        detail: Detail = {"state": manifest.state, "files": manifest.files, "missing": len(manifest.missing),
                          "audit_seq": manifest.audit_seq}  # fmt: skip
        with catalog.writing() as session:
            audit.append(session, Event(EventKind.BACKUP_MADE, actor="operator", detail=detail))
    note = f"{manifest.files} files are in {folder}. Who can read it can read the images, and rewrite the audit trail."
    note += "".join(f"\n{path} is missing here: it is not in the backup." for path in manifest.missing)
    return View(asdict(manifest), note=note, well=not manifest.missing)


def verify_backup(folder: Path, watched: Watched) -> View:
    """Read a backup again. Well: everything is as it was written, and nothing was missing."""
    manifest = backup.read(folder)
    problems = backup.verify(folder, watched)
    problems += [f"{path} was missing when the backup was made." for path in manifest.missing]
    note = "\n".join(problems) or f"{manifest.files} files are as they were written on {manifest.made_at}."
    return View({"made_at": manifest.made_at, "problems": problems}, note=note, well=not problems)


def restore(settings: Settings, folder: Path, watched: Watched) -> View:
    """Put a backup back into an empty data directory and an empty database."""
    data = settings.data
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise SettingsError(f"{data} is not empty; restore into a data directory that is empty or not there.")
    with only_node(data), _said_in_a_sentence("The backup was not restored"):
        write_durably(data / UNFINISHED, b"")
        try:
            manifest = backup.restore(folder, backup.Target(data, settings.database), watched)
            installation.own(data, manifest.serial)
        except BaseException:
            _empty(data)
            raise
        (data / UNFINISHED).unlink()
        sync_directory(data)
    note = f"The node of {manifest.made_at} is in {data}; `nodus up` starts it."
    note += "".join(f"\n{path} was missing when the backup was made." for path in manifest.missing)
    return View(asdict(manifest), note=note, well=not manifest.missing)


def _empty(data: Path) -> None:
    for each in data.iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()


@contextmanager
def _said_in_a_sentence(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"{what}: {reason_of(error)}.") from error
