"""children.py: the receivers that a node holds, whoever of its loops looks after them."""

import multiprocessing
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import pytest

from node import children, receiver
from node.domain.peers import Sender, Standing
from node.doors import Doors
from node.errors import Unavailable
from node.settings import Settings

SPAWN = multiprocessing.get_context("spawn")
OLD = (Sender("OLD", "10.0.0.0/8", Standing.ALLOWED),)
NEW = (Sender("NEW", "10.0.0.0/8", Standing.ALLOWED),)


class _Deaf:
    def take(self, message: object, receiver_id: int) -> None: ...

    def receiver_lost(self, receiver_id: int) -> None: ...


def test_a_receiver_started_while_the_senders_change_knows_the_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs: list[Connection] = []
    meanwhile: list[threading.Thread] = []

    def start(_: Any, __: Any) -> tuple[SpawnProcess, Connection]:
        """The pipe without the process: that one counts as ended, and so as lost."""
        ours, other_end = SPAWN.Pipe()
        theirs.append(other_end)
        other_end.send(receiver.Ready())
        if len(theirs) == 2:  # the other loop takes its turn just now
            meanwhile.append(threading.Thread(target=pool.know_again, args=(NEW,)))
            meanwhile[0].start()
            meanwhile[0].join(0.2)
        return SPAWN.Process(), ours

    monkeypatch.setattr(receiver, "start", start)
    with socket.socket() as listener:
        pool = children.ReceiverPool(Settings(data=tmp_path, receivers=1), Doors(listener))
        pool.listen(_Deaf(), OLD)
        pool.replace_the_lost()
        meanwhile[0].join()
        told = []
        while theirs[1].poll():
            told.append(theirs[1].recv())
    for end in theirs:
        end.close()
    assert told[-1] == receiver.Know(NEW)


def test_a_worker_that_ends_while_the_node_stops_is_not_started_again(tmp_path: Path) -> None:
    now = [0.0]
    worker = children.WorkerChild(Settings(data=tmp_path), clock=lambda: now[0])
    worker._command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    worker.start()
    worker.terminate()
    worker.wait(10.0)
    first = worker._process
    for _ in range(3):
        now[0] += 60.0
        worker.keep()
    assert first is not None and first.stdin is not None
    first.stdin.close()
    assert worker._process is first


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Connection]]:
    """Receivers whose processes never began, and so count as lost; the other ends of their pipes."""
    theirs: list[Connection] = []

    def start(_: Any, __: Any) -> tuple[SpawnProcess, Connection]:
        ours, other_end = SPAWN.Pipe()
        theirs.append(other_end)
        other_end.send(receiver.Ready())
        return SPAWN.Process(), ours

    monkeypatch.setattr(receiver, "start", start)
    yield theirs
    for end in theirs:
        end.close()


def test_receivers_that_end_as_soon_as_they_begin_are_a_failure_that_can_be_seen(
    tmp_path: Path, unread: list[Connection]
) -> None:
    now = [0.0]
    with socket.socket() as listener:
        pool = children.ReceiverPool(Settings(data=tmp_path, receivers=1), Doors(listener), lambda: now[0])
        pool.listen(_Deaf(), OLD)
        pool.replace_the_lost()  # one may be killed, and nobody needs to know
        for _ in range(3):
            with pytest.raises(Unavailable, match="again and again"):
                pool.replace_the_lost()
        now[0] += children.EARLY_S
        pool.replace_the_lost()
    assert len(unread) == 6


def test_a_receiver_that_reads_nothing_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = SPAWN.Pipe()
    stuck = SPAWN.Process(target=signal.pause, daemon=True)
    stuck.start()
    monkeypatch.setattr(receiver, "start", lambda *_: (stuck, ours))
    theirs.send(receiver.Ready())
    with socket.socket() as listener:
        pool = children.ReceiverPool(Settings(data=tmp_path, receivers=1), Doors(listener))
        pool.listen(_Deaf(), OLD)

        def change_often() -> None:
            for number in range(100):
                pool.know_again(OLD * (1000 + number))

        changing = threading.Thread(target=change_often, daemon=True)
        changing.start()
        changing.join(20.0)
        assert not changing.is_alive()
        pool.stop(1.0)
    theirs.close()
    assert stuck.exitcode == -signal.SIGKILL


def test_a_receiver_that_dies_before_it_serves_is_one_sentence() -> None:
    ours, theirs = SPAWN.Pipe()
    ours.send(receiver.Know(OLD))  # what is left unread makes the end a reset
    theirs.close()
    with pytest.raises(Unavailable):
        receiver.wait_until_ready(ours)
    ours.close()
