"""Copies of files in an uncompressed transfer syntax, made aside."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from node.errors import BadInput
from node.headers.aside import Aside, BrokeOff, serve
from node.headers.panics import panics_as_bad_input

PLAIN = frozenset({ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian})
LOSSLESS = frozenset(
    {JPEGLosslessSV1, JPEGLossless, JPEGLSLossless, JPEG2000Lossless, HTJ2KLossless, HTJ2KLosslessRPCL, RLELossless}
)
"""What decodes to the same values everywhere. Big Endian is left out: its pixels would have to be turned round."""

DONE, NO, NOT_NOW = b"done", b"no", b"not now"
"""What the process answers; the last where the machine is the reason."""


def can_recode(transfer_syntax_uid: str) -> bool:
    """Whether files in a transfer syntax can be sent in another, their decoder being installed."""
    return transfer_syntax_uid in PLAIN | LOSSLESS


class Recoder(Aside):
    """`recode` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__("node.headers.recoding")
        self._folder = folder

    @contextmanager
    def recoded(self, path: Path, transfer_syntax_uid: str) -> Iterator[Path]:
        """A copy for the time of the block. Raises BadInput where none can be made: no decoder, or a broken stream;
        OSError where the machine is the reason.
        """
        number, name = tempfile.mkstemp(suffix=".dcm", dir=self._folder)
        os.close(number)
        copy = Path(name)
        try:
            self._make(path, copy, transfer_syntax_uid)
            yield copy
        finally:
            copy.unlink(missing_ok=True)

    def _make(self, path: Path, copy: Path, transfer_syntax_uid: str) -> None:
        try:
            answer = self.ask(b"\t".join((os.fsencode(path), os.fsencode(copy), transfer_syntax_uid.encode())))
        except BrokeOff:
            answer = NO
        except MemoryError:
            answer = NOT_NOW
        if answer == NOT_NOW:
            raise OSError("A decoder was ended, or could not read or write.")
        if answer != DONE:
            raise BadInput("No decoder here can read the image.")


def recode(path: Path, copy: Path, transfer_syntax_uid: str) -> None:
    """Write a file in an uncompressed transfer syntax, under its own UID: nothing of its pixels changes. Raises what
    pydicom and its decoders raise."""
    data_set = dcmread(path)
    with panics_as_bad_input():
        if data_set.file_meta.TransferSyntaxUID.is_compressed and data_set.file_meta.TransferSyntaxUID in LOSSLESS:
            data_set.decompress(as_rgb=False, generate_instance_uid=False)
    syntax = UID(transfer_syntax_uid)
    data_set.file_meta.TransferSyntaxUID = syntax
    data_set.save_as(copy, implicit_vr=syntax.is_implicit_VR, little_endian=True, enforce_file_format=True)


def _answer(line: bytes) -> bytes:
    """Source, copy and transfer syntax in, how it went out."""
    path, copy, syntax = line.split(b"\t")
    try:
        recode(Path(os.fsdecode(path)), Path(os.fsdecode(copy)), syntax.decode())
    except (OSError, MemoryError):
        return NOT_NOW
    except Exception:  # noqa: BLE001 - no decoder, or a broken stream: each plugin raises its own
        return NO
    return DONE


if __name__ == "__main__":
    serve(_answer)
