"""Pixels on which a decoder panics or ends its process cost a version or a reading, never the node or a loop of it."""

import os
import resource
import signal
import struct
from pathlib import Path

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from node.domain.study import VersionKind
from node.errors import BadInput
from node.headers import aside
from node.headers.decoding import Decoder, pixel_digest
from node.headers.versions import compare
from tests.odd.digested import await_verdicts, check_health
from tests.sender import payload_of_file, send
from tests.servers import HASTY, eventually, nodus
from tests.studies import Series
from workers.volume import load_series

PANICS, ENDS = RLELossless, JPEGLSLossless
FRAMES = {
    PANICS: struct.pack("<16I", 2, 64, 68, *[0] * 13) + bytes((0x81, 1, 0x81, 1, 0x81, 2, 0x81)),
    ENDS: bytes.fromhex("FFD8 FFF7 000B F7 0004 0004 01 01 11 00 FFDA 0008 01 01 00 00 00 00"),
}
"""Runs longer than the 4 x 4 pixels, where pylibjpeg-rle panics; a sample precision of 247 bits, where GDCM aborts."""


def image(folder: Path, syntax: str, number: int, last: int = 0) -> Path:
    """A CT slice with such a frame; `last` makes versions of it."""
    (slice_,) = Series("panic").datasets([number])
    slice_.file_meta.TransferSyntaxUID = syntax
    slice_.PixelData = encapsulate([FRAMES[syntax] + bytes((last,))])
    path = folder / f"{syntax}-{number}-{last}.dcm"
    slice_.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("syntax", [PANICS, ENDS], ids=["panics", "ends"])
def test_two_versions_that_do_not_decode_are_a_conflict(tmp_path: Path, syntax: str) -> None:
    with Decoder() as decoder:
        versions = (image(tmp_path, syntax, 0, 1), image(tmp_path, syntax, 0, 2))
        assert compare(*versions, decoder.digest) is VersionKind.CONFLICT


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A slice that decodes."""
    (slice_,) = Series("whole").datasets([0])
    slice_.save_as(tmp_path / "whole.dcm", enforce_file_format=True)
    return tmp_path / "whole.dcm"


def child_of(decoder: Decoder) -> int:
    assert decoder._child is not None
    return decoder._child.pid


def test_a_decoder_that_broke_off_is_started_again(whole: Path) -> None:
    with Decoder() as decoder:
        assert decoder.digest(whole) == pixel_digest(whole) is not None
        os.kill(child_of(decoder), signal.SIGABRT)
        os.waitid(os.P_PID, child_of(decoder), os.WEXITED | os.WNOWAIT)
        assert decoder.digest(whole) is None
        assert decoder.digest(whole) == pixel_digest(whole)


@pytest.mark.parametrize(("by", "error"), [(signal.SIGKILL, MemoryError), (signal.SIGSTOP, TimeoutError)])
def test_a_decoder_that_was_killed_or_is_too_slow_says_nothing_of_the_image(
    whole: Path, by: signal.Signals, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Decoder() as decoder:
        decoder.digest(whole)
        os.kill(child_of(decoder), by)
        with monkeypatch.context() as patched, pytest.raises(error):
            patched.setattr(aside, "ANSWER_WITHIN_S", 1.0)
            decoder.digest(whole)
        assert decoder.digest(whole) == pixel_digest(whole)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEGLSLossless], ids=["plain", "in a plugin"])
def test_what_memory_does_not_give_is_no_difference_between_two_versions(
    tmp_path: Path, whole: Path, syntax: str
) -> None:
    (large,) = Series("large").datasets([0])
    large.set_pixel_data(np.zeros((4096, 4096), "<u2"), "MONOCHROME2", 16, generate_instance_uid=False)
    if syntax == JPEGLSLossless:
        large.compress(syntax, generate_instance_uid=False)
    large.save_as(tmp_path / "large.dcm", enforce_file_format=True)
    with Decoder() as decoder:
        decoder.digest(whole)
        taken = int(Path(f"/proc/{child_of(decoder)}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(child_of(decoder), resource.RLIMIT_AS, (taken + (8 << 20),) * 2)
        with pytest.raises(MemoryError):
            decoder.digest(tmp_path / "large.dcm")
        assert decoder.digest(whole) == pixel_digest(whole)


def test_what_the_disk_does_not_give_is_told_apart_from_what_is_not_there(tmp_path: Path) -> None:
    with Decoder() as decoder:
        with pytest.raises(OSError, match=r"^$"):
            decoder.digest(tmp_path)  # a folder: it cannot be read like a file
        assert decoder.digest(tmp_path / "removed.dcm") is None


def test_a_series_on_which_a_decoder_panics_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        load_series([image(tmp_path, PANICS, number) for number in range(4)])


def test_a_node_that_gets_them_goes_on(tmp_path: Path) -> None:
    paths = [image(tmp_path, syntax, n, last) for syntax in (PANICS, ENDS) for n in range(1) for last in (1, 2)]
    with nodus(tmp_path / "data", senders=HASTY) as node:
        assert {answer.status for answer in send(node.dicom_port, list(map(payload_of_file, paths)))} == {0}
        assert send(node.dicom_port, Series("after", count=5).payloads())[0].status == 0
        eventually(lambda: len(node.audit("instance conflict")) == 3, 60, "three versions beside the first")
        await_verdicts(node)
        check_health(node)
