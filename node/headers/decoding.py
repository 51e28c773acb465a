"""Digests of decoded pixels, made aside."""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOENT
from pathlib import Path

from pydicom.pixels.utils import iter_pixels

from node.headers.aside import Aside, BrokeOff, serve
from node.headers.panics import panics_as_bad_input

log = logging.getLogger(__name__)

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


class Decoder(Aside):
    """`pixel_digest` in a process of its own."""

    def __init__(self) -> None:
        super().__init__("node.headers.decoding")

    def digest(self, path: Path) -> str | None:
        """The same; None also where the decoder breaks off. Raises OSError, MemoryError and TimeoutError where the
        machine is the reason.
        """
        try:
            said = self.ask(os.fsencode(path))
        except (BrokeOff, TimeoutError, MemoryError) as error:
            log.warning("a decoder broke off or hung on an image", extra={"file": path.name})
            if isinstance(error, BrokeOff):
                return None
            raise
        if said in NOT_NOW:
            self._end()  # it holds on to what it was short of, and the next file would pay for it
            raise NOT_NOW[said]
        return said.decode() or None


def _answer(line: bytes) -> bytes:
    """A path in, a digest out."""
    try:
        return (pixel_digest(Path(os.fsdecode(line))) or "").encode()
    except (MemoryError, OSError) as error:
        return next(said for said, kind in NOT_NOW.items() if isinstance(error, kind))


if __name__ == "__main__":
    serve(_answer)
