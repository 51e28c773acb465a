"""Work on files in a process of its own: a decoder in C that breaks off takes its process with it.

GDCM ends in std::terminate on some broken JPEG-LS streams, and no handler in Python sees that. In the node itself one
such file would end it, again after each restart.
"""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self

ANSWER_WITHIN_S = 60.0
"""For all frames of one file; a decoder that takes longer hangs, or the machine is too busy."""


class BrokeOff(Exception):
    """The process ended over what it was asked."""


class Aside:
    """A module of ours as a process, which starts when it is first asked and ends with the `with` block, or with us."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def ask(self, line: bytes) -> bytes:
        """Its answer. Raises BrokeOff; MemoryError where it was killed, as Linux does when memory is short;
        TimeoutError where it says nothing in time. After each of them another one is started.
        """
        child = self._child = self._child or self._started()
        answer = _asked(child, line)
        if answer is None:
            self._end()
            raise TimeoutError(f"A decoder did not answer within {ANSWER_WITHIN_S:g} s.")
        if not answer.endswith(b"\n"):
            was_killed = child.wait() == -signal.SIGKILL
            self._end()
            raise MemoryError if was_killed else BrokeOff
        return answer[:-1]

    def _started(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", self._module]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None


def _asked(child: "subprocess.Popen[bytes]", line: bytes) -> bytes | None:
    """What the child says, all of it a line; less where it ended, None where it says nothing."""
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(line + b"\n")
        child.stdin.flush()
    except OSError:
        return b""
    ready, _, _ = select.select([child.stdout], [], [], ANSWER_WITHIN_S)
    return child.stdout.readline() if ready else None


def serve(answer: Callable[[bytes], bytes]) -> None:
    """Be the process: a line in, a line out, until there are no more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # some decoders print
    for line in sys.stdin.buffer:
        answers.write(answer(line[:-1]) + b"\n")
        answers.flush()
