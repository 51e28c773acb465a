"""Results of a job enter the outbox, wait for their study to be complete, and go, or give way."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.orm import Session

from node.catalog.session import changed
from node.catalog.tables import destination, job, outbox, study
from node.domain.delivery import OutboxState, ResultKind
from node.domain.study import Completeness

UNSENT = (OutboxState.HELD, OutboxState.DUE)
SEEN = or_(outbox.c.state != OutboxState.CANCELLED, outbox.c.attempts > 0)
"""Of an outbox row: its destination may have the result, or gets it; also where it was given up after an attempt."""


def hold(session: Session, job_id: int, kinds: Iterable[ResultKind], notice: bool, now: datetime) -> None:
    """Put results into the outbox of every destination that wants them, held until the study is complete."""
    rows = [
        {
            "job_id": job_id,
            "destination_id": each.id,
            "kind": kind,
            "state": OutboxState.HELD,
            "created_at": now,
            "not_before": now,
        }
        for each in session.execute(select(destination).where(destination.c.enabled == 1))
        for kind in kinds
        if kind in each.results and (each.not_analysed or not notice)
    ]
    if rows:
        session.execute(insert(outbox), rows)


def cancel_unsent(session: Session, job_id: int) -> bool:
    """A newer result takes the place of this job's: what nobody has seen stays here. True when that is all of it."""
    session.execute(
        update(outbox)
        .where(outbox.c.job_id == job_id, outbox.c.state.in_(UNSENT), outbox.c.attempts == 0)
        .values(state=OutboxState.CANCELLED)
    )
    left = session.scalars(select(outbox.c.id).where(outbox.c.job_id == job_id, SEEN).limit(1))
    return left.first() is None


def give_up(session: Session, destination_id: int) -> int:
    """Nothing more will be sent to a destination; returns how many results waited for it."""
    waiting = (outbox.c.destination_id == destination_id) & outbox.c.state.in_(UNSENT)
    return changed(session, update(outbox).where(waiting).values(state=OutboxState.CANCELLED))


def newest_job_seen(session: Session, study_id: int) -> int | None:
    """The newest job of a study of whose results some destination may have seen one; ask after `cancel_unsent`."""
    query = (
        select(func.max(outbox.c.job_id)).join(job, job.c.id == outbox.c.job_id).where(job.c.study_id == study_id, SEEN)
    )
    return session.execute(query).scalar_one_or_none()


def is_held(session: Session, job_id: int) -> bool:
    """Whether results of a job wait for their study to be complete."""
    held = (outbox.c.job_id == job_id) & (outbox.c.state == OutboxState.HELD)
    return session.scalars(select(outbox.c.id).where(held).limit(1)).first() is not None


def jobs_to_release(session: Session) -> list[tuple[int, str]]:
    """(job id, Study Instance UID) of jobs with held results whose study is complete."""
    query = (
        select(outbox.c.job_id, study.c.study_instance_uid)
        .join(job, job.c.id == outbox.c.job_id)
        .join(study, study.c.id == job.c.study_id)
        .where(outbox.c.state == OutboxState.HELD, study.c.state == Completeness.COMPLETE)
        .distinct()
    )
    return list(session.execute(query))


def release(session: Session, job_id: int, now: datetime) -> bool:
    """Let the held results of a job go. False: it holds none any more."""
    held = update(outbox).where(outbox.c.job_id == job_id, outbox.c.state == OutboxState.HELD)
    return changed(session, held.values(state=OutboxState.DUE, not_before=now)) > 0
