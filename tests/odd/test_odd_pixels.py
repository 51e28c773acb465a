"""Pixels on which a decoder panics or ends its process cost a version or a reading, never the node or a loop of it."""

import os
import signal
import struct
from pathlib import Path

import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLSLossless, RLELossless

from node.domain.study import VersionKind
from node.errors import BadInput
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


def test_a_decoder_that_ended_is_started_again(tmp_path: Path) -> None:
    (slice_,) = Series("whole").datasets([0])
    whole = tmp_path / "whole.dcm"
    slice_.save_as(whole, enforce_file_format=True)
    with Decoder() as decoder:
        assert decoder.digest(whole) == pixel_digest(whole) is not None
        assert decoder._child is not None
        os.kill(decoder._child.pid, signal.SIGKILL)
        decoder._child.wait()
        assert decoder.digest(whole) is None
        assert decoder.digest(whole) == pixel_digest(whole)


def test_a_series_on_which_a_decoder_panics_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        load_series([image(tmp_path, PANICS, number) for number in range(4)])


def test_a_node_that_gets_them_goes_on(tmp_path: Path) -> None:
    paths = [image(tmp_path, syntax, n, last) for syntax in (PANICS, ENDS) for n in range(1) for last in (1, 2)]
    with nodus(tmp_path / "data", senders=HASTY) as node:
        assert {answer.status for answer in send(node.dicom_port, list(map(payload_of_file, paths)))} == {0}
        assert send(node.dicom_port, Series("after", count=5).payloads())[0].status == 0
        eventually(lambda: len(node.audit("instance conflict")) == 3, what="three versions beside the first")
        await_verdicts(node)
        check_health(node)
