"""Jobs that were made for other images than are there: none waits for ever, each ends in what the images say."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from node.admin import conflicts
from node.admin import jobs as job_admin
from node.catalog import installation, tables
from node.catalog.session import Catalog
from node.domain.job import Failure
from node.domain.peers import Destination
from node.errors import CatalogError
from node.settings import Settings
from node.spool import Spool, write_durably
from tests.conftest import AUDIT_KEY
from tests.flow import Flow
from tests.studies import Series, after
from workers import tasks
from workers.workplace import Workplace

CHEST = Series(count=44)
SHORT = Series(series="short", count=9)
SHORT_OF_ANOTHER = Series(series="another", count=9).having(PatientID="ANOTHER", PatientName="Another^One")
GAP = ["Slices are missing or unevenly spaced."]


@pytest.fixture
def workplace(catalog: Catalog, database_url: str, data: Path) -> Iterator[Workplace]:
    """Where a worker of this node works."""
    with catalog.writing() as session:
        installation.make(session)
    write_durably(data / "audit.key", AUDIT_KEY)
    place = Workplace(Settings(data=data, database_url=database_url))
    yield place
    place.catalog.close()


@pytest.fixture
def flow(catalog: Catalog, spool: Spool) -> Flow:
    """A study whose analysis failed for good: job 1 is dead, job 2 says so."""
    flow = Flow(catalog, spool)
    flow.take(CHEST.payloads())
    flow.complete(after(3))
    for attempt in range(3):
        at = after(100 * (attempt + 1))
        flow.fail(flow.claimed(1, at), Failure.UNKNOWN, at)
    return flow


def states(flow: Flow) -> list[tuple[str, str]]:
    return [(job["kind"], job["state"]) for job in flow.jobs()]


def test_a_notice_of_a_failure_gives_way_when_the_images_cannot_be_read_any_more(flow: Flow) -> None:
    flow.take(CHEST.payloads([50]), after(1000))
    flow.complete(after(1100))
    assert states(flow) == [("analysis", "dead"), ("notice", "superseded"), ("notice", "queued")]
    assert flow.study(CHEST.study_uid)["reasons"] == flow.jobs()[2]["reasons"] == GAP
    flow.take(CHEST.payloads([52]), after(2000))
    flow.complete(after(2100))
    assert len(flow.jobs()) == 3


def test_a_dead_job_that_is_retried_after_its_series_changed_ends_in_a_notice(flow: Flow, workplace: Workplace) -> None:
    flow.take(CHEST.payloads([50]), after(1000))
    flow.complete(after(1100))
    new = job_admin.retry(workplace.settings, 1).data["job"]
    tasks.perform(workplace, new)
    assert states(flow)[-1] == ("analysis", "queued")
    (entry,) = flow.audit("job given back")
    assert (entry.job_id, entry.actor, entry.detail) == (new, "worker", '{"opened": true, "why": "stale"}')
    flow.complete(after(1200))
    assert states(flow)[-2:] == [("analysis", "superseded"), ("notice", "queued")]
    assert flow.study(CHEST.study_uid)["reasons"] == GAP


def test_a_stale_job_of_a_study_that_is_still_open_waits_for_its_judgement(flow: Flow, workplace: Workplace) -> None:
    new = job_admin.retry(workplace.settings, 1).data["job"]
    flow.take(CHEST.payloads([44]), after(1000))
    before = flow.study(CHEST.study_uid)
    tasks.perform(workplace, new)
    assert [entry.detail for entry in flow.audit("job given back")] == ['{"opened": false, "why": "stale"}']
    assert flow.study(CHEST.study_uid) == before
    flow.complete(after(1100))
    assert states(flow)[-2:] == [("analysis", "superseded"), ("analysis", "queued")]


@pytest.fixture
def in_doubt(catalog: Catalog, spool: Spool) -> Flow:
    """A study that cannot be read: job 1 is to say so, and then images of another patient come under the same study."""
    flow = Flow(catalog, spool)
    flow.destination(Destination("PACS", "127.0.0.1", 104))
    flow.take(SHORT.payloads())
    flow.complete(after(60))
    assert states(flow) == [("notice", "queued")]
    flow.take(SHORT_OF_ANOTHER.payloads(), after(100))
    return flow


def test_a_notice_is_told_under_no_name_once_the_study_names_two_patients(in_doubt: Flow, workplace: Workplace) -> None:
    tasks.perform(workplace, 1)
    assert states(in_doubt) == [("notice", "done")]
    assert (in_doubt.rows(tables.result), in_doubt.outbox()) == ([], [])
    in_doubt.complete(after(200))
    assert in_doubt.study(SHORT.study_uid)["outcome"] == "not analysed"


def test_a_notice_that_waits_is_withdrawn_once_the_study_names_two_patients(in_doubt: Flow) -> None:
    in_doubt.complete(after(200))
    assert states(in_doubt) == [("notice", "superseded")]
    assert in_doubt.study(SHORT.study_uid)["outcome"] == "not analysed"


def test_a_retry_is_refused_while_images_to_read_wait_for_a_decision(flow: Flow, workplace: Workplace) -> None:
    flow.take(CHEST.having(PixelData=b"\7" * 32).payloads([3]), after(1000))
    flow.complete(after(1100))
    with pytest.raises(CatalogError, match="Images that job 1 reads came twice with different content"):
        job_admin.retry(workplace.settings, 1)
    view = job_admin.retry_all(workplace.settings)
    assert view.rows == []
    assert "1 cannot be" in view.note
    conflicts.settle(workplace.settings, CHEST.study_uid, "current")
    flow.complete(datetime.now(UTC) + timedelta(minutes=1))
    assert job_admin.retry(workplace.settings, 1).data["job"]
