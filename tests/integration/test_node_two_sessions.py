"""Two sessions on PostgreSQL that want the rows of one study at one moment: each waits its turn, and none is lost.

The first stops in the middle of its transaction, at an event, until the server says that the second waits for it.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from node.admin import jobs as jobs_admin
from node.admin.resend import resend
from node.catalog import jobs, outbox, retention, studies, tables
from node.catalog.revisions import record_failure
from node.catalog.session import Catalog
from node.domain.eligibility import judge
from node.domain.job import Failure
from node.domain.outcome import Outcome
from node.errors import LeaseLost, Unavailable
from node.flow import release
from node.settings import Settings
from tests.conftest import AUDIT_KEY
from tests.deliveries import Delivering, with_results
from tests.flow import Flow, queued
from tests.servers import Postgres, eventually
from tests.studies import AT, Series, after, arrivals, reception

WAITS = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
LATE = Series("0").headers(range(64, 66))


@pytest.fixture
def catalog(postgres_server: Postgres) -> Iterator[Catalog]:
    """A catalog on PostgreSQL; SQLite has one writer at a time."""
    with postgres_server.database() as url:
        opened = Catalog(url, AUDIT_KEY)
        yield opened
        opened.close()


@contextmanager
def beside(catalog: Catalog, other: Callable[[], object]) -> Iterator[tuple[Callable[[], None], Future[object]]]:
    """Something that runs beside this; gives what begins it and returns once it waits for a lock, and its end."""
    begin = threading.Event()

    def begun() -> object:
        assert begin.wait(30)
        return other()

    def until_it_waits() -> None:
        begin.set()
        eventually(lambda: _waiting(catalog) or running.done())

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(begun)
        try:
            yield until_it_waits, running
        finally:
            begin.set()


def _waiting(catalog: Catalog) -> int:
    with catalog.reading() as session:
        return int(session.execute(WAITS).scalar_one())


def come(session: Session) -> None:
    """More slices of the study are entered."""
    studies.register(session, arrivals(LATE, reception(after(1), "late")))


def settings_of(catalog: Catalog, data: Path) -> Settings:
    """The settings of a command on the same catalog."""
    (data / "audit.key").write_bytes(AUDIT_KEY)
    (data / "audit.key").chmod(0o600)
    return Settings(data=data, database_url=catalog.engine.url.render_as_string(hide_password=False))


def saves(job_id: int) -> Callable[[Session], None]:
    """What a worker does last."""
    set_outcome = studies.set_outcome

    def save(session: Session) -> None:
        jobs.finish(session, job_id, "t", AT, outcome=Outcome.FINDINGS)
        set_outcome(session, 1, Outcome.FINDINGS, ())

    return save


def in_one(catalog: Catalog, what: Callable[[Session], None]) -> None:
    """In a transaction."""
    with catalog.writing() as session:
        what(session)


def after_that(monkeypatch: pytest.MonkeyPatch, name: str, then: Callable[[], None], of: ModuleType = studies) -> None:
    """Do something when a function of the studies' catalog has returned, in the middle of its transaction."""
    real = getattr(of, name)

    def stopped(*arguments: object) -> object:
        answer = real(*arguments)
        then()
        return answer

    monkeypatch.setattr(of, name, stopped)


def test_results_of_a_study_that_is_being_opened_again_are_not_released(catalog: Catalog) -> None:
    delivering = with_results(catalog, released=False)
    with beside(catalog, lambda: release.step(catalog, after(2))) as (until_it_waits, released):
        with catalog.writing() as session:
            come(session)
            until_it_waits()
        assert not released.result(30)
    assert delivering.states() == ["held", "held"]


def test_a_slice_that_comes_while_its_series_is_closed_opens_it_again(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = Flow(catalog)
    flow.receive(Series("0").headers())
    with beside(catalog, lambda: in_one(catalog, come)) as (until_it_waits, came):
        after_that(monkeypatch, "close_series", until_it_waits)
        flow.complete(after(3))
        came.result(30)
    assert [job["state"] for job in flow.jobs()] == ["queued"]
    assert flow.study(Series("0").study_uid)["state"] == "receiving"
    flow.complete(after(60))
    assert [job["state"] for job in flow.jobs()] == ["superseded", "queued"]


def test_a_slice_that_is_told_late_while_its_series_is_judged_is_judged_too(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = Flow(catalog)
    flow.receive(Series("0").headers(), after(2))  # newer than those that are told late
    with beside(catalog, lambda: in_one(catalog, come)) as (until_it_waits, came):
        after_that(monkeypatch, "count_images", until_it_waits)  # its headers are read by then
        flow.complete(after(60))
        came.result(30)
    flow.complete(after(120))
    (series,) = flow.rows(tables.series)
    assert series["state"] == "complete"
    with catalog.reading() as session:
        assert series["digest"] == judge(studies.headers_of_series(session, series["id"])).digest


def test_a_worker_that_saves_while_its_job_is_ended_finds_that_it_lost_it(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = queued(catalog)
    flow.claimed()
    flow.receive(Series("0").headers([70]), after(1))  # there is a gap now
    save = saves(1)
    with beside(catalog, lambda: in_one(catalog, save)) as (until_it_waits, saved):
        after_that(monkeypatch, "close_study", until_it_waits)
        flow.complete(after(60))
        with pytest.raises(LeaseLost):
            saved.result(30)
    assert [(job["kind"], job["state"]) for job in flow.jobs()] == [("analysis", "superseded"), ("notice", "queued")]


def test_a_notice_that_is_saved_while_its_analysis_is_retried_gives_way(
    catalog: Catalog, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = queued(catalog)
    for attempt in range(3):
        flow.fail(flow.claimed(1, after(100 * attempt)), Failure.UNKNOWN, after(100 * attempt))
    flow.claimed(2)
    settings = settings_of(catalog, data)
    save = saves(2)
    with beside(catalog, lambda: in_one(catalog, save)) as (until_it_waits, saved):
        after_that(monkeypatch, "set_outcome", until_it_waits)
        jobs_admin.retry(settings, 1)
        with pytest.raises(LeaseLost):
            saved.result(30)
    assert [job["state"] for job in flow.jobs()] == ["superseded", "superseded", "queued"]


def test_a_worker_that_fails_while_its_study_is_held_leaves_its_notice(catalog: Catalog) -> None:
    flow = queued(catalog)
    flow.claimed()

    def fail(session: Session) -> None:
        job = jobs.holder(session, 1, "t")
        record_failure(session, replace(job, attempts=3), Failure.UNKNOWN, "It broke.", AT)

    with beside(catalog, lambda: in_one(catalog, fail)) as (until_it_waits, failed):
        with catalog.writing() as session:
            studies.lock(session, Series("0").study_uid)
            until_it_waits()
            studies.set_outcome(session, 1, "", ())
        failed.result(30)
    assert [(job["kind"], job["state"]) for job in flow.jobs()] == [("analysis", "dead"), ("notice", "queued")]


@pytest.fixture
def delivering(catalog: Catalog) -> Delivering:
    """A finished study, whose results a destination took."""
    finished = with_results(catalog)
    finished.step()
    with catalog.writing() as session:
        studies.set_outcome(session, 1, Outcome.FINDINGS, ())
    return finished


def purge(catalog: Catalog) -> retention.Purged | None:
    """What retention does before it removes files."""
    with catalog.writing() as session:
        return retention.purge(session, 1, AT, decided=False)


def test_results_that_are_sent_again_while_retention_comes_keep_their_files(
    catalog: Catalog, delivering: Delivering, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(catalog, data)
    with beside(catalog, lambda: purge(catalog)) as (until_it_waits, purged):
        after_that(monkeypatch, "are_purged", until_it_waits, of=outbox)
        resend(settings, Series("0").study_uid, "", delivered=True)
        assert purged.result(30) is None
    assert delivering.states() == ["due", "due"]


def test_results_whose_files_retention_removes_at_that_moment_are_not_sent_again(
    catalog: Catalog, delivering: Delivering, data: Path
) -> None:
    settings = settings_of(catalog, data)
    again = lambda: resend(settings, Series("0").study_uid, "", delivered=True)  # noqa: E731 - it runs beside
    with beside(catalog, again) as (until_it_waits, sent):
        with catalog.writing() as session:
            assert retention.purge(session, 1, AT, decided=False)
            until_it_waits()
        with pytest.raises(Unavailable, match="removed by retention"):
            sent.result(30)
    assert delivering.states() == ["delivered", "delivered"]
