"""Earlier exams of a patient that are here, and what was read from them."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from node.catalog import findings
from node.catalog.tables import job, patient, study
from node.domain.finding import Finding
from node.domain.job import PIPELINE, JobKind, JobState
from node.domain.outcome import Outcome
from node.domain.prior import Person, days_between, is_same_person
from node.domain.study import Completeness

PEOPLE = (patient.c.patient_id, patient.c.issuer_of_patient_id, patient.c.patient_birth_date, patient.c.patient_sex)


@dataclass(frozen=True)
class EarlierExam:
    """A study of the same patient that was made before."""

    study_id: int
    study_instance_uid: str
    study_date: str
    days: int
    """Before the exam that it is compared with."""


@dataclass(frozen=True)
class EarlierReading:
    """What was found in it."""

    read_by: str
    outcome: Outcome
    found: tuple[tuple[Finding, str], ...]
    """Each with its Tracking UID, empty where that was not kept."""


def subject(session: Session, study_id: int) -> tuple[Person, str]:
    """Who a study is of, as its row says, and its date."""
    query = select(*PEOPLE, study.c.study_date).join(study, study.c.patient_id == patient.c.id)
    *person, on = session.execute(query.where(study.c.id == study_id)).one()
    return Person(*person), on


def exams_before(session: Session, study_id: int, most_days: int) -> list[EarlierExam]:
    """Complete studies of the same patient of earlier dates, the newest first."""
    who, on = subject(session, study_id)
    if not who.patient_id.strip():
        return []
    query = (
        select(*PEOPLE, study.c.id, study.c.study_instance_uid, study.c.study_date)
        .join(study, study.c.patient_id == patient.c.id)
        .where(
            patient.c.patient_id == who.patient_id,
            study.c.id != study_id,
            study.c.state == Completeness.COMPLETE,
            study.c.purged_at.is_(None),
        )
    )
    found = []
    for *person, other_id, uid, then in session.execute(query):
        days = days_between(then, on)
        if days is not None and days <= most_days and is_same_person(who, Person(*person)):
            found.append(EarlierExam(other_id, uid, then, days))
    return sorted(found, key=lambda each: (each.days, each.study_instance_uid))


def reading_of(session: Session, study_id: int, series_id: int, digest: str) -> EarlierReading | None:
    """The newest reading of the images of a series as they are now; None where there is none."""
    query = (
        select(job.c.id, job.c.read_by, job.c.outcome)
        .where(
            job.c.study_id == study_id,
            job.c.series_id == series_id,
            job.c.digest == digest,
            job.c.pipeline == PIPELINE,
            job.c.kind == JobKind.ANALYSIS,
            job.c.state == JobState.DONE,
            job.c.outcome.in_((Outcome.FINDINGS, Outcome.NO_FINDINGS, Outcome.PARTIAL)),
        )
        .order_by(job.c.id.desc())
        .limit(1)
    )
    row = session.execute(query).one_or_none()
    if row is None:
        return None
    job_id, read_by, outcome = row
    return EarlierReading(read_by, Outcome(outcome), tuple(findings.tracked(session, job_id)))
