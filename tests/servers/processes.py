"""Programs as neighbours: started, waited for by a signal of readiness, and ended."""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.peers import require

START_WITHIN_S = 120.0
STOP_WITHIN_S = 10.0
"""The promise of `nodus up` after SIGTERM; the others keep it too."""
DCMTK_PLACES = ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")
Answer = TypeVar("Answer")


def eventually(check: Callable[[], Answer], within_s: float = 20.0, what: str = "") -> Answer:
    """Ask again until the answer is true; return it. Fails at the deadline."""
    deadline = time.monotonic() + within_s
    pause = threading.Event()
    while not (answer := check()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:.0f} s: {what or check}")
        pause.wait(0.02)
    return answer


_PORTS = itertools.cycle(range(20_000 + os.getpid() % 100 * 100, 32_000))
"""Each program that tests begins elsewhere."""


def free_port() -> int:
    """A port that is free and that no other test of this machine is given before this program ends.

    It is none that the kernel gives to whoever connects: a caller that tries one of those again and again while nobody
    listens is given it at last, and then talks to itself.
    """
    while True:
        port = next(_PORTS)
        with suppress(OSError), socket.socket() as probe, socket.socket(socket.AF_UNIX) as claim:
            claim.bind(f"\0nodus test port {port}")
            probe.bind(("127.0.0.1", port))
            claim.detach()  # stays bound
            return port


def dcmtk(program: str) -> str:
    """Path of a DCMTK program; pynetdicom puts programs of the same names into the virtual environment."""
    ours = str(Path(sys.executable).parent)
    elsewhere = [place for place in os.environ.get("PATH", "").split(os.pathsep) if place != ours]
    found = shutil.which(program, path=os.pathsep.join([*DCMTK_PLACES, *elsewhere]))
    return found or require(f"{DCMTK_PLACES[0]}/{program}", "dcmtk")


def dcmtk_environment() -> dict[str, str]:
    """DCMTK waits 40 ms for each small message unless it is told not to."""
    return {**os.environ, "TCP_NODELAY": "1"}


def run_dcmtk(program: str, *arguments: str, check: bool = True) -> str:
    """Run a DCMTK program to its end; returns what it printed."""
    ended = subprocess.run(
        [dcmtk(program), *arguments], env=dcmtk_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    output = ended.stdout + ended.stderr
    assert not check or ended.returncode == 0, output
    return output


def answers(port: int) -> bool:
    """Whether somebody listens."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0):
            return True
    except OSError:
        return False


@contextmanager
def running(
    command: list[str], log: Path, *, ready: Callable[[], bool], stop_with: int = signal.SIGTERM, **how: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A program until the end of the block; its output goes to `log`."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **how)

    def is_ready() -> bool:
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        return ready()

    try:
        eventually(is_ready, START_WITHIN_S, f"{command[0]} answers")
        yield process
    finally:
        end(process, stop_with)


def end(process: subprocess.Popen[bytes], stop_with: int = signal.SIGTERM) -> None:
    """End one process, at the latest with SIGKILL."""
    if process.poll() is None:
        process.send_signal(stop_with)
        try:
            process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Page:
    """What a web port answered."""

    status: int
    body: str


def fetch(url: str) -> Page:
    """GET, whatever the status."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return Page(answer.status, answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Page(error.code, error.read().decode())
