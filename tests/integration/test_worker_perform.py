"""workers/tasks.py on both databases: a job in a worker's hands ends as what it is."""

import hashlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from billiard.common import _shutdown_cleanup, clear_terminate_handler_fired
from pydicom import dcmread
from pydicom.multival import MultiValue
from sqlalchemy import insert, update

from node.catalog import installation, jobs, tables
from node.catalog.revisions import Plan, open_revision
from node.catalog.session import Catalog
from node.domain.delivery import ResultKind
from node.domain.job import Failure, JobKind, JobState
from node.domain.language import Language
from node.domain.retention import REMOVED
from node.errors import LeaseLost
from node.settings import Settings
from node.spool import Spool, write_durably
from tests.conftest import AUDIT_KEY
from tests.flow import Flow, to_be_read
from tests.scarcity import MORE_THAN_THERE_IS, limited_memory
from tests.servers import Postgres, eventually
from tests.studies import AT, Series, after
from workers import pipeline, report, tasks
from workers.networks.budget import Budget, budget
from workers.results.language import Speech
from workers.tasks import Claim
from workers.volume import planes
from workers.workplace import Workplace

CHEST = Series()
UNSPECIFIC = CHEST.having(BodyPartExamined="", StudyDescription="", SeriesDescription="")
"""Images of 4 x 4 pixels show no lungs: only what their headers say tells whether somebody expects a reading."""


def let_in(server: Postgres, url: str, whether: str) -> None:
    """Whether PostgreSQL serves one of its databases; who is in is put out."""
    name = url.rpartition("/")[2]
    server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {whether}")
    server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")


def as_saved(flow: Flow, data: Path) -> bool:
    """Whether every result on disk is the one in SQL."""
    rows = flow.rows(tables.result)
    return bool(rows) and all(
        hashlib.sha256((data / row["path"]).read_bytes()).hexdigest() == row["sha256"] for row in rows
    )


def test_a_ct_without_lungs_ends_as_not_analysed_and_nothing_goes_to_the_pacs(
    catalog: Catalog, spool: Spool, workplace: Workplace
) -> None:
    flow = to_be_read(catalog, spool, UNSPECIFIC.payloads())
    tasks.perform(workplace, 1)
    assert [(job["state"], job["outcome"]) for job in flow.jobs()] == [("done", "not analysed")]
    assert flow.study(CHEST.study_uid)["reasons"] != []
    assert (flow.rows(tables.result), flow.outbox()) == ([], [])


def test_a_chest_ct_in_which_no_lungs_are_found_is_told_to_the_pacs(
    catalog: Catalog, spool: Spool, workplace: Workplace, data: Path
) -> None:
    flow = to_be_read(catalog, spool, CHEST.payloads())
    tasks.perform(workplace, 1)
    assert [(job["state"], job["outcome"]) for job in flow.jobs()] == [("done", "not analysed")]
    assert flow.outbox() == [(1, "SR", "held")]
    assert as_saved(flow, data)


def test_a_study_that_was_not_analysed_is_told_in_the_language_of_the_settings(
    catalog: Catalog, spool: Spool, workplace: Workplace, data: Path
) -> None:
    flow = to_be_read(catalog, spool, CHEST.payloads())
    in_german = Workplace(workplace.settings.model_copy(update={"language": Language.DE}))
    tasks.perform(in_german, 1)
    in_german.catalog.close()
    report_read = dcmread(data / flow.rows(tables.result)[0]["path"])
    told = [str(item.get("TextValue", "")) for item in report_read.ContentSequence]
    assert any("NICHT AUSGEWERTET" in each for each in told)
    (reason,) = flow.study(CHEST.study_uid)["reasons"]  # in English, as everything that is kept
    assert f"Grund: {Speech(Language.DE).of(reason)}" in told
    assert Speech(Language.DE).of(reason) != reason


def test_a_worker_that_lost_its_lease_leaves_what_another_saved_as_it_is(
    catalog: Catalog, spool: Spool, workplace: Workplace, data: Path
) -> None:
    flow = to_be_read(catalog, spool, CHEST.payloads())
    slow = Claim(workplace, flow.claimed(at=after(3)), "t")
    flow.fail(slow.job, Failure.LOST_WORKER, after(70))
    tasks.perform(workplace, 1)
    before = flow.rows(tables.result)
    with pytest.raises(LeaseLost):
        tasks.work(slow)
    assert flow.rows(tables.result) == before
    assert as_saved(flow, data)


@pytest.fixture
def as_in_a_pool() -> Iterator[None]:
    """SIGTERM does what it does in a child of Celery's pool."""
    before = signal.signal(signal.SIGTERM, _shutdown_cleanup)
    yield
    signal.signal(signal.SIGTERM, before)
    clear_terminate_handler_fired()


@pytest.mark.usefixtures("as_in_a_pool")
def test_a_worker_that_is_told_to_end_in_the_middle_of_an_image_does_not_call_it_broken(
    catalog: Catalog, spool: Spool, workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NumPy asks values of an image for their number, and makes a ValueError of what ends the process there."""
    flow, length, told = to_be_read(catalog, spool, CHEST.payloads()), MultiValue.__len__, []

    def len_at_the_end(values: MultiValue[object]) -> int:
        if not told and sys._getframe(1).f_code is planes._numbers.__code__:
            told.append(True)
            os.kill(os.getpid(), signal.SIGTERM)
        return length(values)

    monkeypatch.setattr(MultiValue, "__len__", len_at_the_end)
    with pytest.raises(SystemExit):
        tasks.perform(workplace, 1)
    assert told == [True]
    (job,) = flow.jobs()
    assert (job["state"], job["attempts"], job["outcome"]) == ("queued", 0, "")
    assert (flow.rows(tables.result), flow.outbox()) == ([], [])


def test_a_worker_that_loses_its_lease_while_it_writes_takes_away_what_it_wrote(
    catalog: Catalog, spool: Spool, workplace: Workplace, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, written = to_be_read(catalog, spool, CHEST.payloads()), []

    def write_and_lose_the_lease(path: Path, content: bytes) -> None:
        write_durably(path, content)
        written.append(path)
        if len(written) == 1:
            with catalog.writing() as session:
                jobs.try_again(session, jobs.get(session, 1), Failure.LOST_WORKER, "", after(0))

    monkeypatch.setattr(report, "write_durably", write_and_lose_the_lease)
    tasks.perform(workplace, 1)
    assert len(written) > 1
    assert not written[0].parent.exists()
    assert (flow.rows(tables.result), flow.job_in(JobState.QUEUED)["attempts"]) == ([], 1)


def test_the_same_reading_again_after_one_that_nobody_saw_has_the_same_identity(
    catalog: Catalog, spool: Spool, workplace: Workplace
) -> None:
    flow = to_be_read(catalog, spool, CHEST.payloads())
    tasks.perform(workplace, 1)
    with catalog.writing() as session:
        open_revision(session, Plan(1, JobKind.ANALYSIS, 1, flow.jobs()[0]["digest"]), after(60))
    tasks.perform(workplace, 2)
    assert [job["state"] for job in flow.jobs()] == ["superseded", "done"]
    first, second = ({row["sop_instance_uid"] for row in flow.rows(tables.result, job_id=each)} for each in (1, 2))
    assert first == second
    assert flow.outbox() == [(1, "SR", "cancelled"), (2, "SR", "held")]


def test_a_reading_that_takes_too_much_memory_is_done_again_with_less_until_it_fits(
    catalog: Catalog, spool: Spool, workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, tried = to_be_read(catalog, spool, CHEST.payloads()), []

    def usual_only_with_plenty(economy: int) -> Budget:
        tried.append(economy)
        with limited_memory():
            torch.empty(16 if economy == 2 else MORE_THAN_THERE_IS, dtype=torch.uint8)
        return budget(economy)

    monkeypatch.setattr(pipeline, "budget", usual_only_with_plenty)
    for _ in range(3):
        tasks.perform(workplace, 1)
        with catalog.writing() as session:
            session.execute(update(tables.job).values(not_before=after(0)))
    assert tried == [0, 1, 2]
    assert [(job["state"], job["attempts"], job["economy"]) for job in flow.jobs()] == [("done", 3, 2)]
    failures = [json.loads(entry.detail) for entry in flow.audit("job failed")]
    assert [(each["failure"], each["text"]) for each in failures] == [("out of memory", "Not enough memory.")] * 2
    assert [json.loads(entry.detail)["economy"] for entry in flow.audit("job claimed")] == [0, 1, 2]


def test_a_database_that_is_away_when_a_reading_ends_gets_it_when_it_is_back(
    spool: Spool,
    data: Path,
    postgres_server: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(tasks, "SAVE_EVERY_S", 0.1)
    (data / "audit.key").write_bytes(AUDIT_KEY)
    with postgres_server.database() as url:
        catalog, place = Catalog(url, AUDIT_KEY), Workplace(Settings(data=data, database_url=url))
        with catalog.writing() as session:
            installation.make(session)
        flow = to_be_read(catalog, spool, CHEST.payloads())

        def write_and_lose_the_database(path: Path, content: bytes) -> None:
            write_durably(path, content)
            let_in(postgres_server, url, "false")

        monkeypatch.setattr(report, "write_durably", write_and_lose_the_database)
        doing = threading.Thread(target=tasks.perform, args=(place, 1))
        doing.start()
        eventually(lambda: "results wait for the database" in caplog.text, what="the worker waits")
        let_in(postgres_server, url, "true")
        doing.join(30)
        assert [job["state"] for job in flow.jobs()] == ["done"]
        assert as_saved(flow, data)
        for each in (catalog, place.catalog):
            each.close()


def test_a_result_that_cannot_be_saved_is_a_failure_with_its_own_name(
    catalog: Catalog, spool: Spool, workplace: Workplace, data: Path
) -> None:
    flow = to_be_read(catalog, spool, CHEST.payloads())
    (data / "results").write_text("not a folder")
    tasks.perform(workplace, 1)
    (job,) = flow.jobs()
    assert (job["state"], job["failure"]) == ("queued", "unknown")
    assert "NotADirectoryError" in job["failure_text"] or "FileExistsError" in job["failure_text"]


@pytest.mark.parametrize("kind", JobKind)
def test_a_job_whose_images_were_all_removed_ends_as_not_analysed_and_tells_nobody(
    catalog: Catalog, spool: Spool, workplace: Workplace, kind: JobKind
) -> None:
    flow = to_be_read(catalog, spool, CHEST.payloads())
    with catalog.writing() as session:
        session.execute(update(tables.job).values(kind=kind, reasons=[REMOVED]))
        session.execute(update(tables.instance).values(purged_at=AT))
    tasks.perform(workplace, 1)
    (job,) = flow.jobs()
    assert (job["state"], job["outcome"], job["failure"]) == ("done", "not analysed", "")
    assert flow.study(CHEST.study_uid)["reasons"] == [REMOVED]
    assert (flow.rows(tables.result), flow.outbox()) == ([], [])


def done_again(workplace: Workplace, flow: Flow) -> int:
    """A new revision reads the same images; returns its job."""
    with flow.catalog.writing() as session:
        job_id = open_revision(session, Plan(1, JobKind.ANALYSIS, 1, flow.jobs()[0]["digest"]), AT)
    tasks.perform(workplace, job_id)
    return job_id


def sent(flow: Flow, job_id: int, kind: ResultKind) -> None:
    """A PACS has one of the results, in its last rung."""
    begun = {"state": "delivered", "attempts": 1, "sop_instance_uid": f"1.2.{job_id}"}
    place = {"job_id": job_id, "destination_id": 1, "kind": kind, "created_at": AT, "not_before": AT}
    with flow.catalog.writing() as session:
        if kind is ResultKind.SR:
            begun["sop_instance_uid"] = flow.rows(tables.result, job_id=job_id, kind="SR")[-1]["sop_instance_uid"]
            session.execute(update(tables.outbox).where(tables.outbox.c.job_id == job_id).values(begun))
        else:
            session.execute(insert(tables.outbox).values(place | begun))


def named(flow: Flow, data: Path, job_id: int) -> set[str]:
    """SOP Instance UIDs of the reports that a report says it replaces, over all its rungs."""
    documents = [dcmread(data / row["path"]) for row in flow.rows(tables.result, job_id=job_id, kind="SR")]
    series = [each for one in documents for item in one.get("PredecessorDocumentsSequence", [])
              for each in item.ReferencedSeriesSequence]  # fmt: skip
    return {str(each.ReferencedSOPInstanceUID) for one in series for each in one.ReferencedSOPSequence}


def test_a_report_names_the_newest_one_that_was_sent_and_none_that_never_was(
    catalog: Catalog, spool: Spool, workplace: Workplace, data: Path
) -> None:
    flow = to_be_read(catalog, spool, CHEST.payloads())
    tasks.perform(workplace, 1)
    sent(flow, 1, ResultKind.SEG)  # and the PACS was gone before the report
    second = done_again(workplace, flow)
    assert (flow.jobs()[1]["predecessor_job_id"], named(flow, data, second)) == (1, set())
    sent(flow, second, ResultKind.SR)
    report = flow.rows(tables.result, job_id=second, kind="SR")[-1]["sop_instance_uid"]
    third = done_again(workplace, flow)
    assert named(flow, data, third) == {report}
    sent(flow, third, ResultKind.SEG)
    fourth = done_again(workplace, flow)
    assert (flow.jobs()[3]["predecessor_job_id"], named(flow, data, fourth)) == (third, {report})
    uids = [row["sop_instance_uid"] for row in flow.rows(tables.result, kind="SR")]
    assert len(set(uids)) == len(uids)  # each has an identity of its own
