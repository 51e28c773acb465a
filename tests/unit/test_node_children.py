"""children.py: the receivers that a node holds, whoever of its loops looks after them."""

import multiprocessing
import socket
import sys
import threading
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import pytest

from node import children, receiver
from node.domain.peers import Sender, Standing
from node.settings import Settings

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

    def start(_: Any, __: Any, senders: tuple[Sender, ...]) -> tuple[SpawnProcess, Connection]:
        """The pipe without the process: that one counts as ended, and so as lost."""
        ours, other_end = multiprocessing.get_context("spawn").Pipe()
        theirs.append(other_end)
        ours.send(receiver.Know(senders))
        other_end.send(receiver.Ready())
        if len(theirs) == 2:  # the other loop takes its turn just now
            meanwhile.append(threading.Thread(target=pool.know_again, args=(NEW,)))
            meanwhile[0].start()
            meanwhile[0].join(0.2)
        return multiprocessing.get_context("spawn").Process(), ours

    monkeypatch.setattr(receiver, "start", start)
    with socket.socket() as listener:
        pool = children.ReceiverPool(Settings(data=tmp_path, receivers=1), listener, OLD)
        pool.listen(_Deaf())
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
