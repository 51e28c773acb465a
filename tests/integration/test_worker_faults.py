"""Workers as processes that die, stop and come back: a job is done once, and what kills workers stops nobody else."""

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.catalog import tables
from tests.commanded import READY_WITHIN_S, commanded, ends, log_of, rows, worker
from tests.sender import send
from tests.servers import HASTY, Nodus, eventually, nodus, redis

pytest.importorskip("torch")

LEASE_S = 6
"""Short, because tests wait for its end; a busy machine must still beat four times in it."""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Nodus]:
    """A node whose workers are ours, and whose destination never answers."""
    with nodus(tmp_path / "data", "--pacs", "PACS@127.0.0.1:9", senders=HASTY, lease_s=LEASE_S) as running:
        yield running


@pytest.fixture
def production(tmp_path: Path) -> Iterator[Nodus]:
    """The same with Redis, where the children of a worker share nothing: each of several jobs at once stands alone."""
    with (
        redis(tmp_path) as url,
        nodus(
            tmp_path / "data", "--pacs", "PACS@127.0.0.1:9", senders=HASTY, lease_s=LEASE_S, broker_url=url
        ) as running,
    ):
        yield running


def saved(node: Nodus) -> dict[Path, str]:
    """Every file of a result, and its SHA-256."""
    files = [path for path in (node.data / "results").rglob("*") if path.is_file()]
    return {path.relative_to(node.data): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def named(node: Nodus) -> dict[Path, str]:
    """The same as SQL has it."""
    return {Path(row["path"]): row["sha256"] for row in rows(node, tables.result)}


def test_a_worker_that_was_stopped_beyond_its_lease_saves_nothing_and_works_on(node: Nodus) -> None:
    first, second = commanded("first", "stop"), commanded("second", "nothing special")
    with worker(node, obeys="stop"):
        send(node.dicom_port, first.payloads())
        eventually(lambda: saved(node), READY_WITHIN_S, "the results are written, and the worker stops")
        (claimed,) = node.audit("job claimed")
        stopped = json.loads(claimed.detail)["worker"]
        with worker(node):
            done = ends(node, first, "done")
        assert (done["attempts"], done["worker"] != stopped) == (2, True)
        results, outbox = rows(node, tables.result), rows(node, tables.outbox)
        os.kill(int(stopped.rpartition("-")[2]), signal.SIGCONT)
        eventually(lambda: "the lease was lost" in log_of(node, 0), what="the stopped worker sees that it was late")
        eventually(lambda: saved(node) == named(node), what="it takes away what it wrote")
        assert [row["kind"] for row in outbox] == ["SR"]
        assert rows(node, tables.result) == results
        assert [{**row, **VARYING} for row in rows(node, tables.outbox)] == [{**row, **VARYING} for row in outbox]
        send(node.dicom_port, second.payloads())
        assert ends(node, second, "done")["worker"] == stopped
    assert saved(node) == named(node)
    assert len(node.audit("job done")) == 2
    assert "rows verified" in node.command("audit", "verify")


VARYING = {"state": "", "attempts": 0, "failures": 0, "error": "", "not_before": None}
"""Of a delivery that is tried meanwhile."""


def test_a_worker_whose_clock_is_minutes_behind_does_each_job_once_and_at_once(node: Nodus, tmp_path: Path) -> None:
    slow, quick, hold = commanded("slow", "hold"), commanded("quick", "nothing special"), tmp_path / "hold"
    hold.touch()
    with worker(node, obeys="hold", AT_WILL_HOLDS=str(hold), AT_WILL_AHEAD_S="-300"):
        send(node.dicom_port, slow.payloads())
        begun = ends(node, slow, "running")
        eventually(lambda: beats_since(node, begun) >= 1.5 * LEASE_S, 60, "it beats for longer than a lease")
        hold.unlink()
        assert ends(node, slow, "done")["attempts"] == 1
        send(node.dicom_port, quick.payloads())
        assert ends(node, quick, "done")["attempts"] == 1
    assert node.audit("job failed") == []


def beats_since(node: Nodus, begun: dict[str, Any]) -> float:
    """Seconds by which the lease of a job has grown."""
    return float(max((row["lease_until"] - begun["lease_until"]).total_seconds() for row in rows(node, tables.job)))


def test_a_study_that_kills_its_workers_ends_dead_and_the_others_go_on(production: Nodus) -> None:
    node = production
    poison, others = commanded("poison", "kill"), [commanded(f"other{n}", "nothing special") for n in range(3)]
    with worker(node, obeys="kill", slots=2):
        for series in (others[0], poison, *others[1:]):
            send(node.dicom_port, series.payloads())
        dead = ends(node, poison, "dead")
        told = ends(node, poison, "done", kind="notice")
        done = [ends(node, series, "done") for series in others]
    assert (dead["failure"], dead["failure_text"], dead["attempts"]) == ("lost worker", "The worker fell silent.", 3)
    assert [job["attempts"] for job in done] == [1, 1, 1]
    assert [row["kind"] for row in rows(node, tables.outbox) if row["job_id"] == told["id"]] == ["SR"]
    (study,) = [row for row in rows(node, tables.study) if row["study_instance_uid"] == poison.study_uid]
    assert (study["outcome"], study["reasons"]) == ("not analysed", ["The analysis failed: lost worker."])
    (listed,) = node.json("jobs", "--state", "dead")
    assert (listed["id"], listed["failure"]) == (dead["id"], "lost worker")


def test_the_start_of_a_node_ends_a_drain(node: Nodus) -> None:
    assert node.json("drain", "--timeout", "30") == {"drained": True, "running": 0}
    node.stop()
    node.start()
    assert not node.json("status")["drained"]
    assert [(entry.kind, entry.actor) for entry in node.audit() if entry.kind.startswith("drain")] == [
        ("drain begun", "operator"),
        ("drain ended", "node"),
    ]


def test_a_running_analysis_is_cancelled_and_a_drained_node_begins_nothing(node: Nodus, tmp_path: Path) -> None:
    held, waiting = commanded("held", "hold"), commanded("waiting", "nothing special")
    hold = tmp_path / "hold"
    hold.touch()
    with worker(node, obeys="hold", AT_WILL_HOLDS=str(hold)):
        send(node.dicom_port, held.payloads())
        running = ends(node, held, "running")
        assert "1 jobs still run" in node.command("drain", "--timeout", "0", code=1)
        node.command("cancel", str(running["id"]))
        assert "No job runs" in node.command("drain", "--timeout", "30")
        send(node.dicom_port, waiting.payloads())
        ends(node, waiting, "queued")
        hold.unlink()
        eventually(lambda: "the lease was lost" in log_of(node, 0), what="the worker sees that it was cancelled")
        assert ends(node, held, "queued", kind="notice")["attempts"] == 0
        assert node.json("status", code=1)["drained"]
        node.command("drain", "--off")
        ends(node, waiting, "done")
        ends(node, held, "done", kind="notice")
    assert ends(node, held, "cancelled")["attempts"] == 1
    assert saved(node) == named(node)
