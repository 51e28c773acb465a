"""Digests of decoded pixels, made in a process of their own: a decoder in C that breaks off takes its process with it.

GDCM ends in std::terminate on some broken JPEG-LS streams, and no handler in Python sees that. In the node itself one
such pair of files would end it, again after each restart.
"""

import hashlib
import logging
import os
import select
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from pydicom.pixels.utils import iter_pixels

from node.headers.panics import panics_as_bad_input

log = logging.getLogger(__name__)

ANSWER_WITHIN_S = 60.0
"""For all frames of one file; a decoder that takes longer hangs."""


def pixel_digest(path: Path) -> str | None:
    """SHA-256 over the values of all frames, one frame in memory at a time; None where nothing here decodes them."""
    digest = hashlib.sha256()
    try:
        with panics_as_bad_input():
            for frame in iter_pixels(path, raw=True):
                digest.update(repr(frame.shape).encode())
                digest.update(frame.astype(frame.dtype.newbyteorder("<")).tobytes())
    except Exception:  # noqa: BLE001 - no numpy, no decoder, or a broken stream: each plugin raises its own
        return None
    return digest.hexdigest()


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
        """The same; None also where the decoder ends or hangs."""
        if self._child is None:
            command = [sys.executable, "-m", "node.headers.decoding"]
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        answer = _asked(self._child, path)
        if not answer.endswith(b"\n"):
            log.warning("a decoder broke off or hung on an image", extra={"file": path.name})
            self._end()
        return answer.decode().strip() or None

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None


def _asked(child: "subprocess.Popen[bytes]", path: Path) -> bytes:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(os.fsencode(path) + b"\n")
        child.stdin.flush()
    except OSError:
        return b""
    ready, _, _ = select.select([child.stdout], [], [], ANSWER_WITHIN_S)
    return child.stdout.readline() if ready else b""


def _answer() -> None:
    """Be the child: a path in, a digest out, until there are no more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # some decoders print
    for line in sys.stdin.buffer:
        answers.write((pixel_digest(Path(os.fsdecode(line[:-1]))) or "").encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    _answer()
