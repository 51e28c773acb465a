"""Digests of decoded pixels, made in a process of their own: a decoder in C that breaks off takes its process with it.

GDCM ends in std::terminate on some broken JPEG-LS streams, and no handler in Python sees that. In the node itself one
such pair of files would end it, again after each restart.
"""

import hashlib
import logging
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOENT
from pathlib import Path
from types import TracebackType

from pydicom.pixels.utils import iter_pixels

from node.headers.panics import panics_as_bad_input

log = logging.getLogger(__name__)

ANSWER_WITHIN_S = 60.0
"""For all frames of one file; a decoder that takes longer hangs, or the machine is too busy."""
NOT_NOW: dict[bytes, type[Exception]] = {b"no memory": MemoryError, b"no file": OSError}
"""What the child says instead of a digest where the machine is the reason, and what that is here."""


def is_of_the_machine(error: Exception) -> bool:
    """Whether memory or disk did not give something now: that says nothing of a file, which may be whole."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno not in (None, ENOENT))


def pixel_digest(path: Path) -> str | None:
    """SHA-256 over the values of all frames, one frame in memory at a time; None where nothing here decodes them.

    Raises OSError and MemoryError: what the disk or the memory does not give now says nothing of the file.
    """
    digest = hashlib.sha256()
    try:
        with _short_of_memory_said(), panics_as_bad_input():
            for frame in iter_pixels(path, raw=True):
                digest.update(repr(frame.shape).encode())
                digest.update(frame.astype(frame.dtype.newbyteorder("<")).tobytes())
    except Exception as error:  # no numpy, no decoder, or a broken stream: each plugin raises its own
        if is_of_the_machine(error):
            raise
        return None
    return digest.hexdigest()


class _Shortage(logging.Handler):
    """Hears whether memory was short for a plugin: pydicom logs what each of them raises, and keeps it from us."""

    heard = False

    def emit(self, record: logging.LogRecord) -> None:
        self.heard |= isinstance(record.exc_info[1] if record.exc_info else None, MemoryError)


@contextmanager
def _short_of_memory_said() -> Iterator[None]:
    """Raise MemoryError where no plugin could decode, and one of them for want of memory."""
    shortage, pydicom = _Shortage(), logging.getLogger("pydicom")
    pydicom.addHandler(shortage)
    try:
        yield
    except RuntimeError as error:
        if shortage.heard:
            raise MemoryError from error
        raise
    finally:
        pydicom.removeHandler(shortage)


class Decoder:
    """`pixel_digest` in a child, which starts when it is first needed and ends with the `with` block, or with us."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def digest(self, path: Path) -> str | None:
        """The same; None also where the decoder breaks off. Raises MemoryError and TimeoutError where it did not end by
        itself: it was killed, as Linux does when memory is short, or it takes too long.
        """
        self._child = self._child or _started()
        answer = _asked(self._child, path)
        if answer is None or not answer.endswith(b"\n"):
            self._give_up(self._child, path, hangs=answer is None)
            return None
        said = answer.strip()
        if said in NOT_NOW:
            raise NOT_NOW[said]
        return said.decode() or None

    def _give_up(self, child: "subprocess.Popen[bytes]", path: Path, *, hangs: bool) -> None:
        log.warning("a decoder broke off or hung on an image", extra={"file": path.name})
        was_killed = not hangs and child.wait() == -signal.SIGKILL
        self._end()
        if hangs:
            raise TimeoutError(f"A decoder did not answer within {ANSWER_WITHIN_S:g} s.")
        if was_killed:
            raise MemoryError

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None


def _started() -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "node.headers.decoding"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _asked(child: "subprocess.Popen[bytes]", path: Path) -> bytes | None:
    """What the child says, all of it a line; less where it ended, None where it says nothing."""
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(os.fsencode(path) + b"\n")
        child.stdin.flush()
    except OSError:
        return b""
    ready, _, _ = select.select([child.stdout], [], [], ANSWER_WITHIN_S)
    return child.stdout.readline() if ready else None


def _answer() -> None:
    """Be the child: a path in, a digest out, until there are no more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # some decoders print
    for line in sys.stdin.buffer:
        answers.write(_said(Path(os.fsdecode(line[:-1]))) + b"\n")
        answers.flush()


def _said(path: Path) -> bytes:
    try:
        return (pixel_digest(path) or "").encode()
    except (MemoryError, OSError) as error:
        return next(said for said, kind in NOT_NOW.items() if isinstance(error, kind))


if __name__ == "__main__":
    _answer()
