"""Jobs: created with a revision, claimed with a token, saved only by who still holds it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, func, insert, or_, select, update
from sqlalchemy.orm import Session

from node.catalog.session import changed
from node.catalog.tables import job, series, study, worker
from node.domain.job import Failure, JobKind, JobState, move
from node.errors import CatalogError, LeaseLost

ACTIVE = (JobState.QUEUED, JobState.RUNNING, JobState.DONE, JobState.DEAD)
"""A job in one of these stands for its study; the others gave way."""


@dataclass(frozen=True)
class Job:
    """A row, as the flow and the workers see it."""

    id: int
    study_id: int
    study_instance_uid: str
    series_id: int | None
    revision: int
    pipeline: str
    kind: JobKind
    state: JobState
    digest: str
    predecessor_job_id: int | None
    attempts: int
    reasons: tuple[str, ...]
    created_at: datetime


_FIELDS = [job.c[name] for name in Job.__dataclass_fields__ if name != "study_instance_uid"]
_JOB = select(*_FIELDS, study.c.study_instance_uid).join(study, study.c.id == job.c.study_id)


def _job(row: Any) -> Job:
    values = {**row, "kind": JobKind(row["kind"]), "state": JobState(row["state"]), "reasons": tuple(row["reasons"])}
    return Job(**values)


def get(session: Session, job_id: int) -> Job:
    """One job. Raises CatalogError when there is none."""
    row = session.execute(_JOB.where(job.c.id == job_id)).mappings().one_or_none()
    if row is None:
        raise CatalogError(f"There is no job {job_id}.")
    return _job(row)


def standing(session: Session, study_id: int) -> list[Job]:
    """The jobs of a study that did not give way, oldest first: one, and dead ones before it."""
    query = _JOB.where(job.c.study_id == study_id, job.c.state.in_(ACTIVE)).order_by(job.c.id)
    return [_job(row) for row in session.execute(query).mappings()]


def current(session: Session, study_id: int) -> Job | None:
    """The job that stands for a study now: the newest that did not give way."""
    return next(reversed(standing(session, study_id)), None)


def create(session: Session, now: datetime, **values: Any) -> int:
    """Open a new revision of a study with one queued job in it; returns its id."""
    study_id = values["study_id"]
    session.execute(update(study).where(study.c.id == study_id).values(revision=study.c.revision + 1))
    revision = session.execute(select(study.c.revision).where(study.c.id == study_id)).scalar_one()
    row = {"state": JobState.QUEUED, "revision": revision, "created_at": now, "not_before": now, **values}
    return int(session.execute(insert(job).values(**row).returning(job.c.id)).scalar_one())


def change_state(session: Session, of: Job, then: JobState, **values: Any) -> None:
    """Move a job by the table of moves. Raises IllegalMove, or CatalogError when it has moved meanwhile."""
    move(of.state, then)
    done = changed(
        session, update(job).where(job.c.id == of.id, job.c.state == of.state).values(state=then, token="", **values)
    )
    if done != 1:
        raise CatalogError(f"Job {of.id} has moved on.")


def claim(session: Session, job_id: int, token: str, worker_name: str, now: datetime, lease: timedelta) -> Job | None:
    """Take a queued job whose time has come; None when somebody else has it or there is nothing to take."""
    taken = changed(
        session,
        update(job)
        .where(job.c.id == job_id, job.c.state == JobState.QUEUED, job.c.not_before <= now)
        .values(
            state=JobState.RUNNING,
            token=token,
            worker=worker_name,
            attempts=job.c.attempts + 1,
            started_at=now,
            lease_until=now + lease,
            failure="",
            failure_text="",
            progress=0,
            stage="claimed",
        ),
    )
    return get(session, job_id) if taken == 1 else None


def _holds(job_id: int, token: str) -> Any:
    return and_(job.c.id == job_id, job.c.state == JobState.RUNNING, job.c.token == token)


def _held(session: Session, job_id: int, held_token: str, **values: Any) -> None:
    if changed(session, update(job).where(_holds(job_id, held_token)).values(**values)) != 1:
        raise LeaseLost(f"Job {job_id} is no longer held by this worker.")


def heartbeat(session: Session, job_id: int, token: str, now: datetime, lease: timedelta) -> None:
    """Prolong the lease. Raises LeaseLost."""
    _held(session, job_id, token, lease_until=now + lease)


def report_progress(session: Session, job_id: int, token: str, stage: str, progress: int) -> None:
    """Say how far a job is, 0..100. Raises LeaseLost."""
    _held(session, job_id, token, stage=stage, progress=progress)


def finish(session: Session, job_id: int, token: str, now: datetime, **values: Any) -> None:
    """The job is done and its results are in this transaction. Raises LeaseLost: then nothing of it may stay."""
    _held(session, job_id, token, state=JobState.DONE, token="", finished_at=now, progress=100, stage="done", **values)


def give_back(session: Session, job_id: int, token: str, now: datetime) -> None:
    """A worker stops in the middle: somebody else does it, and the attempt does not count. Raises LeaseLost."""
    _held(
        session,
        job_id,
        token,
        state=JobState.QUEUED,
        token="",
        not_before=now,
        published_at=None,
        attempts=job.c.attempts - 1,
    )


def try_again(session: Session, of: Job, failure: Failure, text: str, not_before: datetime) -> None:
    """An attempt failed; there will be another."""
    change_state(
        session,
        of,
        JobState.QUEUED,
        failure=failure,
        failure_text=text,
        not_before=not_before,
        published_at=None,
        stage="",
        progress=0,
    )


def bury(session: Session, of: Job, failure: Failure, text: str, now: datetime) -> None:
    """The last attempt failed."""
    change_state(session, of, JobState.DEAD, failure=failure, failure_text=text, finished_at=now, stage="dead")


def holder(session: Session, job_id: int, token: str) -> Job:
    """The job, for the worker that holds it. Raises LeaseLost."""
    row = session.execute(_JOB.where(_holds(job_id, token))).mappings().one_or_none()
    if row is None:
        raise LeaseLost(f"Job {job_id} is no longer held by this worker.")
    return _job(row)


def with_expired_lease(session: Session, now: datetime) -> list[Job]:
    """Running jobs whose worker has gone silent."""
    query = _JOB.where(job.c.state == JobState.RUNNING, job.c.lease_until < now)
    return [_job(row) for row in session.execute(query).mappings()]


def publishable(session: Session, now: datetime, lost_after: timedelta, limit: int) -> list[int]:
    """Queued jobs that need a message: never had one, or had one so long ago that it must be lost."""
    query = (
        select(job.c.id)
        .where(
            job.c.state == JobState.QUEUED,
            job.c.not_before <= now,
            or_(job.c.published_at.is_(None), job.c.published_at < now - lost_after),
        )
        .order_by(job.c.priority.desc(), job.c.id)
        .limit(limit)
    )
    return list(session.scalars(query))


def mark_published(session: Session, job_ids: Sequence[int], now: datetime) -> None:
    """A message for each of these is about to be sent."""
    session.execute(update(job).where(job.c.id.in_(job_ids)).values(published_at=now))


def unpublish(session: Session, job_id: int) -> None:
    """The message could not be sent."""
    session.execute(update(job).where(job.c.id == job_id).values(published_at=None))


def in_flight(session: Session, now: datetime, lost_after: timedelta) -> int:
    """Jobs that occupy a worker or have a fresh message on the way."""
    fresh = and_(job.c.state == JobState.QUEUED, job.c.published_at >= now - lost_after)
    query = select(func.count()).select_from(job).where(or_(job.c.state == JobState.RUNNING, fresh))
    return int(session.execute(query).scalar_one())


def count_by_state(session: Session) -> dict[str, int]:
    """How many jobs stand where."""
    rows = session.execute(select(job.c.state, func.count()).group_by(job.c.state))
    return dict(rows.all())


def worker_seen(session: Session, name: str, slots: int, now: datetime) -> None:
    """A worker process says that it is there."""
    if changed(session, update(worker).where(worker.c.name == name).values(slots=slots, seen_at=now)) == 0:
        session.execute(insert(worker).values(name=name, slots=slots, seen_at=now))


def worker_gone(session: Session, name: str) -> None:
    """A worker process ends in order."""
    session.execute(worker.delete().where(worker.c.name == name))


def slots(session: Session, since: datetime) -> int:
    """How many jobs all live workers can run at once."""
    query = select(func.coalesce(func.sum(worker.c.slots), 0)).where(worker.c.seen_at >= since)
    return int(session.execute(query).scalar_one())


def listing(session: Session, state: str = "", limit: int = 200) -> list[dict[str, Any]]:
    """Jobs for people, newest first; names no patient."""
    columns = [column for column in job.c if column.name not in ("token", "digest", "weights_sha256")]
    query = (
        select(*columns, study.c.study_instance_uid, series.c.series_instance_uid)
        .join(study, study.c.id == job.c.study_id)
        .outerjoin(series, series.c.id == job.c.series_id)
        .order_by(job.c.id.desc())
        .limit(limit)
    )
    if state:
        query = query.where(job.c.state == state)
    return [dict(row) for row in session.execute(query).mappings()]
