"""Shadow jobs on both databases: behind every reading, beside it, gone with it, and nothing of them ever sent."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from node.catalog import alerts, jobs, outbox, overview, retention, tables
from node.catalog.revisions import Plan, cancel, open_revision, record_failure
from node.catalog.session import Catalog
from node.domain.alert import AlertKind
from node.domain.job import PATIENCE, PIPELINE, Failure, JobKind, JobState, in_shadow
from node.domain.peers import Destination
from node.domain.retention import Finished, Why
from node.flow import enqueue, release
from node.spool import Spool
from tests.flow import LEASE, Flow
from tests.keeping import LATER, Keeping
from tests.studies import AT, Series, after

READING, SHADOW = 1, 2


@pytest.fixture
def flow(catalog: Catalog) -> Flow:
    """Job 1 has read a study, whose report is held; job 2 is to read it in shadow."""
    flow = Flow(catalog)
    flow.destination(Destination("PACS", "127.0.0.1", 104))
    flow.receive(Series("0").headers(), after(-3))
    flow.complete(AT)
    flow.finish(READING)
    with catalog.writing() as session:
        session.execute(update(tables.study).values(outcome="findings"))
        jobs.open_beside(session, jobs.get(session, READING), "theirs", AT)
    return flow


def another_study(flow: Flow, at: float) -> None:
    """Job 3 is to read it."""
    flow.receive(Series("another").headers(), after(at))
    flow.complete(after(at + 4))


def published(flow: Flow, at: float, slots: int = 1) -> list[int]:
    sent: list[int] = []
    with flow.catalog.writing() as session:
        jobs.worker_seen(session, "worker", slots, after(at))
    while enqueue.step(flow.catalog, sent.append, after(at)):
        pass
    return sent


def states(flow: Flow) -> dict[int, str]:
    return {job["id"]: job["state"] for job in flow.jobs()}


def untouched(flow: Flow) -> tuple[object, ...]:
    """What a study looks like to everybody who waits for its reading."""
    study = flow.rows(tables.study)[0]
    return study["outcome"], study["reasons"], study["state"], flow.outbox(), states(flow)[READING]


def buried(flow: Flow) -> None:
    """Every attempt at the shadow reading fails."""
    for attempt in range(PATIENCE[Failure.UNKNOWN].attempts):
        flow.fail(flow.claimed(SHADOW, after(100 * attempt)), Failure.UNKNOWN, after(100 * attempt))


def test_it_has_the_revision_and_the_images_of_its_reading_and_says_whose_shadow_it_is(flow: Flow) -> None:
    reading, shadow = flow.jobs()
    same = ("study_id", "series_id", "revision", "digest", "kind")
    assert [reading[name] for name in same] == [shadow[name] for name in same]
    assert (reading["pipeline"], shadow["pipeline"]) == (PIPELINE, "shadow:theirs")
    assert len(in_shadow("x" * 20)) <= tables.job.c.pipeline.type.length
    assert json.loads(flow.audit("job created")[-1].detail) == {"kind": "analysis", "shadow": "theirs", "beside": 1}


def test_it_waits_behind_every_reading_however_long_it_has_waited(flow: Flow) -> None:
    month = timedelta(days=30).total_seconds()
    another_study(flow, month)
    assert published(flow, month + 10) == [3]
    flow.claimed(3, after(month + 10))
    assert published(flow, month + 11) == []
    assert published(flow, month + 12, slots=2) == [SHADOW]


def test_while_it_runs_a_reading_gets_its_message_as_if_nothing_ran(flow: Flow) -> None:
    assert published(flow, 0) == [SHADOW]
    flow.claimed(SHADOW, AT)
    another_study(flow, 5)
    assert published(flow, 10) == [3]


@pytest.mark.parametrize(("slots", "wanted"), [(0, True), (1, True), (2, False)])
def test_its_worker_is_wanted_when_a_reading_waits_and_no_other_is_idle(flow: Flow, slots: int, wanted: bool) -> None:
    flow.claimed(SHADOW, AT)
    with flow.catalog.writing() as session:
        jobs.worker_seen(session, "worker", slots, AT)
    with flow.catalog.reading() as session:
        assert not jobs.want_workers(session, AT)
    another_study(flow, -5)
    with flow.catalog.reading() as session:
        assert jobs.want_workers(session, after(5)) is wanted


def test_one_that_is_dead_says_nothing_of_its_study_and_is_told_to_the_administrator_alone(flow: Flow) -> None:
    before = untouched(flow)
    buried(flow)
    assert states(flow) == {READING: "done", SHADOW: "dead"}
    assert untouched(flow) == before
    with flow.catalog.reading() as session:
        assert jobs.dead(session) == []
        assert [(each.kind, each.subject, each.detail) for each in alerts.conditions(session)] == [
            (AlertKind.DEAD_SHADOW, "theirs", {"jobs": 1})
        ]
        assert overview.studies(session)[0]["job"] == "done"
    release.step(flow.catalog, after(900))
    assert {state for *_, state in flow.outbox()} == {"due"}


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, JobState.DONE, JobState.DEAD, JobState.CANCELLED])
def test_it_gives_way_with_its_reading_wherever_it_stands(flow: Flow, state: JobState) -> None:
    with flow.catalog.writing() as session:
        session.execute(update(tables.job).where(tables.job.c.id == SHADOW).values(state=state, token="t"))
        open_revision(session, Plan(1, JobKind.ANALYSIS, 1, "other images"), AT)
    assert states(flow) == {READING: "superseded", SHADOW: "superseded", 3: "queued"}
    assert [entry.job_id for entry in flow.audit("job superseded")] == [READING, SHADOW]


def test_cancelled_it_ends_alone_and_can_be_retried_as_often_as_one_likes(flow: Flow) -> None:
    before = untouched(flow)
    for number in (SHADOW, 3, 4):
        with flow.catalog.writing() as session:
            cancel(session, jobs.get(session, number), AT)
        with flow.catalog.writing() as session:
            jobs.open_again(session, jobs.get(session, number), AT)
    assert states(flow) == {1: "done", 2: "superseded", 3: "superseded", 4: "superseded", 5: "queued"}
    assert {job["pipeline"] for job in flow.jobs()[1:]} == {"shadow:theirs"}
    assert untouched(flow) == before
    with flow.catalog.writing() as session:
        open_revision(session, Plan(1, JobKind.ANALYSIS, 1, "other images"), AT)
    assert flow.jobs()[-1]["revision"] == 5


def test_a_model_no_longer_in_shadow_has_nothing_waiting_or_running(flow: Flow) -> None:
    flow.claimed(SHADOW, AT)
    another_study(flow, 0)
    flow.finish(3, after(10))
    with flow.catalog.writing() as session:
        jobs.open_beside(session, jobs.get(session, 3), "theirs", AT)
        jobs.open_beside(session, jobs.get(session, 3), "another", AT)
        jobs.stop(session, "theirs")
    assert states(flow) == {1: "done", SHADOW: "cancelled", 3: "done", 4: "cancelled", 5: "queued"}
    assert [(entry.job_id, entry.actor) for entry in flow.audit("job cancelled")] == [(2, "operator"), (4, "operator")]


def test_nothing_of_it_enters_the_outbox_and_what_somebody_put_there_is_not_sent(flow: Flow) -> None:
    before = flow.outbox()
    flow.finish(SHADOW)
    assert flow.outbox() == before
    row = {"destination_id": 1, "state": "due", "created_at": AT, "not_before": AT}
    with flow.catalog.writing() as session:
        session.execute(update(tables.outbox).values(state="delivered"))
        session.execute(insert(tables.outbox).values(job_id=SHADOW, kind="SR", **row))
        assert outbox.next_shipment(session, 1, after(900)) is None
        assert outbox.trial_shipment(session, 1) is None


def test_what_it_lost_with_its_worker_is_tried_again(flow: Flow) -> None:
    flow.claimed(SHADOW, AT)
    with flow.catalog.writing() as session:
        record_failure(session, jobs.get(session, SHADOW), Failure.LOST_WORKER, "The worker fell silent.", AT)
    assert flow.claimed(SHADOW, after(10)).attempts == 2
    assert json.loads(flow.audit("job failed")[0].detail)["shadow"] == "theirs"
    with flow.catalog.writing() as session:
        jobs.heartbeat(session, SHADOW, "t", after(11), LEASE)


@pytest.fixture
def keeping(catalog: Catalog, spool: Spool, data: Path) -> Keeping:
    """A study that was delivered, and a shadow job beside its reading."""
    keeping = Keeping.on(catalog, spool, data)
    keeping.finished("kept")
    with catalog.writing() as session:
        jobs.open_beside(session, jobs.get(session, READING), "theirs", AT)
    return keeping


def kept(keeping: Keeping) -> Finished:
    """The study, as retention sees it while nothing of it runs."""
    with keeping.flow.catalog.reading() as session:
        (study,) = retention.finished(session, 10)
    return study


def test_one_that_waits_holds_no_file_back_and_is_not_begun_when_they_are_gone(keeping: Keeping) -> None:
    assert keeping.retain(now=LATER).purge(kept(keeping), Why.OPERATOR) is not None
    assert states(keeping.flow) == {READING: "done", SHADOW: "cancelled"}
    assert [entry.job_id for entry in keeping.flow.audit("job cancelled")] == [SHADOW]


def test_the_files_that_it_reads_stay_while_it_reads_and_its_results_go_with_the_others(keeping: Keeping) -> None:
    study = kept(keeping)
    keeping.flow.claimed(SHADOW)
    assert keeping.retain(now=LATER).purge(study, Why.OPERATOR, decided=True) is None
    with keeping.flow.catalog.writing() as session:
        jobs.give_back(session, SHADOW, "t", AT)
    assert keeping.finish() == SHADOW
    assert any(name.startswith(f"{SHADOW}-SR") for name in keeping.results())
    purged = keeping.retain(now=LATER).purge(study, Why.OPERATOR)
    assert purged is not None
    assert not [row["path"] for row in keeping.flow.rows(tables.result) if (keeping.data / row["path"]).exists()]
