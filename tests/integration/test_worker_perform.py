"""workers/tasks.py on both databases: a job in a worker's hands ends as what it is."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.catalog import installation, tables
from node.catalog.revisions import Plan, open_revision
from node.catalog.session import Catalog
from node.domain.job import Failure, JobKind
from node.domain.peers import Destination
from node.errors import LeaseLost
from node.settings import Settings
from node.spool import Spool
from tests.conftest import AUDIT_KEY
from tests.flow import Flow
from tests.studies import Series, after
from workers import tasks
from workers.tasks import Claim, Workplace

CHEST = Series()
UNSPECIFIC = CHEST.having(BodyPartExamined="", StudyDescription="", SeriesDescription="")
"""Images of 4 x 4 pixels show no lungs: only what their headers say tells whether somebody expects a reading."""


@pytest.fixture
def workplace(catalog: Catalog, database_url: str, data: Path) -> Iterator[Workplace]:
    """Where a worker of this node works."""
    with catalog.writing() as session:
        installation.make(session)
    (data / "audit.key").write_bytes(AUDIT_KEY)
    place = Workplace(Settings(data=data, database_url=database_url))
    yield place
    place.catalog.close()


def queued(catalog: Catalog, spool: Spool, series: Series) -> Flow:
    """A queued job for a series whose files are in the spool."""
    flow = Flow(catalog, spool)
    flow.destination(Destination("PACS", "127.0.0.1", 104))
    flow.take(series.payloads())
    flow.complete(after(3))
    return flow


def as_saved(flow: Flow, data: Path) -> bool:
    """Whether every result on disk is the one in SQL."""
    rows = flow.rows(tables.result)
    return bool(rows) and all(
        hashlib.sha256((data / row["path"]).read_bytes()).hexdigest() == row["sha256"] for row in rows
    )


def test_a_ct_without_lungs_ends_as_not_analysed_and_nothing_goes_to_the_pacs(
    catalog: Catalog, spool: Spool, workplace: Workplace
) -> None:
    flow = queued(catalog, spool, UNSPECIFIC)
    tasks.perform(workplace, 1)
    assert [(job["state"], job["outcome"]) for job in flow.jobs()] == [("done", "not analysed")]
    assert flow.study(CHEST.study_uid)["reasons"] != []
    assert (flow.rows(tables.result), flow.outbox()) == ([], [])


def test_a_chest_ct_in_which_no_lungs_are_found_is_told_to_the_pacs(
    catalog: Catalog, spool: Spool, workplace: Workplace, data: Path
) -> None:
    flow = queued(catalog, spool, CHEST)
    tasks.perform(workplace, 1)
    assert [(job["state"], job["outcome"]) for job in flow.jobs()] == [("done", "not analysed")]
    assert flow.outbox() == [(1, "SR", "held")]
    assert as_saved(flow, data)


def test_a_worker_that_lost_its_lease_leaves_what_another_saved_as_it_is(
    catalog: Catalog, spool: Spool, workplace: Workplace, data: Path
) -> None:
    flow = queued(catalog, spool, CHEST)
    slow = Claim(workplace, flow.claimed(at=after(3)), "t")
    flow.fail(slow.job, Failure.LOST_WORKER, after(70))
    tasks.perform(workplace, 1)
    before = flow.rows(tables.result)
    with pytest.raises(LeaseLost):
        tasks.work(slow)
    assert flow.rows(tables.result) == before
    assert as_saved(flow, data)


def test_the_same_reading_again_after_one_that_nobody_saw_has_the_same_identity(
    catalog: Catalog, spool: Spool, workplace: Workplace
) -> None:
    flow = queued(catalog, spool, CHEST)
    tasks.perform(workplace, 1)
    with catalog.writing() as session:
        open_revision(session, Plan(1, JobKind.ANALYSIS, 1, flow.jobs()[0]["digest"]), after(60))
    tasks.perform(workplace, 2)
    assert [job["state"] for job in flow.jobs()] == ["superseded", "done"]
    first, second = ({row["sop_instance_uid"] for row in flow.rows(tables.result, job_id=each)} for each in (1, 2))
    assert first == second
    assert flow.outbox() == [(1, "SR", "cancelled"), (2, "SR", "held")]


def test_a_result_that_cannot_be_saved_is_a_failure_with_its_own_name(
    catalog: Catalog, spool: Spool, workplace: Workplace, data: Path
) -> None:
    flow = queued(catalog, spool, CHEST)
    (data / "results").write_text("not a folder")
    tasks.perform(workplace, 1)
    (job,) = flow.jobs()
    assert (job["state"], job["failure"]) == ("queued", "unknown")
    assert "NotADirectoryError" in job["failure_text"] or "FileExistsError" in job["failure_text"]
