"""Puts a backup back: into an empty data directory, and an empty database."""

from dataclasses import dataclass
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import make_url

from node.audit.anchor import Anchors
from node.backup.copying import copy, sync_folders
from node.backup.making import ANCHORS, DATABASE, JOURNAL, KEY
from node.backup.manifest import Manifest, Watched, read, read_sums
from node.catalog import audit, snapshot
from node.catalog.session import Catalog, alembic_config
from node.domain.audit import Detail, Event, EventKind
from node.errors import SettingsError, Unavailable


@dataclass(frozen=True)
class Target:
    """Where a backup goes."""

    data: Path
    """Exists, and is empty but for locks."""
    database_url: str


def restore(folder: Path, to: Target, watched: Watched = iter) -> Manifest:
    """Put everything back, check every file on the way, and write down that it was done.

    Raises SettingsError, CatalogError, Unavailable and OSError; what was put back until then is of no use.
    """
    manifest = read(folder)
    sums = read_sums(folder, manifest)
    _require_fit(manifest, to)
    placed = set()
    for path in watched(list(sums)):
        target = _place(path, manifest, to)
        if copy(folder / path, target) != sums[path]:
            raise Unavailable(f"{path} of the backup is not what was written: nothing was restored.")
        placed.add(target.parent)
    sync_folders(placed)
    _finish(manifest, to)
    return manifest


def _require_fit(manifest: Manifest, to: Target) -> None:
    kind = make_url(to.database_url).get_backend_name()
    if manifest.database != kind:
        raise SettingsError(f"The backup is of {manifest.database}, the settings name {kind}: set database_url.")
    known = {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if manifest.revision not in known:
        raise SettingsError(f"The backup was made by a newer Nodus ({manifest.nodus}); install that version.")
    catalog = Catalog(to.database_url, b"")
    try:
        if not (_is_sqlite(to) and not _sqlite_file(to).exists()) and not snapshot.is_empty(catalog):
            raise SettingsError("The database is not empty; restore into an empty one.")
    finally:
        catalog.close()


def _is_sqlite(to: Target) -> bool:
    return make_url(to.database_url).get_backend_name() == "sqlite"


def _sqlite_file(to: Target) -> Path:
    return Path(str(make_url(to.database_url).database))


def _place(path: str, manifest: Manifest, to: Target) -> Path:
    """Where a file of the backup goes."""
    state, _, name = path.partition("/")
    if ".." in Path(path).parts or state not in (manifest.state, "spool", "results"):
        raise Unavailable("The backup names a file outside of itself: it was tampered with.")
    if state != manifest.state:
        return to.data / path
    if name == DATABASE:
        return _sqlite_file(to) if _is_sqlite(to) else to.data / "restored.dump"
    if name.startswith(f"{JOURNAL}/"):
        return to.data / "spool" / name
    return to.data / name


def _finish(manifest: Manifest, to: Target) -> None:
    """Open what was put back, and say so in its audit trail."""
    catalog = Catalog(to.database_url, (to.data / KEY).read_bytes())
    try:
        if not _is_sqlite(to):
            snapshot.put_back(catalog, to.data / "restored.dump")
            (to.data / "restored.dump").unlink()
        catalog.migrate()
        with catalog.reading() as session:
            if audit.head(session) != manifest.head:
                raise Unavailable("The audit trail of the backup does not end where its manifest says.")
        with catalog.writing() as session:
            detail: Detail = {"made_at": manifest.made_at, "nodus": manifest.nodus, "audit_seq": manifest.audit_seq}
            audit.append(session, Event(EventKind.BACKUP_RESTORED, actor="operator", detail=detail))
        with catalog.reading() as session:
            Anchors(to.data / ANCHORS).add(audit.head(session))
    finally:
        catalog.close()
