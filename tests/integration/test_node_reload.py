"""SIGHUP: the senders of nodus.toml are read again while the node runs."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tests.sender import Ended, Rejected, Scanner
from tests.servers import Nodus, eventually, nodus

CT = [(CTImageStorage, ExplicitVRLittleEndian)]
SENDER = '[[senders]]\nae_title = "{}"\nnetwork = "127.0.0.1"\n'


def heard(node: Nodus, calling: str) -> bool:
    try:
        Scanner(node.dicom_port, CT, calling).release()
    except (Ended, OSError, Rejected):
        return False
    return True


def reload(node: Nodus) -> None:
    assert node.process is not None
    os.kill(node.process.pid, signal.SIGHUP)


def test_senders_come_and_go_with_the_settings_and_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    if sys.stdin and sys.stdin.isatty():
        pytest.skip("in a terminal SIGHUP means that it was closed")
    settings = tmp_path / "nodus.toml"
    settings.write_text(SENDER.format("OLD"))
    with nodus(tmp_path / "data", "--config", str(settings)) as node:
        assert heard(node, "OLD")
        still_open = Scanner(node.dicom_port, CT, "OLD")
        settings.write_text(SENDER.format("NEW"))
        reload(node)
        eventually(lambda: heard(node, "NEW"), what="the new sender is heard")
        eventually(lambda: not heard(node, "OLD"), what="the old sender is not")
        still_open.release()
        settings.write_text("[[senders]]\nnetwork = 7")
        reload(node)
        eventually(lambda: "senders stay as they are" in node.log())
        assert heard(node, "NEW")
        rows = node.audit("sender changed")
    assert {row.actor for row in rows} == {"settings"}
    changes = [(each["added"], each["removed"]) for each in (json.loads(row.detail) for row in rows)]
    assert changes == [("OLD@127.0.0.1/32", ""), ("NEW@127.0.0.1/32", "OLD@127.0.0.1/32")]
