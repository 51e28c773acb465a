"""Results of a job enter the outbox, wait for their study to be complete, and go, or give way."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import and_, func, insert, or_, select, update
from sqlalchemy.orm import Session

from node.catalog.session import changed
from node.catalog.tables import destination, job, outbox, study
from node.domain.delivery import MessageKind, OutboxState, ResultKind
from node.domain.job import PIPELINE
from node.domain.route import decision_of
from node.domain.study import Completeness

UNSENT = (OutboxState.HELD, OutboxState.DUE)
SEEN = and_(outbox.c.kind != MessageKind.ORU, or_(outbox.c.state != OutboxState.CANCELLED, outbox.c.attempts > 0))
"""Of an outbox row: its destination may have the result, or gets it; also where it was given up after an attempt. A
message is none: no later report names it."""


def hold(session: Session, job_id: int, kinds: Iterable[ResultKind], notice: bool, now: datetime) -> None:
    """Put results into the outbox of every destination that wants them and that the study is for, held until the study
    is complete. Rules choose among destinations by DICOM: whoever is told by messages is told of every reading.

    Never those of a shadow reading. Where a message is wanted there is always one to make.
    """
    of_job = select(study.c.routing).join(job, job.c.study_id == study.c.id).where(job.c.id == job_id)
    titles = decision_of(session.execute(of_job).scalar_one()).route.destinations
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
        for kind in (*kinds, MessageKind.ORU)
        if kind in each.results and (each.not_analysed or not notice)
        if titles is None or each.ae_title in titles or kind is MessageKind.ORU
    ]
    if rows and session.execute(select(job.c.pipeline).where(job.c.id == job_id)).scalar_one() == PIPELINE:
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
