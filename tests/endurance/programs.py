"""Programs that are killed and started again as a supervisor does: same command, same place."""

import itertools
import os
import random
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.processes import START_WITHIN_S, end, eventually

PORTS = range(15_000, 32_000)
"""Below those that the system lends to outgoing connections: nobody takes one while its owner is away."""
GONE_WITHIN_S = 10.0
SUPERVISE_EVERY_S = 0.2


def lasting_port(rng: random.Random) -> int:
    """A port that is free, and stays ours while nobody listens on it."""
    while True:
        port = rng.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class Program:
    """One program with its log; `start` waits until it is ready."""

    command: list[str]
    log: Path
    ready: Callable[[], bool] = lambda: True
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    stop_with: int = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running one."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it again; its log goes on."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, stdout=output, stderr=subprocess.STDOUT, env=self.environment, cwd=self.log.parent
            )
        eventually(self._is_ready, START_WITHIN_S, f"{self.command[0]} is ready")

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text(errors="replace")[-2000:]
        return self.ready()

    def kill(self) -> None:
        """SIGKILL, for the process alone: what it started is left to itself."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def kill_all(self) -> None:
        """SIGKILL for the process and everything it started, as when a host loses its power."""
        pids = [self.pid, *descendants(self.pid)]
        for pid in pids:
            kill(pid)
        assert self.process is not None
        self.process.wait()
        eventually(lambda: not any(map(is_alive, pids)), GONE_WITHIN_S, f"{self.command[0]} is gone")

    def stop(self) -> None:
        """End it in order."""
        if self.process is not None:
            end(self.process, self.stop_with)


@contextmanager
def supervised(programs: Sequence[Program]) -> Iterator[None]:
    """Whatever of these ends is started again at once, as systemd or a container host does."""
    enough = threading.Event()

    def keep() -> None:
        while not enough.wait(SUPERVISE_EVERY_S):
            for program in programs:
                if program.process is not None and program.process.poll() is not None:
                    program.start()

    supervisor = threading.Thread(target=keep, daemon=True)
    supervisor.start()
    try:
        yield
    finally:
        enough.set()
        supervisor.join()


def kill(pid: int) -> None:
    """SIGKILL; it may have ended by itself."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Whether it runs; who has ended and only waits to be asked for his exit code does not."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def children(pid: int) -> list[int]:
    """Processes that a process started."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += map(int, path.read_text().split())
    return found


def descendants(pid: int) -> list[int]:
    """And what those started."""
    direct = children(pid)
    return [*direct, *itertools.chain.from_iterable(map(descendants, direct))]


def command_line(pid: int) -> str:
    """How a process was started; empty when it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def working_on(data: Path) -> list[int]:
    """Every process that was told of a data directory: the node, its receivers, every worker."""
    told = f"NODUS_DATA={data}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if told in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def resident_mib(pid: int) -> float:
    """Memory that a process holds; 0 when it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), 0.0)
    return 0.0
