"""Jobs that were made for other images than are there: none waits for ever, each ends in what the images say."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.admin import jobs as job_admin
from node.catalog import installation
from node.catalog.session import Catalog
from node.domain.job import Failure
from node.settings import Settings
from node.spool import Spool, write_durably
from tests.conftest import AUDIT_KEY
from tests.flow import Flow
from tests.studies import Series, after
from workers import tasks
from workers.tasks import Workplace

CHEST = Series(count=44)
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
