"""Claims: who holds a job may save it, and nobody else. Their times are the database's, see `instant.now_of`."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, select, update
from sqlalchemy.orm import Session

from node.catalog import control
from node.catalog.jobs.publishing import is_due
from node.catalog.jobs.rows import JOB, Job, get, of_row
from node.catalog.session import changed
from node.catalog.tables import job, result
from node.domain.job import JobState
from node.errors import LeaseLost


@dataclass(frozen=True)
class Lease:
    """A worker's hold on a job, as it last wrote it."""

    token: str
    until: datetime


def claim(session: Session, job_id: int, token: str, worker_name: str, now: datetime, lease: timedelta) -> Job | None:
    """Take a queued job whose time has come; None when somebody else has it, or there is nothing to take."""
    if control.is_drained(session):
        return None
    taken = changed(
        session,
        update(job)
        .where(job.c.id == job_id, job.c.state == JobState.QUEUED, is_due(now))
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


def holder(session: Session, job_id: int, token: str) -> Job:
    """The job, for the worker that holds it. Raises LeaseLost."""
    row = session.execute(JOB.where(_holds(job_id, token))).mappings().one_or_none()
    if row is None:
        raise LeaseLost(f"Job {job_id} is no longer held by this worker.")
    return of_row(row)


def is_held(session: Session, job_id: int, token: str) -> bool:
    """Whether a worker still holds the job."""
    return session.scalars(select(job.c.id).where(_holds(job_id, token))).first() is not None


def leases(session: Session) -> dict[int, Lease]:
    """The lease of every running job."""
    query = select(job.c.id, job.c.token, job.c.lease_until).where(job.c.state == JobState.RUNNING)
    return {job_id: Lease(token, until) for job_id, token, until in session.execute(query)}


def with_lease(session: Session, job_id: int, lease: Lease) -> Job | None:
    """A running job, when its lease is still exactly this one."""
    query = JOB.where(_holds(job_id, lease.token), job.c.lease_until == lease.until)
    row = session.execute(query).mappings().one_or_none()
    return None if row is None else of_row(row)


def forgotten_claims(session: Session, claims: Iterable[tuple[int, str]]) -> set[tuple[int, str]]:
    """Those claims (job id, token) that neither run nor have saved anything: what they left on disk is nobody's.

    None of a job that has no row: no job is ever removed, so somebody else knows of it.
    """
    asked = set(claims)
    ids = set(session.scalars(select(job.c.id).where(job.c.id.in_({job_id for job_id, _ in asked}))))
    running = select(job.c.id, job.c.token).where(job.c.id.in_(ids), job.c.state == JobState.RUNNING)
    saved = select(result.c.job_id, result.c.path).where(result.c.job_id.in_(ids))
    known = {(job_id, token) for job_id, token in session.execute(running)}
    known |= {(job_id, folder_of(path)) for job_id, path in session.execute(saved)}
    return {claim for claim in asked - known if claim[0] in ids}


def folder_of(path: str) -> str:
    """The token in the path of a result: results/<job>/<token>/<file>."""
    return path.rpartition("/")[0].rpartition("/")[2]
