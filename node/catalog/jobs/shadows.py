"""Shadow readings: jobs beside the one whose results are for the PACS; they end with it, and move nothing else."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, update
from sqlalchemy.orm import Session

from node.catalog import audit
from node.catalog.jobs.rows import ACTIVE, JOB, Job, add, create, named, of_row, runs
from node.catalog.tables import job
from node.domain.audit import Detail, Event, EventKind
from node.domain.job import LEAST_PRIORITY, JobKind, JobState, in_shadow, move

UNFINISHED = (JobState.QUEUED, JobState.RUNNING)


def open_beside(session: Session, reading: Job, model: str, now: datetime) -> int:
    """Let a model read in shadow what a job has read, in the same revision; returns the id of its job."""
    return _opened(session, reading, now, add(session, now, revision=reading.revision, **_same(reading, model)))


def open_again(session: Session, ended: Job, now: datetime) -> int:
    """The same shadow reading once more: the key of a job has a revision, so this opens one; returns its id."""
    end(session, job.c.id == ended.id, JobState.SUPERSEDED, (ended.state,), actor="node")
    return _opened(session, ended, now, create(session, now, **_same(ended, ended.shadow)))


def _same(of: Job, model: str) -> dict[str, object]:
    return {
        "study_id": of.study_id,
        "series_id": of.series_id,
        "pipeline": in_shadow(model),
        "kind": JobKind.ANALYSIS,
        "priority": LEAST_PRIORITY,
        "digest": of.digest,
        "reasons": [],
    }


def _opened(session: Session, of: Job, now: datetime, job_id: int) -> int:
    row = session.execute(JOB.where(job.c.id == job_id)).mappings().one()
    detail: Detail = {"kind": str(JobKind.ANALYSIS), "shadow": of_row(row).shadow, "beside": of.id}
    uid = of.study_instance_uid
    audit.append(session, Event(EventKind.JOB_CREATED, study_instance_uid=uid, job_id=job_id, detail=detail, at=now))
    return job_id


ENDED = {JobState.SUPERSEDED: EventKind.JOB_SUPERSEDED, JobState.CANCELLED: EventKind.JOB_CANCELLED}


def supersede(session: Session, study_id: int) -> None:
    """Their study is read anew."""
    end(session, job.c.study_id == study_id, JobState.SUPERSEDED, ACTIVE, actor="node")


def withdraw(session: Session, study_id: int) -> None:
    """The images of their study go; what runs is told so by its worker."""
    end(session, job.c.study_id == study_id, JobState.CANCELLED, (JobState.QUEUED,), actor="node")


def stop(session: Session, model: str) -> None:
    """An operator has a model no longer in shadow."""
    end(session, job.c.pipeline == in_shadow(model), JobState.CANCELLED, UNFINISHED, actor="operator")


def end(session: Session, which: ColumnElement[bool], then: JobState, states: Sequence[JobState], actor: str) -> None:
    """Move shadow jobs, each with its row in the audit trail, whatever their workers do at this moment."""
    for state in states:
        move(state, then)
    moved = (
        update(job)
        .where(which, runs(shadow=True), job.c.state.in_(states))
        .values(state=then, token="", **({"stage": "cancelled"} if then is JobState.CANCELLED else {}))
        .returning(job.c.id)
    )
    ids = sorted(session.scalars(moved))
    for row in session.execute(JOB.where(job.c.id.in_(ids)).order_by(job.c.id)).mappings().all():
        one = of_row(row)
        uid, detail = one.study_instance_uid, named(one)
        audit.append(session, Event(ENDED[then], actor=actor, study_instance_uid=uid, job_id=one.id, detail=detail))
