"""catalog/jobs.py, catalog/revisions.py and flow/enqueue.py on both databases: who has a job, and who may save."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from node.admin import jobs as job_admin
from node.admin import state
from node.catalog import jobs, outbox, tables
from node.catalog.revisions import Plan, open_revision
from node.catalog.session import Catalog
from node.domain.delivery import ResultKind
from node.domain.job import Failure, JobKind, JobState
from node.domain.lease import LeaseWatch
from node.domain.peers import Destination
from node.errors import CatalogError, IllegalMove, LeaseLost, SettingsError
from node.flow import enqueue
from node.settings import Settings
from tests.conftest import AUDIT_KEY
from tests.flow import LEASE, Flow, queued, results
from tests.studies import AT, Series, after


def test_of_many_workers_at_once_exactly_one_gets_the_job(catalog: Catalog) -> None:
    flow = queued(catalog)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda number: flow.claim(1, AT, f"t-{number}"), range(8)))
    assert sum(job is not None for job in taken) == 1
    assert flow.jobs()[0]["attempts"] == 1


def test_a_claim_takes_what_is_queued_and_due(catalog: Catalog) -> None:
    flow = queued(catalog)
    job = flow.claimed()
    assert (job.state, job.attempts, job.kind) == ("running", 1, "analysis")
    assert flow.jobs()[0]["lease_until"] == AT + LEASE
    assert flow.claim(1, after(1)) is None
    assert flow.claim(99, AT) is None


def test_a_heartbeat_prolongs_the_lease_of_its_holder_only(catalog: Catalog) -> None:
    flow = queued(catalog)
    flow.claimed()
    with catalog.writing() as session:
        jobs.heartbeat(session, 1, "t", after(30), LEASE)
    assert flow.jobs()[0]["lease_until"] == after(30) + LEASE
    with pytest.raises(LeaseLost), catalog.writing() as session:
        jobs.heartbeat(session, 1, "another", after(40), LEASE)
    assert flow.jobs()[0]["lease_until"] == after(30) + LEASE


def test_progress_is_the_holders_to_report(catalog: Catalog) -> None:
    flow = queued(catalog)
    flow.claimed()
    with catalog.writing() as session:
        jobs.report_progress(session, 1, "t", "detect", 40)
    assert (flow.jobs()[0]["stage"], flow.jobs()[0]["progress"]) == ("detect", 40)
    with pytest.raises(LeaseLost), catalog.writing() as session:
        jobs.report_progress(session, 1, "another", "detect", 50)


@pytest.mark.parametrize("loss", ["another token", "reclaimed", "superseded", "claimed again"])
def test_who_lost_the_lease_saves_nothing(catalog: Catalog, loss: str) -> None:
    flow = queued(catalog)
    flow.claimed()
    if loss == "superseded":
        flow.receive(Series("0").headers(range(64, 70)), after(10))
        flow.complete(after(13))
    elif loss != "another token":
        lose(catalog)
        if loss == "claimed again":
            flow.claimed(at=after(100), token="second")
    token = "wrong" if loss == "another token" else "t"
    with pytest.raises(LeaseLost), catalog.writing() as session:
        outbox.keep_results(session, 1, results(1, ResultKind.SEG))
        jobs.finish(session, 1, token, after(62), outcome="findings")
    assert flow.rows(tables.result) == []
    assert flow.jobs()[0]["state"] != "done"


def test_a_finished_job_is_done_and_its_token_is_worth_nothing_any_more(catalog: Catalog) -> None:
    flow = queued(catalog)
    flow.finish(1, after(5))
    (job,) = flow.jobs()
    assert (job["state"], job["outcome"], job["finished_at"], job["progress"]) == ("done", "findings", after(5), 100)
    with pytest.raises(LeaseLost), catalog.writing() as session:
        jobs.finish(session, 1, "t", after(6))


def test_a_job_that_is_given_back_is_queued_at_once_and_the_attempt_does_not_count(catalog: Catalog) -> None:
    flow = queued(catalog)
    enqueue.step(catalog, lambda _: None, AT)
    flow.claimed()
    with catalog.writing() as session:
        jobs.give_back(session, 1, "t", after(1))
    (job,) = flow.jobs()
    assert (job["state"], job["attempts"], job["not_before"], job["published_at"]) == ("queued", 0, after(1), None)
    with pytest.raises(LeaseLost), catalog.writing() as session:
        jobs.give_back(session, 1, "t", after(1))


class Watched:
    """A watch on the leases of a catalog, whose seconds pass by hand."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.now_s = 0.0
        self.watch = LeaseWatch(LEASE.total_seconds(), lambda: self.now_s)

    def look(self, seconds: int) -> bool:
        """Look once a second for so long. True when a job was taken back."""
        taken = False
        for _ in range(seconds + 1):
            taken |= enqueue.reclaim(self.catalog, self.watch)
            self.now_s += 1
        return taken


def lose(catalog: Catalog) -> None:
    """Let the workers of all running jobs be silent for longer than their lease."""
    assert Watched(catalog).look(61)


def test_a_silent_worker_loses_its_job_when_the_lease_ends_and_not_before(catalog: Catalog) -> None:
    flow, watched = queued(catalog), Watched(catalog)
    flow.claimed()
    assert not watched.look(60)
    assert flow.jobs()[0]["state"] == "running"
    assert watched.look(1)
    (job,) = flow.jobs()
    assert (job["state"], job["failure"], job["failure_text"]) == ("queued", "lost worker", "The worker fell silent.")
    assert [entry.kind for entry in flow.audit()][-1] == "job failed"


@pytest.mark.parametrize("ahead_s", [-600, 600])
def test_a_worker_whose_clock_is_wrong_keeps_its_job_as_long_as_it_beats(catalog: Catalog, ahead_s: int) -> None:
    flow, watched = queued(catalog), Watched(catalog)
    flow.claimed()
    for beat in range(10):
        with catalog.writing() as session:
            jobs.heartbeat(session, 1, "t", after(ahead_s + 15 * beat), LEASE)
        assert not watched.look(15)
    assert watched.look(60)


def test_a_clock_that_jumps_back_holds_no_job_back(catalog: Catalog) -> None:
    flow = queued(catalog)
    sent: list[int] = []
    enqueue.step(catalog, sent.append, AT)
    enqueue.step(catalog, sent.append, after(-3600))
    assert sent == [1, 1]
    assert flow.claim(1, after(-3600)) is not None


@pytest.mark.parametrize(("failure", "waits_s"), [(Failure.UNKNOWN, (5, 10)), (Failure.OUT_OF_MEMORY, (10, 20))])
def test_a_failed_job_is_tried_again_with_growing_waits_and_then_is_dead(
    catalog: Catalog, failure: Failure, waits_s: tuple[int, int]
) -> None:
    flow = queued(catalog)
    at = AT
    for wait_s in waits_s:
        flow.fail(flow.claimed(at=at), failure, at)
        assert flow.jobs()[0]["not_before"] == at + timedelta(seconds=wait_s)
        assert flow.claim(1, at + timedelta(seconds=wait_s - 0.001)) is None
        at += timedelta(seconds=wait_s)
    flow.fail(flow.claimed(at=at), failure, at)
    dead, notice = flow.jobs()
    assert (dead["state"], dead["failure"], dead["failure_text"], dead["attempts"]) == ("dead", failure, "It broke.", 3)
    assert (notice["kind"], notice["state"], notice["series_id"]) == ("notice", "queued", dead["series_id"])
    study = flow.study(Series("0").study_uid)
    assert (study["outcome"], study["reasons"]) == ("not analysed", [f"The analysis failed: {failure}."])
    assert [entry.outcome for entry in flow.audit("job failed")] == [4, 4]
    assert [entry.outcome for entry in flow.audit("job dead")] == [8]


def dead_job(catalog: Catalog) -> Flow:
    flow = queued(catalog)
    for attempt in range(3):
        flow.fail(flow.claimed(at=after(100 * attempt)), Failure.UNKNOWN, after(100 * attempt))
    return flow


def test_a_dead_notice_opens_nothing_more(catalog: Catalog) -> None:
    flow = dead_job(catalog)
    for attempt in range(3, 6):
        flow.fail(flow.claimed(2, after(100 * attempt)), Failure.UNKNOWN, after(100 * attempt))
    assert [(job["kind"], job["state"]) for job in flow.jobs()] == [("analysis", "dead"), ("notice", "dead")]


def test_a_dead_job_is_not_opened_again_by_the_same_images(catalog: Catalog) -> None:
    flow = dead_job(catalog)
    flow.receive(Series("0", "other", thickness_mm=4).headers(), after(1000))
    flow.complete(after(1003))
    assert [job["kind"] for job in flow.jobs()] == ["analysis", "notice"]


def settings_of(catalog: Catalog, data: Path) -> Settings:
    """What the commands need to open the same catalog."""
    (data / "audit.key").write_bytes(AUDIT_KEY)
    (data / "audit.key").chmod(0o600)
    url = catalog.engine.url.render_as_string(hide_password=False)
    return Settings(data=data, database_url=url, minimum_free_gib=0, minimum_free_fraction=0)


def test_a_dead_job_is_seen_and_can_be_retried(catalog: Catalog, data: Path) -> None:
    flow, settings = dead_job(catalog), settings_of(catalog, data)
    assert not state.status(settings).well
    assert [row["id"] for row in job_admin.jobs(settings, "dead").rows] == [1]
    new = job_admin.retry(settings, 1).data["job"]
    assert [(job["kind"], job["state"]) for job in flow.jobs()] == [
        ("analysis", "superseded"), ("notice", "superseded"), ("analysis", "queued")
    ]  # fmt: skip
    assert (flow.jobs()[2]["digest"], flow.jobs()[2]["series_id"]) == (flow.jobs()[0]["digest"], 1)
    assert (flow.study(Series("0").study_uid)["outcome"], flow.study(Series("0").study_uid)["reasons"]) == ("", [])
    assert [entry.job_id for entry in flow.audit("job retried")] == [new]
    assert not state.status(settings).well
    with catalog.writing() as session:
        jobs.worker_seen(session, "w1", 1, datetime.now(UTC))
    assert state.status(settings).well


def test_a_dead_notice_can_be_retried_with_the_same_reasons_and_its_analysis_stays_dead(
    catalog: Catalog, data: Path
) -> None:
    flow, settings = dead_job(catalog), settings_of(catalog, data)
    for attempt in range(3, 6):
        flow.fail(flow.claimed(2, after(100 * attempt)), Failure.UNKNOWN, after(100 * attempt))
    before = flow.study(Series("0").study_uid)
    new = job_admin.retry(settings, 2).data["job"]
    assert [(job["id"], job["kind"], job["state"]) for job in flow.jobs()] == [
        (1, "analysis", "dead"), (2, "notice", "superseded"), (new, "notice", "queued")
    ]  # fmt: skip
    _, old, again = flow.jobs()
    assert again["reasons"] == old["reasons"] == ["The analysis failed: unknown."]
    assert (again["series_id"], again["digest"]) == (old["series_id"], old["digest"])
    study = flow.study(Series("0").study_uid)
    assert (study["outcome"], study["reasons"]) == (before["outcome"], before["reasons"])
    assert [entry.job_id for entry in flow.audit("job retried")] == [new]


def test_only_a_dead_job_can_be_retried(catalog: Catalog, data: Path) -> None:
    flow, settings = queued(catalog), settings_of(catalog, data)
    with pytest.raises(CatalogError, match="Job 1 is queued, only a dead or cancelled one can be retried"):
        job_admin.retry(settings, 1)
    with pytest.raises(CatalogError, match="There is no job 99"):
        job_admin.retry(settings, 99)
    flow.finish(1, AT)
    with pytest.raises(CatalogError, match="Job 1 is done"):
        job_admin.retry(settings, 1)


def test_a_job_that_gave_way_to_another_reading_cannot_be_retried(catalog: Catalog, data: Path) -> None:
    flow, settings = queued(catalog), settings_of(catalog, data)
    flow.receive(Series("0").headers(range(64, 70)), after(10))
    flow.complete(after(13))
    with pytest.raises(CatalogError, match="Job 1 is superseded, only a dead or cancelled one"):
        job_admin.retry(settings, 1)


def test_a_retry_after_a_sent_notice_names_it_as_predecessor(catalog: Catalog, data: Path) -> None:
    flow, settings = dead_job(catalog), settings_of(catalog, data)
    flow.destination(Destination("PACS", "h", 104))
    flow.finish(2, after(1000))
    with catalog.writing() as session:
        session.execute(update(tables.outbox).values(state="due", attempts=1))
    job_admin.retry(settings, 1)
    assert flow.jobs()[2]["predecessor_job_id"] == 2


def test_an_illegal_move_is_refused_and_a_stale_one_noticed(catalog: Catalog) -> None:
    flow = queued(catalog)
    with catalog.reading() as session:
        stale = jobs.get(session, 1)
    with pytest.raises(IllegalMove), catalog.writing() as session:
        jobs.change_state(session, stale, JobState.DONE)
    flow.claimed()
    with pytest.raises(CatalogError, match="has moved on"), catalog.writing() as session:
        jobs.change_state(session, stale, JobState.SUPERSEDED)


def test_revision_and_pipeline_make_a_job_unique(catalog: Catalog) -> None:
    flow = queued(catalog)
    with pytest.raises(Exception, match=r"(?i)unique"), catalog.writing() as session:
        session.execute(update(tables.study).values(revision=0))
        open_revision(session, Plan(1, JobKind.ANALYSIS), AT)
    assert len(flow.jobs()) == 1


def test_every_dead_job_can_be_retried_at_once(catalog: Catalog, data: Path) -> None:
    flow, settings = queued(catalog, studies=3), settings_of(catalog, data)
    for job_id in (1, 3, 4):  # 4 is the notice of 1: retrying 1 takes its place, too
        for attempt in range(3):
            flow.fail(flow.claimed(job_id, after(100 * attempt)), Failure.UNKNOWN, after(100 * attempt))
    assert [row["job"] for row in job_admin.retry_all(settings).data] == [6, 7]
    assert [row["id"] for row in job_admin.jobs(settings, "queued").rows] == [7, 6, 2]
    assert job_admin.retry_all(settings).data == []


@pytest.mark.parametrize("running", [False, True])
def test_a_cancelled_analysis_ends_as_not_analysed_and_the_pacs_is_told(
    catalog: Catalog, data: Path, running: bool
) -> None:
    flow, settings = queued(catalog), settings_of(catalog, data)
    flow.destination(Destination("PACS", "h", 104))
    if running:
        flow.claimed()
    job_admin.cancel(settings, 1)
    assert [(job["kind"], job["state"]) for job in flow.jobs()] == [("analysis", "cancelled"), ("notice", "queued")]
    study = flow.study(Series("0").study_uid)
    assert (study["outcome"], study["reasons"]) == ("not analysed", ["The analysis was cancelled by an operator."])
    assert [(entry.job_id, entry.actor) for entry in flow.audit("job cancelled")] == [(1, "operator")]
    with pytest.raises(LeaseLost), catalog.writing() as session:
        jobs.report_progress(session, 1, "t", "detect", 50)
    now = datetime.now(UTC)
    flow.finish(2, now)
    flow.complete(now)
    assert flow.outbox() == [(2, "SR", "held")]
    assert [job["kind"] for job in flow.jobs()] == ["analysis", "notice"]


def test_a_cancelled_analysis_can_be_retried_once(catalog: Catalog, data: Path) -> None:
    flow, settings = queued(catalog), settings_of(catalog, data)
    job_admin.cancel(settings, 1)
    job_admin.retry(settings, 1)
    assert [(job["kind"], job["state"]) for job in flow.jobs()] == [
        ("analysis", "superseded"), ("notice", "superseded"), ("analysis", "queued")
    ]  # fmt: skip
    assert flow.study(Series("0").study_uid)["outcome"] == ""
    with pytest.raises(CatalogError, match="Job 1 is superseded"):
        job_admin.retry(settings, 1)


def test_other_images_open_a_reading_of_a_study_whose_reading_was_cancelled(catalog: Catalog, data: Path) -> None:
    flow, settings = queued(catalog), settings_of(catalog, data)
    job_admin.cancel(settings, 1)
    flow.receive(Series("0").headers(range(64, 70)), after(10))
    flow.complete(after(13))
    assert [job["state"] for job in flow.jobs()] == ["superseded", "superseded", "queued"]


def test_what_has_ended_and_what_only_tells_cannot_be_cancelled(catalog: Catalog, data: Path) -> None:
    flow, settings = dead_job(catalog), settings_of(catalog, data)
    with pytest.raises(CatalogError, match="Job 1 is dead, only one that waits or runs can be cancelled"):
        job_admin.cancel(settings, 1)
    with pytest.raises(CatalogError, match="Job 2 only tells why"):
        job_admin.cancel(settings, 2)
    flow.finish(2, after(1000))
    with pytest.raises(CatalogError, match="Job 2 is done"):
        job_admin.cancel(settings, 2)


def test_a_waiting_job_can_be_given_another_priority(catalog: Catalog, data: Path) -> None:
    flow, settings = queued(catalog, studies=2), settings_of(catalog, data)
    job_admin.prioritise(settings, 2, 3)
    assert [job["priority"] for job in flow.jobs()] == [0, 3]
    assert flow.jobs()[1]["turn_at"] == AT - timedelta(minutes=30)
    assert [entry.job_id for entry in flow.audit("job prioritised")] == [2]
    with pytest.raises(SettingsError, match="from -100 to 100"):
        job_admin.prioritise(settings, 1, 101)
    flow.finish(1)
    with pytest.raises(CatalogError, match="Job 1 is done"):
        job_admin.prioritise(settings, 1, 1)


def test_each_failure_for_want_of_memory_makes_the_next_attempt_more_sparing(catalog: Catalog) -> None:
    flow = queued(catalog)
    seen = []
    for attempt in range(3):
        seen.append(flow.claimed(at=after(100 * attempt)).economy)
        with catalog.reading() as session:
            job = jobs.holder(session, 1, "t")
        flow.fail(job, Failure.OUT_OF_MEMORY, after(100 * attempt))
    assert seen == [0, 1, 2]


def test_drain_waits_until_nothing_runs_and_says_what_still_does(catalog: Catalog, data: Path) -> None:
    flow, settings = queued(catalog), settings_of(catalog, data)
    flow.claimed()
    told: list[str] = []
    impatient = job_admin.drain(settings, 0.1, told.append)
    assert (impatient.well, impatient.data) == (False, {"drained": True, "running": 1})

    def finish_when_told(line: str) -> None:
        told.append(line)
        with catalog.writing() as session:
            jobs.finish(session, 1, "t", after(5))

    assert job_admin.drain(settings, 60, finish_when_told).well
    assert told == ["1 jobs still run"]
    assert state.status(settings).data["drained"]
    assert not state.status(settings).well
    assert "begin again" in job_admin.end_drain(settings).note
    assert state.status(settings).well
    assert "was not drained" in job_admin.end_drain(settings).note
