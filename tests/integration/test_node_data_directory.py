"""The data directory and the database: private whoever opens them first, made by `nodus up` alone, refused in words."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from node import cli
from node.catalog.session import Catalog
from node.directory import catalog_of
from node.errors import SettingsError
from node.settings import Settings
from tests.conftest import AUDIT_KEY, Typed
from tests.servers import Postgres
from tests.servers import nodus as up
from tests.servers.processes import START_WITHIN_S


@pytest.fixture
def _careless() -> Iterator[None]:
    """The umask of most shells."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def left(tmp_path: Path, sqlite_template: Path) -> Path:
    """What a node left, unpacked by somebody whose umask lets others read."""
    folder = tmp_path / "left"
    folder.mkdir()
    (folder / "nodus.db").write_bytes(sqlite_template.read_bytes())
    (folder / "audit.key").write_bytes(AUDIT_KEY)
    for name, mode in {"": 0o755, "nodus.db": 0o644, "audit.key": 0o600}.items():
        (folder / name).chmod(mode)
    return folder


def modes(folder: Path) -> set[int]:
    """Modes of the files in a folder."""
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_file()}


@pytest.mark.usefixtures("_careless")
def test_opening_a_database_that_others_can_read_closes_it_to_them(typed: Typed, left: Path) -> None:
    assert typed("status", "--data", str(left))[0] == 0
    assert stat.S_IMODE(left.stat().st_mode) == 0o700
    assert modes(left) == {0o600}


@pytest.mark.usefixtures("_careless")
def test_a_new_database_can_be_read_by_nobody_else(tmp_path: Path) -> None:
    catalog = catalog_of(Settings(data=tmp_path / "new"))
    catalog.migrate()
    with catalog.writing():  # the files beside it are there as long as it is open
        assert modes(tmp_path / "new") == {0o600}
    catalog.close()


def test_a_second_connection_does_not_drop_the_locks_of_the_first(left: Path) -> None:
    """Another process that ends would otherwise take the database for unused, and remove what is not yet in it."""
    catalog = catalog_of(Settings(data=left))
    look = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM audit').fetchone()"
    with catalog.reading() as one, catalog.reading() as other:
        for session in (one, other):
            session.execute(text("SELECT count(*) FROM audit"))
        subprocess.run([sys.executable, "-c", look, str(left / "nodus.db")], check=True)
        assert (left / "nodus.db-wal").exists()
    catalog.close()


@pytest.mark.parametrize(
    "command",
    ["status", "studies", "jobs", "retry 1", "senders", "senders allow *@10.0.0.5", "destinations",
     "destinations echo", "audit list", "audit verify", "audit export", "retain", "purge 1.2.3",
     "backup kept"],
)  # fmt: skip
def test_a_command_makes_nothing_where_no_node_has_run(typed: Typed, tmp_path: Path, command: str) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    code, said = typed(*command.split(), "--data", str(empty))
    assert (code, said) == (1, f"nodus: No node has run here: {empty} holds no catalog; `nodus up` makes one.\n")
    assert list(empty.iterdir()) == []


def test_a_key_without_its_database_is_no_catalog(typed: Typed, left: Path) -> None:
    (left / "nodus.db").unlink()
    assert "No node has run here" in typed("status", "--data", str(left))[1]
    assert not (left / "nodus.db").exists()


def refusal(data: Path) -> str:
    """What `nodus up` on a data directory says before it ends with exit code 1."""
    command = [sys.executable, "-m", "node", "up", "--data", str(data), "--port", "0", "--web-port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=START_WITHIN_S, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    return ended.stderr.splitlines(keepends=True)[-1]


def test_the_database_of_another_installation_is_refused_in_a_sentence(
    tmp_path: Path, typed: Typed, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, other = tmp_path / "data", tmp_path / "other.db"
    with up(data) as node:
        node.stop()
        serial = (data / "installation").read_text()
        node.start()  # the same again
    shutil.copy(sqlite_template, other)
    monkeypatch.setenv("NODUS_DATABASE_URL", f"sqlite:///{other}")
    refused = (
        f"nodus: The database is not the one that {data} belongs to: correct database_url. If that one is lost for "
        f"good, remove {data / 'installation'}, and what was received is registered anew.\n"
    )
    assert refusal(data) == refused
    for asked in ("status", "retain", "backup kept"):
        assert typed(*asked.split(), "--data", str(data)) == (1, refused)
    assert (data / "installation").read_text() == serial


def test_a_database_is_not_taken_over_by_an_empty_data_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is not mounted, or a second host; twice, for a first try must leave nothing that lets in a second."""
    monkeypatch.setenv("NODUS_DATABASE_URL", f"sqlite:///{tmp_path}/shared.db")
    with up(tmp_path / "data") as node:
        node.stop()
    for _ in range(2):
        said = refusal(tmp_path / "unmounted")
        assert "belongs to a data directory that is not here" in said
        assert "Is its disk mounted" in said
    with up(tmp_path / "data") as node:
        node.command("audit", "verify")


def test_a_node_without_its_audit_key_does_not_begin_another_chain(tmp_path: Path) -> None:
    with up(tmp_path / "data") as node:
        node.stop()
    key = (tmp_path / "data" / "audit.key").rename(tmp_path / "kept")
    assert "holds no audit key" in refusal(tmp_path / "data")
    key.rename(tmp_path / "data" / "audit.key")
    with up(tmp_path / "data") as node:
        node.command("audit", "verify")


def test_a_data_directory_that_cannot_be_made_is_one_sentence(typed: Typed) -> None:
    said = "nodus: The data directory /proc/nope cannot be used (No such file or directory); choose another --data.\n"
    assert typed("up", "--data", "/proc/nope") == (1, said)


@pytest.mark.parametrize(
    "url",
    ["not a url", "nonsense://here/db", "postgresql+nonsense://u:secret@here/db", "mysql://u:secret@here/db",
     "postgresql+psycopg://u:secret@here:port/db"],
)  # fmt: skip
def test_a_database_url_that_is_none_is_one_sentence_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        catalog_of(Settings(data=tmp_path / "data", database_url=url))
    assert str(refused.value) == (
        "The database_url is none that Nodus can use: postgresql+psycopg://USER:PASSWORD@HOST/NAME, or none for SQLite."
    )
    assert refused.value.__cause__ is None


def test_a_statement_on_postgresql_ends_within_a_minute_unless_the_url_says_otherwise(
    postgres_server: Postgres,
) -> None:
    url = postgres_server.url("postgres")
    for query, expected in {"": "1min", "?options=-c%20statement_timeout%3D5000": "5s"}.items():
        catalog = Catalog(url + query, AUDIT_KEY)
        with catalog.reading() as session:
            assert session.scalars(text("SHOW statement_timeout")).one() == expected
        catalog.close()


def test_debug_shows_the_stack_wherever_it_stands(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in (["--debug", "up", "--data", "/proc/nope"], ["up", "--data", "/proc/nope", "--debug"]):
        monkeypatch.setattr("sys.argv", ["nodus", *arguments])
        with pytest.raises(SettingsError):
            cli.main()
