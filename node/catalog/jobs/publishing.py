"""Which jobs get a message, in which order, and how many workers there are for them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, func, insert, or_, select, update
from sqlalchemy.orm import Session

from node.catalog.jobs.rows import runs
from node.catalog.session import changed
from node.catalog.tables import job, worker
from node.domain.job import JobState

WORKER_SILENT_AFTER = timedelta(seconds=20)
LONGEST_WAIT = timedelta(minutes=1)
"""No job is told to wait longer: one that seems to was written before the clock jumped back."""


def is_due(now: datetime) -> Any:
    """Condition: a job's time has come."""
    return or_(job.c.not_before <= now, job.c.not_before > now + LONGEST_WAIT)


def _has_fresh_message(now: datetime, lost_after: timedelta) -> Any:
    return and_(job.c.published_at >= now - lost_after, job.c.published_at <= now)


def publishable(
    session: Session, now: datetime, lost_after: timedelta, limit: int, *, shadow: bool = False
) -> list[int]:
    """Queued jobs that need a message: never had one, or had one so long ago that it must be lost."""
    unheard = or_(job.c.published_at.is_(None), ~_has_fresh_message(now, lost_after))
    query = (
        select(job.c.id)
        .where(job.c.state == JobState.QUEUED, is_due(now), unheard, runs(shadow))
        .order_by(job.c.turn_at, job.c.id)
        .limit(limit)
    )
    return list(session.scalars(query))


def mark_published(session: Session, job_ids: Sequence[int], now: datetime) -> None:
    """A message for each of these is about to be sent."""
    session.execute(update(job).where(job.c.id.in_(job_ids)).values(published_at=now))


def unpublish(session: Session, job_id: int | None = None) -> None:
    """The message of a job could not be sent; or those of all jobs were for nothing."""
    of = update(job) if job_id is None else update(job).where(job.c.id == job_id)
    session.execute(of.where(job.c.state == JobState.QUEUED).values(published_at=None))


def in_flight(session: Session, now: datetime, lost_after: timedelta, *, shadow: bool = False) -> int:
    """Jobs that occupy a worker or have a fresh message on the way."""
    fresh = and_(job.c.state == JobState.QUEUED, _has_fresh_message(now, lost_after))
    return _count(session, or_(job.c.state == JobState.RUNNING, fresh), runs(shadow))


def want_workers(session: Session, now: datetime) -> bool:
    """Whether readings wait for more workers than are idle: what runs in shadow gives its own up then."""
    waiting = _count(session, job.c.state == JobState.QUEUED, is_due(now), runs(shadow=False))
    running = _count(session, job.c.state == JobState.RUNNING)
    return bool(waiting) and waiting + running > slots(session, now - WORKER_SILENT_AFTER)


def _count(session: Session, *conditions: Any) -> int:
    return int(session.execute(select(func.count()).select_from(job).where(*conditions)).scalar_one())


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
