"""workers/app.py as a process: it says that it is there only when it can do jobs, and goes on saying so."""

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path

import pytest
from sqlalchemy import select, text

from node.catalog import tables
from node.catalog.session import Catalog
from node.settings import Settings
from tests.conftest import AUDIT_KEY
from tests.servers import eventually, nodus

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


def test_a_database_that_is_away_for_a_moment_does_not_end_the_presence_of_a_worker(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("torch")
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)  # it reads its settings where Celery looks for it: at import
    app = import_module("workers.app")
    monkeypatch.setattr(app, "BEAT_EVERY_S", 0.01)
    catalog, stop = Catalog(settings.database, AUDIT_KEY), threading.Event()
    beating = threading.Thread(target=app.beat, args=(settings, "w1", stop))
    with caplog.at_level(logging.WARNING):
        with catalog.writing() as session:
            session.execute(text("ALTER TABLE worker RENAME TO elsewhere"))
        beating.start()
        eventually(lambda: "could not say that it is there" in caplog.text, what="the beat failed once")
        with catalog.writing() as session:
            session.execute(text("ALTER TABLE elsewhere RENAME TO worker"))
    eventually(lambda: announced(settings) == ["w1"], what="the worker says that it is there")
    stop.set()
    beating.join(10)
    assert announced(settings) == []
    catalog.close()
