"""A node whose host's clock is set while it runs: one job, one report, and nothing waits for an hour."""

import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from node.catalog import tables
from tests.deliveries import finish_by_hand
from tests.flow import Flow
from tests.peers import require
from tests.sender import Scanner
from tests.servers import Nodus, eventually, free_port, nodus, storescp
from tests.studies import Series

SOURCE = Path(__file__).with_name("clock.c")
HOUR_S = 3600
PATIENT = [{"network": "127.0.0.0/8", "gapless_quiet_s": 0.3, "quiet_s": 12.0}]
"""A series that is not whole must outlast what a busy machine needs to notice that the clock was set."""
KIND = (CTImageStorage, ExplicitVRLittleEndian)


@dataclass
class Wall:
    """The clock on the wall of every program started under it; steady clocks go on as they are."""

    file: Path

    def set_by(self, seconds: int) -> None:
        """From the right time."""
        with self.file.open("r+b" if self.file.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))


@pytest.fixture
def wall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wall:
    """Right until it is set."""
    library, wall = tmp_path / "clock.so", Wall(tmp_path / "clock")
    compiler = require("gcc", "gcc libc6-dev")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE)], check=True, timeout=60)
    wall.set_by(0)
    monkeypatch.setenv("CLOCK_SET_BY", str(wall.file))
    monkeypatch.setenv("LD_PRELOAD", str(library))
    return wall


def noticed(node: Nodus) -> int:
    """How often a node saw that its clock was set."""
    return node.log().count("the clock was set")


@pytest.mark.parametrize("set_by_s", [HOUR_S, -HOUR_S], ids=["+1h", "-1h"])
def test_a_clock_that_is_set_under_a_running_node(tmp_path: Path, wall: Wall, set_by_s: int) -> None:
    """Set in the middle of a series, and set right again while results wait for a PACS that is away."""
    series, port = Series("clock"), free_port()
    payloads = series.payloads()
    with nodus(tmp_path / "data", "--pacs", f"PACS@127.0.0.1:{port}", senders=PATIENT) as node:
        flow = Flow(node.catalog, data=node.data)
        scanner = Scanner(node.dicom_port, [KIND])
        assert {scanner.store(payload).status for payload in payloads[:30]} == {0}
        eventually(lambda: len(flow.rows(tables.instance)) == 30, what="all are registered")
        wall.set_by(set_by_s)
        eventually(lambda: noticed(node) == 1, what="the node sees it")
        assert {scanner.store(payload).status for payload in payloads[30:]} == {0}
        scanner.release()
        job = finish_by_hand(node)
        eventually(lambda: any(row["error"] for row in flow.rows(tables.outbox)), what="the PACS is away")
        eventually(lambda: node.metric('nodus_alerts{kind="clock jumped"}') == 1, 60, "it is an alert")
        wall.set_by(0)
        eventually(lambda: noticed(node) == 2, what="the node sees that too")
        with storescp(tmp_path / "pacs", "--unique-filenames", port=port) as pacs:
            eventually(
                lambda: {row["state"] for row in flow.rows(tables.outbox)} == {"delivered"}, 90, "both are delivered"
            )
            assert len(pacs.files()) == 2
        assert [(row["id"], row["state"]) for row in flow.jobs()] == [(job, "done")]
        assert flow.study(series.study_uid)["state"] == "complete"
        assert "rows verified" in node.command("audit", "verify")
