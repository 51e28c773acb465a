"""Revisions of a study's reading: a new job takes the place of the old one, and a failed one leaves a notice."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from node.catalog import audit, jobs, outbox, routes, studies, workitems
from node.catalog.jobs import Job
from node.domain.audit import Detail, Event, EventKind, EventOutcome
from node.domain.job import ENDED_WITHOUT_READING, PIPELINE, Failure, JobKind, JobState, next_attempt
from node.domain.outcome import Outcome

CANCELLED = "The analysis was cancelled by an operator."


@dataclass(frozen=True)
class Plan:
    """What a new revision does."""

    study_id: int
    kind: JobKind
    series_id: int | None = None
    digest: str = ""
    """Of the images to read, or that could not be read; else of what the study says of itself."""
    reasons: tuple[str, ...] = ()
    """For a notice: why the study was not analysed."""
    wait: timedelta = timedelta(0)
    """It is not begun before: earlier exams are on their way."""


def open_revision(session: Session, plan: Plan, now: datetime) -> int:
    """Create the job of a new revision; what the one before sent gets a successor, the rest is cancelled."""
    predecessor = _give_way(session, plan.study_id, plan.kind)
    job_id = jobs.create(
        session,
        now,
        study_id=plan.study_id,
        series_id=plan.series_id,
        pipeline=PIPELINE,
        kind=plan.kind,
        priority=routes.priority_of(session, plan.study_id),
        digest=plan.digest,
        reasons=list(plan.reasons),
        predecessor_job_id=predecessor,
        wait=plan.wait,
    )
    workitems.follow(session, plan.study_id, job_id, plan.kind, now)
    uid = studies.study_uid(session, plan.study_id)
    detail: Detail = {"kind": str(plan.kind), "predecessor": predecessor}
    audit.append(session, Event(EventKind.JOB_CREATED, study_instance_uid=uid, job_id=job_id, detail=detail, at=now))
    return job_id


def _give_way(session: Session, study_id: int, kind: JobKind) -> int | None:
    """Supersede what stands, and what was read in shadow; returns the job whose results a successor must name, if any
    was ever sent.

    What ended without a reading stays so while only a notice follows: somebody is to see it, and may retry it.
    """
    for job in jobs.standing(session, study_id):
        outbox.cancel_unsent(session, job.id)
        if job.state not in ENDED_WITHOUT_READING or kind is not JobKind.NOTICE:
            jobs.change_state(session, job, JobState.SUPERSEDED)
            uid = job.study_instance_uid
            audit.append(session, Event(EventKind.JOB_SUPERSEDED, study_instance_uid=uid, job_id=job.id))
    jobs.supersede(session, study_id)
    return outbox.newest_job_seen(session, study_id)


def record_failure(session: Session, job: Job, failure: Failure, text: str, now: datetime) -> None:
    """An attempt at a job failed: it is tried again later, or it is dead, the study says so, and the PACS is told.

    A shadow reading that is dead says nothing of its study.
    """
    wait = next_attempt(failure, job.attempts)
    detail: Detail = {"failure": str(failure), "text": text, "attempt": job.attempts, **jobs.named(job)}
    uid = job.study_instance_uid
    if wait is not None:
        jobs.try_again(session, job, failure, text, now + wait)
        kind, outcome = EventKind.JOB_FAILED, EventOutcome.MINOR_FAILURE
    else:
        jobs.bury(session, job, failure, text, now)
        kind, outcome = EventKind.JOB_DEAD, EventOutcome.SERIOUS_FAILURE
    audit.append(session, Event(kind, outcome, study_instance_uid=uid, job_id=job.id, detail=detail, at=now))
    if wait is None and job.kind is JobKind.ANALYSIS and not job.shadow:
        tell_not_analysed(session, job.study_id, (f"The analysis failed: {failure}.",), now, notice=True, of=job)


def cancel(session: Session, job: Job, now: datetime) -> None:
    """An operator stops an analysis: its worker loses the lease, the study says so, the PACS is told. What runs in
    shadow just ends.

    Raises IllegalMove or CatalogError when it has ended.
    """
    jobs.change_state(session, job, JobState.CANCELLED, finished_at=now, stage="cancelled")
    uid = job.study_instance_uid
    event = Event(
        EventKind.JOB_CANCELLED, actor="operator", study_instance_uid=uid, job_id=job.id, detail=jobs.named(job), at=now
    )
    audit.append(session, event)
    if not job.shadow:
        tell_not_analysed(session, job.study_id, (CANCELLED,), now, notice=True, of=job)


def tell_not_analysed(
    session: Session, study_id: int, reasons: tuple[str, ...], now: datetime, *, notice: bool, of: Job | None = None
) -> None:
    """A study ends without a reading: kept where people look, and with `notice` also told to the PACS."""
    studies.set_outcome(session, study_id, Outcome.NOT_ANALYSED, reasons)
    uid = studies.study_uid(session, study_id)
    detail = {"reasons": " ".join(reasons)}
    audit.append(session, Event(EventKind.STUDY_NOT_ANALYSED, study_instance_uid=uid, detail=detail, at=now))
    if not notice:
        _give_way(session, study_id, JobKind.NOTICE)
    else:
        series_id, digest = (of.series_id, of.digest) if of else (None, studies.subject_digest(session, study_id))
        open_revision(session, Plan(study_id, JobKind.NOTICE, series_id, digest, reasons), now)
