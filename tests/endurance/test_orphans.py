"""What a killed process leaves behind is cleared away, and who cannot go on without it is started again."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from select import select as ready

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


CHILD = """
import os, sys, threading, time
from workers import app
main = os.getpid()
if os.fork() == 0:
    threading.Thread(target=app.end_with_main, args=(main,), daemon=True).start()
    app.at_work.acquire()
    print("at work", os.getpid(), flush=True)
    sys.stdin.readline()
    app.at_work.release()
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
time.sleep(600)
"""
"""A pool's child at work, and then for ever at a lock that a killed sibling has."""


def test_a_child_that_waits_for_a_lock_nobody_gives_back_ends_with_its_worker_but_after_its_job(data: Path) -> None:
    pytest.importorskip("torch")
    environment = {**os.environ, **Settings(data=data).environment()}
    worker = subprocess.Popen(
        [sys.executable, "-c", CHILD], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        child = os.pidfd_open(int(worker.stdout.readline().split()[-1]))
        try:
            worker.kill()
            assert ready([child], [], [], 3.0)[0] == []
            worker.stdin.write("done\n")
            worker.stdin.flush()
            assert ready([child], [], [], 20.0)[0] == [child]
        finally:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(child, signal.SIGKILL)
            os.close(child)


def test_a_worker_that_cannot_end_in_order_ends_all_the_same_when_its_node_has(data: Path) -> None:
    pytest.importorskip("torch")
    environment = {**os.environ, **Settings(data=data).environment(), "NODUS_EMBEDDED": "1"}
    program = (
        "import signal; from workers import app; signal.signal(signal.SIGTERM, signal.SIG_IGN); app.end_with_parent()"
    )
    worker = subprocess.Popen([sys.executable, "-c", program], env=environment, stdin=subprocess.PIPE)
    with worker:
        assert worker.stdin is not None
        worker.stdin.close()
        assert worker.wait(60) == os.EX_TEMPFAIL
