"""An earlier exam in a worker, on both databases: which is chosen, what it costs, and what the report says."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from sqlalchemy import update

from node.catalog import findings, installation, jobs, studies, tables
from node.catalog.session import Catalog
from node.domain.eligibility import judge
from node.domain.job import MOST_ECONOMICAL
from node.domain.outcome import Outcome
from node.domain.prior import Hindrance, Seen, Trend
from node.settings import Settings
from node.settings.priors import ArchiveSettings, PriorSettings
from node.spool import Spool
from tests.builders import as_volume
from tests.conftest import AUDIT_KEY
from tests.exams import EARLIER, GROWS, LATER, STABLE, Exam
from tests.flow import Flow
from tests.sender import payload_of
from tests.studies import AT, Series, after
from workers import pipeline, tasks
from workers.earlier import Lookup
from workers.lungs import segment_lungs
from workers.models import Shipped
from workers.pipeline import Models, Reading
from workers.results import Model
from workers.volume import Lungs, load_series
from workers.workplace import Workplace

MODELS = Models(Model("test", "1"), "w", "s")
OLD = Series("old").having(StudyDate="20240102", PatientID="TEST-1")
YOUNG = Series("young").having(StudyDate="20250102", PatientID="TEST-1")
"""4 x 4 pixels: enough to be chosen."""
LEAST_MM = 1.5


@pytest.fixture
def flow(catalog: Catalog, spool: Spool, data: Path) -> Flow:
    with catalog.writing() as session:
        installation.make(session)
    (data / "audit.key").write_bytes(AUDIT_KEY)
    (data / "audit.key").chmod(0o600)
    return Flow(catalog, spool)


@pytest.fixture
def settings(data: Path, database_url: str) -> Settings:
    return Settings(data=data, database_url=database_url)


def comes(flow: Flow, datasets: list[Dataset], seconds: float) -> None:
    """A study comes and is complete."""
    flow.take(map(payload_of, datasets), after(seconds))
    flow.complete(after(seconds + 4))


def was_read(flow: Flow, job_id: int, exam: Exam | None = None, read_by: str = MODELS.read_by) -> None:
    """A job ended with what a perfect reader finds, tracked as 2.25.1, 2.25.2, 2.25.3."""
    flow.claimed(job_id)
    found = exam.findings() if exam else ()
    with flow.catalog.writing() as session:
        outcome = Outcome.FINDINGS if found else Outcome.NO_FINDINGS
        jobs.finish(session, job_id, "t", AT, outcome=outcome, read_by=read_by)
        findings.save(session, job_id, found, {each.ordinal: f"2.25.{each.ordinal}" for each in found})


def lookup(flow: Flow, settings: Settings, job_id: int, **changes: Any) -> Lookup:
    with flow.catalog.reading() as session:
        job = replace(jobs.get(session, job_id), **changes)
        assert job.series_id is not None
        headers = tuple(studies.headers_of_series(session, job.series_id))
    return Lookup(settings, flow.catalog, job, headers, judge(headers), Shipped(), lambda stage, percent: None)


def unseen() -> Reading:
    """A reading of which nobody needs the images."""
    volume = as_volume(np.zeros((4, 4, 4), np.int16))
    lungs = Lungs(np.ones((4, 4, 4), np.uint8), volume.affine, 1.0, -850.0, False, False)
    return Reading(pipeline.conclude((), ()), (), volume, (), (), {}, MODELS, lungs=lungs)


def reading_of(look: Lookup, exam: Exam) -> Reading:
    with look.catalog.reading() as session:
        files = studies.files_of_series(session, look.job.series_id or 0, look.verdict.instance_uids)
    series = load_series([look.settings.data / path for path, _ in files.values()])
    found, lungs = exam.findings(), segment_lungs(series.volume)
    return Reading(pipeline.conclude(found, ()), series.headers, series.volume, found, (), {}, MODELS, lungs=lungs)


def test_what_became_of_each_nodule_is_told_under_what_it_was_tracked_by(flow: Flow, settings: Settings) -> None:
    comes(flow, EARLIER.datasets(), 0)
    was_read(flow, 1, EARLIER)
    comes(flow, LATER.datasets(), 10)
    look = lookup(flow, settings, 2)
    reading = reading_of(look, LATER)
    found = look.compared(reading, LEAST_MM)
    assert found.comparison is not None
    assert [(each.seen, each.earlier.tracking_uid if each.earlier else "") for each in found.comparison.changes] == [
        (Seen.MATCHED, "2.25.2"),
        (Seen.MATCHED, "2.25.1"),
        (Seen.NEW, ""),
    ]
    assert [each.earlier.tracking_uid for each in found.comparison.gone] == ["2.25.3"]
    assert {each.sop_instance_uid for each in found.comparison.images} == {
        str(each.SOPInstanceUID) for each in EARLIER.datasets()
    }
    assert found.models.settings_digest != reading.models.settings_digest
    assert replace(found, comparison=None, models=reading.models, timings_s=reading.timings_s) == reading


CHOSEN: dict[str, tuple[Series, PriorSettings, bool]] = {
    "an exam of the same patient": (OLD, PriorSettings(), True),
    "one that names no birth date": (OLD.having(PatientBirthDate=""), PriorSettings(), True),
    "one under another name": (OLD.having(PatientName="Other^Name"), PriorSettings(), True),
    "one of another id": (OLD.having(PatientID="OTHER"), PriorSettings(), False),
    "one of another issuer": (OLD.having(IssuerOfPatientID="OTHER"), PriorSettings(), False),
    "one of another birth date": (OLD.having(PatientBirthDate="19590101"), PriorSettings(), False),
    "one of another sex": (OLD.having(PatientSex="F"), PriorSettings(), False),
    "one of the same day": (OLD.having(StudyDate="20250102"), PriorSettings(), False),
    "one from afterwards": (OLD.having(StudyDate="20250103"), PriorSettings(), False),
    "one without a date": (OLD.having(StudyDate=""), PriorSettings(), False),
    "one that is just young enough": (OLD, PriorSettings(max_age_days=366), True),
    "one that is too old": (OLD, PriorSettings(max_age_days=365), False),
    "one that was not read": (OLD, PriorSettings(read_unread=False), False),
    "any, where it is switched off": (OLD, PriorSettings(compare=False), False),
    "one whose slices are too thick": (replace(OLD, thickness_mm=8.0), PriorSettings(), False),
}


@pytest.mark.parametrize("name", CHOSEN)
def test_an_exam_is_chosen_or_not(name: str, flow: Flow, settings: Settings) -> None:
    series, priors, is_chosen = CHOSEN[name]
    comes(flow, series.datasets(), 0)
    comes(flow, YOUNG.datasets(), 10)
    job_id = flow.jobs()[-1]["id"]
    look = lookup(flow, settings.model_copy(update={"priors": priors}), job_id, economy=MOST_ECONOMICAL)
    found = look.compared(unseen(), LEAST_MM)
    if is_chosen:
        assert found.comparison is not None
        assert found.comparison.study_instance_uid == OLD.study_uid
        assert found.comparison.hindrance is Hindrance.GIVEN_UP  # its workers were lost twice
    else:
        assert (found.comparison, found.models) == (None, MODELS)


def test_the_newest_is_chosen_and_what_was_removed_is_not(flow: Flow, settings: Settings) -> None:
    older = Series("older").having(StudyDate="20230102", PatientID="TEST-1")
    for number, each in enumerate((OLD, older, YOUNG)):
        comes(flow, each.datasets(), 10 * number)
    look = lookup(flow, settings, 3, economy=MOST_ECONOMICAL)
    chosen = look.compared(unseen(), LEAST_MM).comparison
    assert chosen is not None
    assert chosen.study_instance_uid == OLD.study_uid
    with flow.catalog.writing() as session:
        of_old = tables.instance.c.sop_instance_uid == OLD.instance_uid(5)
        session.execute(update(tables.instance).where(of_old).values(purged_at=AT))
    chosen = look.compared(unseen(), LEAST_MM).comparison
    assert chosen is not None
    assert chosen.study_instance_uid == older.study_uid


def test_whatever_is_wrong_with_an_earlier_exam_is_a_sentence(flow: Flow, settings: Settings) -> None:
    comes(flow, OLD.datasets(), 0)
    comes(flow, YOUNG.datasets(), 10)
    look = lookup(flow, settings, 2)
    assert look.compared(unseen(), LEAST_MM).comparison is None  # it shows no lungs: of the abdomen, perhaps
    paths = [settings.data / row["path"] for row in flow.rows(tables.instance, series_id=1)]
    paths[3].write_bytes(paths[3].read_bytes()[:-16])
    broken = look.compared(unseen(), LEAST_MM).comparison
    paths[3].unlink()
    away = look.compared(unseen(), LEAST_MM).comparison
    assert broken is not None
    assert broken.hindrance is Hindrance.NOT_READ
    assert away is not None
    assert away.hindrance is not None


def test_rows_that_cannot_be_understood_are_passed_over(flow: Flow, settings: Settings) -> None:
    comes(flow, OLD.datasets(), 0)
    was_read(flow, 1, EARLIER)
    comes(flow, YOUNG.datasets(), 10)
    look = lookup(flow, settings, 2, economy=MOST_ECONOMICAL)
    assert look.compared(unseen(), LEAST_MM).comparison is not None
    with flow.catalog.writing() as session:
        session.execute(update(tables.finding).values(content={"first": "release"}))
    assert look.compared(unseen(), LEAST_MM).comparison is None


def test_a_reading_says_that_nobody_asked_the_archive_and_is_another_one_then(flow: Flow, settings: Settings) -> None:
    comes(flow, YOUNG.datasets(), 0)
    archive = ArchiveSettings(ae_title="ARCHIVE", host="127.0.0.1", port=104)
    look = lookup(flow, settings.model_copy(update={"archive": archive}), 1)
    found = look.compared(unseen(), LEAST_MM)
    assert found.comparison is not None
    assert found.comparison.notice == "Earlier exams were not looked for in the archive."
    assert not found.comparison.is_made
    assert found.models.settings_digest != MODELS.settings_digest


@pytest.fixture
def place(settings: Settings) -> Iterator[Workplace]:
    made = Workplace(settings)
    yield made
    made.catalog.close()


def test_an_exam_that_was_not_read_is_read_in_the_job_and_the_report_compares_with_it(
    flow: Flow, place: Workplace, data: Path
) -> None:
    earlier = replace(EARLIER, nodules=((STABLE, 8.0), (GROWS, 7.0)), vessels=False)
    later = replace(LATER, nodules=((GROWS, 10.0), (STABLE, 8.0)), vessels=False)
    comes(flow, earlier.datasets(), 0)
    was_read(flow, 1, earlier, read_by="another version")
    comes(flow, later.datasets(), 10)
    tasks.perform(place, 2)
    job = flow.jobs()[-1]
    assert (job["state"], job["failure_text"]) == ("done", "")
    kept = job["comparison"]
    assert (kept["days"], kept["hindrance"]) == (365, None)
    assert Trend.INCREASED in {each["growth"]["trend"] for each in kept["changes"] if each["growth"]}
    tracked = {row["tracking_uid"] for row in flow.rows(tables.finding, job_id=2)}
    assert {"2.25.1", "2.25.2"} <= tracked
    report = dcmread(data / flow.rows(tables.result, job_id=2, kind="SR")[0]["path"])
    assert "Compared with the CT of 2023-02-03 (365 days earlier): " in report.to_json()
    assert report.PertinentOtherEvidenceSequence[0].StudyInstanceUID == str(earlier.datasets()[0].StudyInstanceUID)
    assert flow.rows(tables.result, job_id=1) == []
