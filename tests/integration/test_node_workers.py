"""workers/app.py as a process: it says that it is there only when it can do jobs, and goes on saying so."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest
from sqlalchemy import select, text

from node.catalog import installation, tables
from node.catalog.session import Catalog
from node.errors import CatalogError, SettingsError
from node.settings import Settings
from tests.conftest import AUDIT_KEY
from tests.servers import eventually, nodus
from workers.tasks import perform
from workers.workplace import Workplace

WITHOUT_AI = "import sys\nsys.modules.update(torch=None, highdicom=None)\n"
"""As a sitecustomize: Python then finds these modules as little as where they were never installed."""


@pytest.fixture
def without_ai(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python started from here lacks the AI extra."""
    folder = tmp_path / "without-ai"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(WITHOUT_AI)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)


@pytest.fixture
def settings(data: Path, sqlite_template: Path) -> Settings:
    """A data directory where a node has run."""
    shutil.copy(sqlite_template, data / "nodus.db")
    (data / "audit.key").write_bytes(AUDIT_KEY)
    (data / "audit.key").chmod(0o600)
    return Settings(data=data)


def announced(settings: Settings) -> list[str]:
    """Names of the workers that say that they are there."""
    catalog = Catalog(settings.database, AUDIT_KEY)
    try:
        with catalog.reading() as session:
            return list(session.scalars(select(tables.worker.c.name)))
    finally:
        catalog.close()


@contextmanager
def beating(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A worker that does nothing but say that it is there, under the name w1, until the end of the block."""
    pytest.importorskip("torch")
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)  # it reads its settings where Celery looks for it: at import
    app = import_module("workers.app")
    monkeypatch.setattr(app, "BEAT_EVERY_S", 0.01)
    stop = threading.Event()
    thread = threading.Thread(target=app.beat, args=(settings, "w1", stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


@pytest.mark.usefixtures("without_ai")
def test_without_the_ai_extra_a_node_starts_no_worker_and_says_so_once(tmp_path: Path) -> None:
    with nodus(tmp_path / "data", worker=True) as node:
        assert node.web("/readyz").status == 200
        node.stop()
        lines = [json.loads(line) for line in node.log().splitlines() if line.startswith("{")]
    about = [line["message"] for line in lines if "worker" in line["message"]]
    assert about == ["no worker is started: the AI extra is missing, install nodus[ai]"]


@pytest.mark.usefixtures("without_ai")
def test_a_worker_that_cannot_prepare_ends_with_a_line_and_never_announces_itself(settings: Settings) -> None:
    environment = {**os.environ, **settings.environment(), "REMAP_SIGTERM": "SIGQUIT"}
    ended = subprocess.run(
        [sys.executable, "-m", "workers.app"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "this worker cannot read anything, and ends" in ended.stderr
    assert "ModuleNotFoundError" in ended.stderr
    assert announced(settings) == []


def test_a_worker_on_the_files_of_another_node_ends_with_a_line_before_it_takes_a_job(settings: Settings) -> None:
    pytest.importorskip("torch")
    with Catalog(settings.database, AUDIT_KEY).writing() as session:
        installation.make(session)
    installation.own(settings.data, "ANOTHER")
    environment = {**os.environ, **settings.environment(), "REMAP_SIGTERM": "SIGQUIT", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-m", "workers.app"], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert "this worker is set up for another node, and ends" in ended.stderr
    assert "correct database_url" in ended.stderr
    assert announced(settings) == []
    with pytest.raises(SettingsError, match="The database is not the one"):
        perform(Workplace(settings), 1)


def test_a_reading_leaves_the_processors_to_what_must_not_wait(settings: Settings) -> None:
    pytest.importorskip("torch")
    Catalog(settings.database, AUDIT_KEY).close()
    environment = {**os.environ, **settings.environment(), "OMP_NUM_THREADS": "1", "NODUS_EMBEDDED": "1"}
    order = [sys.executable, "-m", "workers.app"]
    with subprocess.Popen(order, env=environment, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as worker:
        assert worker.stdin
        eventually(lambda: announced(settings), 120.0, "the worker is prepared")
        paths = Path(f"/proc/{worker.pid}/task").glob("*/children")
        (child,) = [int(pid) for path in paths for pid in path.read_text().split()]
        usual = os.getpriority(os.PRIO_PROCESS, os.getpid())
        assert os.getpriority(os.PRIO_PROCESS, worker.pid) == usual
        assert os.getpriority(os.PRIO_PROCESS, child) == min(usual + 5, 19)
        worker.stdin.close()
        assert worker.wait(30) is not None


def test_a_worker_waits_for_the_first_start_of_its_node(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    key = (settings.data / "audit.key").rename(settings.data / "not yet")
    with beating(settings, monkeypatch):
        eventually(lambda: "could not say that it is there" in caplog.text, what="there is no key yet")
        key.rename(settings.data / "audit.key")
        eventually(lambda: announced(settings) == ["w1"], what="the worker says that it is there")
    assert announced(settings) == []


@pytest.mark.parametrize(("version", "said"), [("0001", "older than this Nodus"), ("9999", "of a newer Nodus")])
def test_a_worker_waits_while_the_database_is_of_another_version(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, version: str, said: str
) -> None:
    catalog = Catalog(settings.database, AUDIT_KEY)
    with catalog.writing() as session:
        ours = session.scalars(text("SELECT version_num FROM alembic_version")).one()
        session.execute(text(f"UPDATE alembic_version SET version_num = '{version}'"))
    with pytest.raises(CatalogError, match=said):
        perform(Workplace(settings), 1)
    with beating(settings, monkeypatch):
        eventually(lambda: any(said in str(record.__dict__) for record in caplog.records), what="it says why it waits")
        assert announced(settings) == []
        with catalog.writing() as session:
            session.execute(text(f"UPDATE alembic_version SET version_num = '{ours}'"))
        eventually(lambda: announced(settings) == ["w1"], what="the worker says that it is there")
    catalog.close()


def test_a_database_that_is_away_for_a_moment_does_not_end_the_presence_of_a_worker(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = Catalog(settings.database, AUDIT_KEY)
    with catalog.writing() as session:
        session.execute(text("ALTER TABLE worker RENAME TO elsewhere"))
    with beating(settings, monkeypatch):
        eventually(lambda: "could not say that it is there" in caplog.text, what="the beat failed once")
        with catalog.writing() as session:
            session.execute(text("ALTER TABLE elsewhere RENAME TO worker"))
        eventually(lambda: announced(settings) == ["w1"], what="the worker says that it is there")
    assert announced(settings) == []
    catalog.close()
