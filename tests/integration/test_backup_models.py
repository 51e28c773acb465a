"""Backups keep the models that were added, and which of them reads; on both databases."""

import fcntl
import os
import shutil
import threading
from pathlib import Path

import pytest

from node import backup
from node.admin import keeping as admin
from node.audit.anchor import Anchors
from node.catalog import audit, tables
from node.catalog.session import Catalog
from node.errors import Unavailable
from node.settings import Settings
from node.spool import Spool
from tests.conftest import AUDIT_KEY
from tests.keeping import Keeping
from tests.servers import Postgres
from workers.models import store

FILES = {"model.toml": b"settings", "deep/.model.onnx": b"weights"}


@pytest.fixture
def keeping(catalog: Catalog, spool: Spool, data: Path) -> Keeping:
    """A node with two models: one in use, one in shadow."""
    (data / "audit.key").write_bytes(AUDIT_KEY)
    made = Keeping.on(catalog, spool, data)
    with catalog.writing() as session:
        session.execute(tables.installation.insert().values(id=1, serial="S1"))
    with catalog.reading() as session:
        Anchors(data / "audit.anchors").add(audit.head(session))
    store.install(data, "used", "onnx", "1.0", FILES)
    store.install(data, "tried", "onnx", "1.0", FILES | {"model.toml": b"Settings"})
    store.choose(data, "used")
    store.shade(data, "tried")
    return made


@pytest.fixture
def empty_url(catalog: Catalog, request: pytest.FixtureRequest) -> str:
    """An empty database of the same kind; nothing for SQLite in the data directory."""
    if catalog.engine.dialect.name == "sqlite":
        return ""
    server: Postgres = request.getfixturevalue("postgres_server")
    database = server.database("template1")
    url = database.__enter__()
    request.addfinalizer(lambda: database.__exit__(None, None, None))
    return url


def make(keeping: Keeping, folder: Path) -> backup.Manifest:
    anchors = Anchors(keeping.data / "audit.anchors")
    return backup.make(backup.Source(keeping.flow.catalog, keeping.flow.spool, keeping.data, anchors), folder)


def models(folder: Path) -> dict[str, bytes]:
    inside = folder / "models"
    return {str(path.relative_to(inside)): path.read_bytes() for path in inside.rglob("*") if path.is_file()}


def test_models_come_back_with_what_is_in_use_and_in_shadow_closed_to_others(
    keeping: Keeping, tmp_path: Path, empty_url: str
) -> None:
    make(keeping, tmp_path / "kept")
    again = tmp_path / "again"
    admin.restore(Settings(data=again, database_url=empty_url), tmp_path / "kept", iter)
    assert models(again) == models(keeping.data) != {}
    registry = store.registry_of(again)
    assert (registry.in_use, registry.in_shadow) == ("used", "tried")
    assert next(store.content(again, each) for each in registry.entries) == FILES
    inside = [again / "models", *(again / "models").rglob("*")]
    assert {f"{'d' if path.is_dir() else 'f'}{path.stat().st_mode & 0o777:o}" for path in inside} == {"d700", "f600"}


def test_a_model_of_the_same_name_and_size_as_one_before_is_not_taken_for_it(keeping: Keeping, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    make(keeping, folder)
    store.shade(keeping.data, "")
    store.remove(keeping.data, "tried")
    store.install(keeping.data, "tried", "onnx", "1.0", FILES | {"model.toml": b"SETTINGS"})
    second = make(keeping, folder)
    assert models(folder / second.state) == models(keeping.data)
    assert backup.verify(folder) == []


def test_a_model_that_was_changed_in_the_backup_is_told_and_not_put_back(
    keeping: Keeping, tmp_path: Path, empty_url: str
) -> None:
    folder = tmp_path / "kept"
    state = make(keeping, folder).state
    (folder / state / "models" / "used" / "model.toml").write_bytes(b"Settings")
    assert backup.verify(folder) == [f"{state}/models/used/model.toml is not what was written."]
    with pytest.raises(Unavailable, match="is not what was written: nothing was restored"):
        admin.restore(Settings(data=tmp_path / "again", database_url=empty_url), folder, iter)
    assert not (tmp_path / "again" / "models").exists()


def test_what_an_addition_that_was_killed_left_and_what_links_elsewhere_is_not_in_it(
    keeping: Keeping, tmp_path: Path
) -> None:
    (keeping.data / "models" / ".half.aside").mkdir()
    (keeping.data / "models" / ".half.aside" / "model.toml").write_bytes(b"half")
    (keeping.data / "models" / "used" / "elsewhere").symlink_to("/etc/hostname")
    state = make(keeping, tmp_path / "kept").state
    assert models(tmp_path / "kept" / state).keys() == {
        "registry.json", *(f"{name}/{path}" for name in ("used", "tried") for path in FILES)
    }  # fmt: skip


def test_while_models_are_changed_a_backup_waits(keeping: Keeping, tmp_path: Path) -> None:
    handle = os.open(keeping.data / "models", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    making = threading.Thread(target=make, args=(keeping, tmp_path / "kept"))
    making.start()
    making.join(1)
    assert making.is_alive()
    os.close(handle)
    making.join(60)
    assert backup.verify(tmp_path / "kept") == []


def test_a_node_without_models_has_none_in_its_backup(keeping: Keeping, tmp_path: Path) -> None:
    shutil.rmtree(keeping.data / "models")
    state = make(keeping, tmp_path / "kept").state
    assert not (tmp_path / "kept" / state / "models").exists()
