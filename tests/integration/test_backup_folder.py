"""backup/: what is in the folder, what is copied once, and what a restore refuses; on both databases."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from node import backup
from node.admin import keeping as admin
from node.audit.anchor import Anchors
from node.backup import copying
from node.catalog import audit, tables
from node.catalog.session import Catalog
from node.directory import UNFINISHED, keeping_files, only_node, removing_files
from node.domain.audit import Anchor, verify
from node.errors import SettingsError, Unavailable
from node.settings import Settings
from node.spool import Spool
from tests.conftest import AUDIT_KEY
from tests.flow import Flow
from tests.keeping import IMAGES, Keeping, after
from tests.peers import require
from tests.servers import Postgres
from tests.studies import Series, keep_all, reception


def kept_by(catalog: Catalog, spool: Spool, data: Path) -> Keeping:
    """One study, read and delivered; its audit trail anchored."""
    (data / "audit.key").write_bytes(AUDIT_KEY)
    made = Keeping.on(catalog, spool, data)
    with catalog.writing() as session:
        session.execute(tables.installation.insert().values(id=1, serial="S1"))
    made.finished("1")
    with catalog.reading() as session:
        Anchors(data / "audit.anchors").add(audit.head(session))
    return made


@pytest.fixture
def keeping(catalog: Catalog, spool: Spool, data: Path) -> Keeping:
    """A node on each database."""
    return kept_by(catalog, spool, data)


@pytest.fixture
def small(sqlite_template: Path, spool: Spool, data: Path) -> Iterator[Keeping]:
    """A node on SQLite, for what is the same on both."""
    shutil.copy(sqlite_template, data / "nodus.db")
    catalog = Catalog(f"sqlite:///{data}/nodus.db", AUDIT_KEY)
    yield kept_by(catalog, spool, data)
    catalog.close()


@pytest.fixture
def empty_url(catalog: Catalog, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of the same kind; nothing for SQLite in the data directory."""
    if catalog.engine.dialect.name == "sqlite":
        yield ""
    else:
        server: Postgres = request.getfixturevalue("postgres_server")
        with server.database("template1") as url:
            yield url


def make(keeping: Keeping, folder: Path) -> backup.Manifest:
    anchors = Anchors(keeping.data / "audit.anchors")
    return backup.make(backup.Source(keeping.flow.catalog, keeping.flow.spool, keeping.data, anchors), folder)


def restore(folder: Path, to: Path, url: str = "") -> Settings:
    settings = Settings(data=to, database_url=url)
    admin.restore(settings, folder, iter)
    return settings


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def images(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in files(folder).items() if name.startswith("spool/instances")}


def test_everything_comes_back_and_the_audit_trail_verifies(keeping: Keeping, tmp_path: Path, empty_url: str) -> None:
    manifest = make(keeping, tmp_path / "kept")
    assert (manifest.serial, manifest.counts["studies"], manifest.counts["images"]) == ("S1", 1, IMAGES)
    settings = restore(tmp_path / "kept", tmp_path / "again", empty_url)
    there, here = files(tmp_path / "again"), files(keeping.data)
    assert images(tmp_path / "again") == images(keeping.data)
    assert {name for name in here if name.startswith("results/") and "claim" in name} <= there.keys()
    assert there["audit.key"] == AUDIT_KEY
    again = Catalog(settings.database, AUDIT_KEY)
    for table in tables.metadata.sorted_tables:
        if table.name not in ("audit", "audit_head"):
            assert Flow(again).rows(table) == keeping.flow.rows(table), table.name
    with again.reading() as session:
        anchors = Anchors(tmp_path / "again" / "audit.anchors").all()
        assert len(anchors) == 2
        assert verify(audit.entries(session), audit.head(session), anchors, AUDIT_KEY) == []
    again.close()


def test_sha256sum_reads_its_sums(small: Keeping, tmp_path: Path) -> None:
    state = make(small, tmp_path / "kept").state
    command = [require("sha256sum", "coreutils"), "--check", "--strict", "--quiet", f"{state}/SHA256SUMS"]
    assert subprocess.run(command, cwd=tmp_path / "kept", check=True, capture_output=True).stdout == b""


def test_a_second_backup_copies_only_what_is_new_and_forgets_what_is_gone(
    small: Keeping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kept"
    first = make(small, folder)
    small.finished("2", after(60))
    copied: list[str] = []
    original = copying.copy
    monkeypatch.setattr("node.backup.making.copy", lambda *of: [copied.append(of[0].name), original(*of)][1])
    second = make(small, folder)
    assert len([name for name in copied if name.endswith(".dcm")]) == IMAGES + 3
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "results", "spool", second.state}
    assert first.state != second.state
    small.retain().step()
    make(small, folder)
    assert images(folder) == {}
    assert backup.verify(folder) == []


def test_until_a_backup_is_complete_the_one_before_it_stays_whole(
    small: Keeping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kept"
    make(small, folder)
    small.finished("2", after(60))

    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("node.backup.making.write", power_cut)
        make(small, folder)
    assert backup.verify(folder) == []
    assert backup.read(folder).counts["studies"] == 1
    assert make(small, folder).counts["studies"] == 2


def test_the_first_backup_is_none_until_it_is_complete(
    small: Keeping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("node.backup.making.write", power_cut)
        make(small, tmp_path / "kept")
    with pytest.raises(Unavailable, match=r"holds no complete backup: it has no manifest\.json"):
        restore(tmp_path / "kept", tmp_path / "again")
    assert not (tmp_path / "again" / "audit.key").exists()


def test_files_that_had_no_row_yet_are_in_it_too(small: Keeping, tmp_path: Path) -> None:
    keep_all(small.flow.spool, Series("new").payloads(range(3)), reception(after(60)))
    make(small, tmp_path / "kept")
    assert len(images(tmp_path / "kept")) == IMAGES + 3


@pytest.mark.parametrize("where", [".", "..", "spool/kept"])
def test_a_backup_into_the_data_directory_or_around_it_is_refused_and_removes_nothing(
    small: Keeping, where: str
) -> None:
    before = files(small.data)
    with pytest.raises(SettingsError, match=r"lie in one another; choose another folder\.$"):
        make(small, small.data / where)
    assert files(small.data) == before


@pytest.mark.parametrize("manifest", [None, '{"name": "somebody\'s page"}'])
def test_a_folder_of_somebody_else_is_refused_and_left_as_it_is(
    small: Keeping, tmp_path: Path, manifest: str | None
) -> None:
    folder = tmp_path / "var"
    for name in ("spool/mail", "log/today", "results/1"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("theirs")
    if manifest:
        (folder / "manifest.json").write_text(manifest)
    before = files(folder)
    with pytest.raises(SettingsError, match=r"is not empty and holds no backup that can be read; choose a folder"):
        make(small, folder)
    assert files(folder) == before


def test_what_somebody_put_beside_a_backup_stays_and_what_is_left_of_an_unfinished_one_goes(
    small: Keeping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kept"
    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr("node.backup.making.write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space")))
        make(small, folder)
    (folder / "notes").mkdir()
    (folder / "notes" / "todo").write_text("theirs")
    state = make(small, folder).state
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "notes", "results", "spool", state}
    assert (folder / "notes" / "todo").exists()


def test_the_backup_of_another_installation_is_left_as_it_is(small: Keeping, tmp_path: Path) -> None:
    make(small, tmp_path / "kept")
    before = files(tmp_path / "kept")
    with small.flow.catalog.writing() as session:
        session.execute(tables.installation.update().values(serial="S2"))
    with pytest.raises(SettingsError, match="holds a backup of another installation; choose another folder"):
        make(small, tmp_path / "kept")
    assert files(tmp_path / "kept") == before


def test_what_the_journal_holds_goes_with_it(small: Keeping, tmp_path: Path) -> None:
    journal = small.data / "spool" / "journal"
    (journal / "1.jsonl").write_text("refused\n")
    make(small, tmp_path / "kept")
    restore(tmp_path / "kept", tmp_path / "again")
    assert (tmp_path / "again" / "spool" / "journal" / "1.jsonl").read_text() == "refused\n"


def test_a_named_file_that_is_not_there_is_said_and_the_rest_is_kept(small: Keeping, tmp_path: Path) -> None:
    lost = next(iter(small.flow.spool.files()))
    (small.data / lost).unlink()
    assert make(small, tmp_path / "kept").missing == [lost]
    view = admin.verify_backup(tmp_path / "kept", iter)
    assert not view.well
    assert view.note == f"{lost} was missing when the backup was made."


def test_anchors_after_the_moment_of_the_backup_stay_out_of_it(small: Keeping, tmp_path: Path) -> None:
    anchors = Anchors(small.data / "audit.anchors")
    known = anchors.all()
    anchors.add(Anchor(10_000, "f" * 64))
    state = make(small, tmp_path / "kept").state
    assert Anchors(tmp_path / "kept" / state / "audit.anchors").all() == known


@pytest.mark.parametrize("what", ["an image", "the database", "the sums", "the manifest"])
def test_a_backup_that_was_altered_is_not_restored(small: Keeping, tmp_path: Path, what: str) -> None:
    folder = tmp_path / "kept"
    state = make(small, folder).state
    image = next((folder / "spool").rglob("*.dcm"))
    path = {"an image": image, "the database": folder / state / "database", "the sums": folder / state / "SHA256SUMS",
            "the manifest": folder / "manifest.json"}[what]  # fmt: skip
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(Unavailable, match=r"is not what was written|is not the one|cannot be read"):
        restore(folder, tmp_path / "again")
    assert [path.name for path in (tmp_path / "again").iterdir()] == []
    if what in ("an image", "the database"):
        assert backup.verify(folder) == [f"{path.relative_to(folder)} is not what was written."]


def test_sums_that_name_files_elsewhere_are_refused(small: Keeping, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    manifest = make(small, folder)
    sums = backup.manifest.read_sums(folder, manifest)
    (tmp_path / "evil").write_bytes(b"")
    digest = backup.manifest.digest_of(tmp_path / "evil")
    for name in ("spool/../../evil", "/etc/evil", "other/evil"):
        sha = backup.manifest.write_sums(folder, manifest.state, {name: digest, **sums})
        backup.manifest.write(folder, backup.Manifest(**{**manifest.__dict__, "sums_sha256": sha}))
        with pytest.raises(Unavailable, match="names a file outside of itself"):
            restore(folder, tmp_path / "again")


def test_a_restore_wants_an_empty_place(keeping: Keeping, tmp_path: Path, catalog: Catalog) -> None:
    make(keeping, tmp_path / "kept")
    with pytest.raises(SettingsError, match="is not empty; restore into a data directory that is empty"):
        restore(tmp_path / "kept", keeping.data)
    with pytest.raises(SettingsError, match=r"^The database is not empty; restore into an empty one\.$"):
        restore(tmp_path / "kept", tmp_path / "again", catalog.engine.url.render_as_string(hide_password=False))


def test_a_restore_wants_the_same_kind_of_database(keeping: Keeping, tmp_path: Path, catalog: Catalog) -> None:
    make(keeping, tmp_path / "kept")
    other = "" if catalog.engine.dialect.name == "postgresql" else "postgresql+psycopg://nobody@127.0.0.1:1/none"
    with pytest.raises(SettingsError, match=r"^The backup is of (sqlite|postgresql), the settings name"):
        restore(tmp_path / "kept", tmp_path / "again", other)


def test_a_backup_of_a_newer_nodus_is_refused(small: Keeping, tmp_path: Path) -> None:
    make(small, tmp_path / "kept")
    manifest = json.loads((tmp_path / "kept" / "manifest.json").read_text())
    (tmp_path / "kept" / "manifest.json").write_text(json.dumps({**manifest, "revision": "9999", "nodus": "9.0"}))
    with pytest.raises(SettingsError, match=r"made by a newer Nodus \(9.0\)"):
        restore(tmp_path / "kept", tmp_path / "again")


def test_a_restore_that_was_killed_leaves_a_place_that_no_node_starts_on(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / UNFINISHED).touch()
    refused = pytest.raises(SettingsError, match="was interrupted: empty it, and restore again")
    with refused, only_node(tmp_path / "again"):
        pass


def test_retention_and_backups_wait_for_each_other(tmp_path: Path) -> None:
    with keeping_files(tmp_path), keeping_files(tmp_path), removing_files(tmp_path) as alone:
        assert not alone
    with removing_files(tmp_path) as alone:
        assert alone


def test_two_backups_into_one_folder_are_refused(small: Keeping, tmp_path: Path) -> None:
    from node.backup.making import _only_one

    copying.private(tmp_path / "kept")
    with _only_one(tmp_path / "kept"), pytest.raises(SettingsError, match="Another backup is being made"):
        make(small, tmp_path / "kept")


def test_without_the_programs_of_postgresql_it_says_which_to_install(
    keeping: Keeping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if keeping.flow.catalog.engine.dialect.name == "sqlite":
        assert make(keeping, tmp_path / "kept").database == "sqlite"
    else:
        with pytest.raises(Unavailable, match=r"^pg_dump is not installed: .*postgresql-client"):
            make(keeping, tmp_path / "kept")


def test_what_retention_removed_and_came_again_is_in_a_backup_before_it_is_registered_again(
    keeping: Keeping, tmp_path: Path
) -> None:
    keeping.retain().step()
    assert keeping.images() == 0
    again = keep_all(keeping.flow.spool, Series("1", count=IMAGES).payloads([3]))  # acknowledged
    manifest = make(keeping, tmp_path / "kept")
    assert (manifest.missing, [path for path in files(tmp_path / "kept") if path.startswith("spool/")]) == (
        [], [again[0].path]
    )  # fmt: skip
