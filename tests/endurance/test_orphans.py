"""What a killed process leaves behind is cleared away, and who cannot go on without it is started again."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from node.catalog import tables
from node.catalog.session import Catalog
from node.settings import Settings
from tests.conftest import AUDIT_KEY
from tests.endurance.programs import children, command_line, kill, working_on
from tests.sender import Scanner
from tests.servers import eventually, nodus
from tests.servers.processes import end
from tests.studies import Series


def test_what_a_killed_receiver_left_half_written_is_removed(tmp_path: Path) -> None:
    (payload,) = Series("half").payloads([0])
    with nodus(tmp_path / "data") as node:
        incoming = node.data / "spool" / "incoming"
        one = Scanner(node.dicom_port, [(payload.sop_class_uid, payload.transfer_syntax_uid)])
        with closing(one.socket):
            one.send(one.begin(payload), payload.data_set[:100], 0, 100, finish=False)
            (half,) = eventually(lambda: list(incoming.iterdir()), what="a file is being written")
            receiver = int(half.name.partition("-")[0])
            assert "spawn_main" in command_line(receiver)
            kill(receiver)
            eventually(lambda: not list(incoming.iterdir()), what="it is removed")


@pytest.fixture
def worker(data: Path, sqlite_template: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The main process of a worker that waits for jobs."""
    pytest.importorskip("torch")
    shutil.copy(sqlite_template, data / "nodus.db")
    (data / "audit.key").write_bytes(AUDIT_KEY)
    (data / "audit.key").chmod(0o600)
    environment = {**os.environ, **Settings(data=data).environment()}
    process = subprocess.Popen([sys.executable, "-m", "workers.app"], env=environment)
    try:
        eventually(lambda: workers_in(data), 60.0, "the worker waits for jobs")
        yield process
    finally:
        end(process)


def workers_in(data: Path) -> int:
    """How many say that they are there."""
    catalog = Catalog(f"sqlite:///{data}/nodus.db", AUDIT_KEY)
    try:
        with catalog.reading() as session:
            return len(session.execute(select(tables.worker)).all())
    finally:
        catalog.close()


def test_a_worker_whose_child_is_killed_ends_so_that_it_is_started_again_and_leaves_nobody_behind(
    worker: subprocess.Popen[bytes], data: Path
) -> None:
    (child,) = children(worker.pid)
    kill(child)
    assert worker.wait(20) == os.EX_TEMPFAIL
    eventually(lambda: not working_on(data), what="the child that took its place ends")
