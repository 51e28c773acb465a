"""The processes of a node: receivers on one inherited socket, and the embedded worker; restarted when they end."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Protocol

from node import receiver
from node.domain.peers import Sender
from node.domain.reception import ListeningEvent
from node.domain.study import Arrival
from node.doors import Doors
from node.errors import Unavailable
from node.settings import Settings

log = logging.getLogger(__name__)

RESTART_WAIT_S = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Between restarts of a worker that keeps ending; the last one repeats."""
STEADY_AFTER_S = 60.0
EARLY_S = 10.0
"""A receiver that ended within this time of its start..."""
CRASHES = 2
"""...so often in a row has a reason that its successor will meet as well."""
AI_MODULES = ("torch", "highdicom")
"""Of the AI extra: the node itself never imports them."""


class Ear(Protocol):
    """Who wants to know what receivers do."""

    def take(self, message: Arrival | ListeningEvent, receiver_id: int) -> None:
        """One message of a receiver, in its order."""

    def receiver_lost(self, receiver_id: int) -> None:
        """A receiver ended without being asked."""


@dataclass
class _Receiver:
    id: int
    process: SpawnProcess
    pipe: Connection
    begun_at: float
    lost_early: int = 0
    """How many in a row, whose place it has, ended within EARLY_S of their start."""


class ReceiverPool:
    """Receiver processes."""

    def __init__(self, settings: Settings, doors: Doors, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._doors = doors
        self._clock = clock
        self._senders: tuple[Sender, ...] | None = None
        self._next_id = 0
        self._ear: Ear | None = None
        self._hearing: list[threading.Thread] = []
        self._stopping = False
        self._changing = threading.Lock()
        """One loop replaces receivers while another tells them of new senders: none may miss them."""
        receiver.prepare(settings)
        self._members = [self._start() for _ in range(settings.receivers)]

    def _start(self) -> _Receiver:
        self._next_id += 1
        return _Receiver(self._next_id, *receiver.start(self._settings, self._doors), self._clock())

    def listen(self, ear: Ear, senders: tuple[Sender, ...]) -> None:
        """Let the receivers serve those senders, wait until they do, then pass on what they say. Raises Unavailable."""
        self._ear = ear
        self.know_again(senders)
        for member in self._members:
            receiver.wait_until_ready(member.pipe)
            self._hear(member)

    def _hear(self, member: _Receiver) -> None:
        hearing = threading.Thread(target=self._pass_on, args=(member,), name=f"receiver {member.id}", daemon=True)
        hearing.start()
        self._hearing = [*(each for each in self._hearing if each.is_alive()), hearing]

    def _pass_on(self, member: _Receiver) -> None:
        assert self._ear is not None
        try:
            while True:
                message = member.pipe.recv()
                if not isinstance(message, receiver.Ready):
                    self._ear.take(message, member.id)
        except (EOFError, OSError):
            if not self._stopping:
                self._ear.receiver_lost(member.id)

    def know_again(self, senders: tuple[Sender, ...]) -> bool:
        """Tell every receiver of a changed table of senders."""
        with self._changing:
            if senders != self._senders:
                self._senders = senders
                for member in self._members:
                    _tell(member, receiver.Know(senders))
        return False

    def replace_the_lost(self) -> bool:
        """Start a new receiver for each one that ended. Raises Unavailable while they end as soon as they begin."""
        for place, member in enumerate(self._members):
            if not member.process.is_alive():
                self._replace(place, member)
        if any(each.lost_early >= CRASHES and self._clock() - each.begun_at < EARLY_S for each in self._members):
            raise Unavailable("Receivers end again and again as soon as they begin; the log has the reason.")
        return False

    def _replace(self, place: int, lost: _Receiver) -> None:
        with self._changing:
            if not self._stopping:
                log.error("a receiver ended; another takes its place", extra={"exit_code": lost.process.exitcode})
                receiver.spool_of(self._settings).drop_left_by(lost.process.pid or 0)
                new = self._start()
                new.lost_early = lost.lost_early + 1 if self._clock() - lost.begun_at < EARLY_S else 0
                self._members[place] = new
                _tell(new, receiver.Know(self._senders or ()))
                self._hear(new)

    def stop(self, timeout_s: float) -> None:
        """End all receivers and hear them out; what is being sent is not answered, and so will be sent again."""
        deadline = time.monotonic() + timeout_s
        with self._changing:
            self._stopping = True
            for member in self._members:
                _tell(member, receiver.Stop())
        for member in self._members:
            member.process.join(max(0.0, deadline - time.monotonic()))
            if member.process.is_alive():
                member.process.kill()
                member.process.join(1.0)
        for hearing in self._hearing:
            hearing.join(max(0.0, deadline - time.monotonic()))


def _tell(member: _Receiver, message: receiver.Know | receiver.Stop) -> None:
    """One that left so much unread that we would have to wait for it is ended: another takes its place."""
    try:
        if receiver.has_room(member.pipe):
            member.pipe.send(message)
            return
        member.process.kill()
    except OSError:
        pass  # it has ended
    log.warning("a receiver does not listen", extra={"receiver": member.id})


def worker_of(settings: Settings) -> "WorkerChild | None":
    """The worker that the settings ask for, where it could read anything at all."""
    if not settings.runs_worker:
        return None
    if any(find_spec(name) is None for name in AI_MODULES):
        log.warning("no worker is started: the AI extra is missing, install nodus[ai]")
        return None
    return WorkerChild(settings)


class WorkerChild:
    """A Celery worker as a child of the node. It ends when its standard input closes, so it never outlives us."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._command = [sys.executable, "-m", "workers.app"]
        self._environment = {**os.environ, **settings.environment(), "NODUS_EMBEDDED": "1", "REMAP_SIGTERM": "SIGQUIT"}
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._restarts = 0
        self._restart_at = 0.0
        self._stopping = False
        self._changing = threading.Lock()
        """A loop starts it again while the node stops: none may be started after that."""

    def start(self) -> None:
        """Begin."""
        self._started_at = self._clock()
        self._process = subprocess.Popen(self._command, env=self._environment, stdin=subprocess.PIPE)

    def keep(self) -> bool:
        """Start it again when it has ended, with growing waits while it keeps ending at once."""
        with self._changing:
            if self._process is not None and self._process.poll() is not None and not self._stopping:
                self._restart(self._process)
        return False

    def _restart(self, ended: subprocess.Popen[bytes]) -> None:
        now = self._clock()
        if not self._restart_at:
            steady = now - self._started_at > STEADY_AFTER_S
            self._restarts = 0 if steady else self._restarts
            wait = RESTART_WAIT_S[min(self._restarts, len(RESTART_WAIT_S) - 1)]
            log.error("the worker ended", extra={"exit_code": ended.returncode, "restart_in_s": wait})
            self._restarts += 1
            self._restart_at = now + wait
        elif now >= self._restart_at:
            self._restart_at = 0.0
            self.start()

    def terminate(self) -> None:
        """Tell it to end, for good; a job in the middle goes back to the queue."""
        with self._changing:
            self._stopping = True
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()

    def wait(self, timeout_s: float) -> None:
        """Wait for its end, and no longer than that: a job that it still holds comes back when its lease expires."""
        if self._process is None:
            return
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
