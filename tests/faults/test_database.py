"""PostgreSQL that is stopped and started again while a node receives: nothing that was acknowledged waits for it."""

import json
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.catalog import tables
from node.domain.reception import Ending
from tests.endurance.programs import Program
from tests.flow import Flow
from tests.sender import send
from tests.servers import HASTY, Nodus, Postgres, eventually, free_port, nodus
from tests.servers.databases import postgres_command
from tests.studies import Series

BEFORE, DURING, AFTER = (Series(name, count=20) for name in ("before", "during", "after"))


@pytest.fixture
def database() -> Iterator[tuple[Program, str]]:
    """A PostgreSQL that can be stopped, and the URL of its database. Its user must reach the folder."""
    folder = Path(tempfile.mkdtemp(prefix="nodus-test-"))
    folder.chmod(0o755)
    server = Postgres(free_port())
    command = postgres_command(folder / "postgres", server.port)
    program = Program(command, folder / "log", server.is_ready, stop_with=signal.SIGINT)
    program.start()
    try:
        yield program, server.url("postgres")
    finally:
        program.stop()
        shutil.rmtree(folder)


def take(node: Nodus, series: Series) -> None:
    assert {answer.status for answer in send(node.dicom_port, series.payloads())} == {0}


def says_that_its_database_is_away(node: Nodus) -> bool:
    page = node.web("/readyz")
    return page.status == 503 and "does not answer" in json.loads(page.body)["database"]


def test_a_database_that_is_stopped_and_started_costs_nothing(tmp_path: Path, database: tuple[Program, str]) -> None:
    """Meanwhile all is acknowledged and /readyz says what is missing; then the catalog catches up by itself: every
    instance once, every study complete with one job, every association in an audit trail that holds."""
    server, url = database
    with nodus(tmp_path / "data", database_url=url, senders=HASTY) as node:
        take(node, BEFORE)
        server.stop()
        take(node, DURING)
        eventually(lambda: says_that_its_database_is_away(node), 30, "/readyz says it")
        assert node.web("/healthz").status == 200
        server.start()
        take(node, AFTER)
        flow = Flow(node.catalog)
        eventually(lambda: len(flow.rows(tables.instance)) == 60, 60, "all is registered")
        eventually(lambda: {row["state"] for row in flow.rows(tables.study)} == {"complete"}, 60, "all is complete")
        eventually(lambda: node.web("/readyz").status == 200, 30, "it is ready")
        assert len({row["path"] for row in flow.rows(tables.instance)}) == 60
        assert len(flow.jobs()) == 3
        closed = [json.loads(entry.detail)["ending"] for entry in flow.audit("association closed")]
        assert closed == [Ending.RELEASED] * 3
        assert node.json("audit", "verify")["problems"] == []
