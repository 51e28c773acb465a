"""A worker whose disk is full: its job waits and is done when there is room; no attempt is lost, nothing is left."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from node.catalog import installation, tables
from node.catalog.session import Catalog
from node.domain.peers import Destination
from node.settings import Settings
from node.spool import Spool
from tests.conftest import AUDIT_KEY
from tests.faults.disks import small_disk
from tests.flow import Flow
from tests.studies import Series, after
from workers import tasks
from workers.workplace import Workplace


@pytest.fixture
def workplace(catalog: Catalog, database_url: str, data: Path) -> Iterator[Workplace]:
    """Where a worker of this node works."""
    with catalog.writing() as session:
        installation.make(session)
    (data / "audit.key").write_bytes(AUDIT_KEY)
    place = Workplace(Settings(data=data, database_url=database_url))
    yield place
    place.catalog.close()


def test_a_job_that_cannot_write_its_results_waits_for_room_and_is_done_then(
    catalog: Catalog, spool: Spool, workplace: Workplace, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flow = Flow(catalog, spool)
    flow.destination(Destination("PACS", "127.0.0.1", 104))
    flow.take(Series().payloads())  # shows no lungs: a report says so
    flow.complete(after(3))
    with small_disk(tmp_path / "disk", 4) as disk:
        (data / "results").symlink_to(disk.folder)
        try:
            disk.fill()
            with caplog.at_level(logging.ERROR):
                tasks.perform(workplace, 1)
            (job,) = flow.jobs()
            assert (job["state"], job["attempts"], job["failure"]) == ("queued", 0, "")
            assert job["not_before"] > datetime.now(UTC) + timedelta(seconds=30)
            assert "the results cannot be written; the job waits for room" in caplog.messages
            assert not list((data / "results").glob("1/*/*"))
            disk.free()
            with catalog.writing() as session:
                session.execute(update(tables.job).values(not_before=after(0)))
            tasks.perform(workplace, 1)
            assert [(row["state"], row["outcome"]) for row in flow.jobs()] == [("done", "not analysed")]
            assert flow.rows(tables.result)
        finally:
            (data / "results").unlink()
