"""Where results stand, for people."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, func, or_, select
from sqlalchemy.orm import Session

from node.catalog.instant import Utc, now_of
from node.catalog.tables import destination, job, outbox, result, study
from node.domain.commitment import Proof
from node.domain.delivery import OutboxState
from node.domain.job import JobState

MISSED = and_(
    outbox.c.state == OutboxState.REFUSED,
    job.c.state == JobState.DONE,
    destination.c.enabled == 1,
    ~exists().where(result.c.job_id == job.c.id, result.c.purged_at.is_not(None)),
)
"""Of an outbox row with its job and its destination: it was refused, and a person has to decide. Not so where a newer
job stands for the study, the settings name the destination no more, or somebody removed the files all the same."""

UNCONFIRMED = and_(
    outbox.c.state == OutboxState.DELIVERED,
    job.c.state == JobState.DONE,
    destination.c.enabled == 1,
    destination.c.commitment != Proof.OFF,
    ~exists().where(result.c.job_id == job.c.id, result.c.purged_at.is_not(None)),
)
"""Of an outbox row with its job and its destination: it is stored there, and the destination is to confirm that. Not so
where a newer job stands for the study, or the files are gone: nobody would send it again."""


def missed(session: Session) -> dict[str, int]:
    """How many refused results need a person, by AET@HOST:PORT."""
    return _by_place(session, MISSED)


def overdue(session: Session, since: datetime) -> dict[str, int]:
    """How many results have failed and were there to be sent before that moment, by AET@HOST:PORT."""
    failing = and_(outbox.c.state == OutboxState.DUE, outbox.c.failures > 0, destination.c.enabled == 1)
    released = or_(study.c.completed_at.is_(None), study.c.completed_at < since)  # held until then
    return _by_place(session, failing & (outbox.c.created_at < since) & released)


def _by_place(session: Session, which: ColumnElement[bool]) -> dict[str, int]:
    place = (destination.c.ae_title, destination.c.host, destination.c.port)
    tables = outbox.join(destination).join(job, job.c.id == outbox.c.job_id).join(study, study.c.id == job.c.study_id)
    rows = session.execute(select(*place, func.count()).select_from(tables).where(which).group_by(*place))
    return {f"{ae_title}@{host}:{port}": count for ae_title, host, port, count in rows}


def count_by_state(session: Session) -> dict[str, int]:
    """How many results stand where, over all destinations."""
    rows = session.execute(select(outbox.c.state, func.count()).group_by(outbox.c.state))
    return dict(rows.all())


def states_of_job(session: Session, job_id: int) -> dict[str, int]:
    """How many results of a job stand where."""
    rows = session.execute(
        select(outbox.c.state, func.count()).where(outbox.c.job_id == job_id).group_by(outbox.c.state)
    )
    return dict(rows.all())


def listing(session: Session, job_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Where the results of some jobs stand, for people."""
    query = (
        select(outbox, destination.c.ae_title)
        .join(destination, destination.c.id == outbox.c.destination_id)
        .where(outbox.c.job_id.in_(job_ids))
        .order_by(outbox.c.id)
    )
    return [dict(row) for row in session.execute(query).mappings()]


def waiting_s(session: Session) -> dict[str, int]:
    """By AET@HOST:PORT of each destination in use: the age in seconds of the oldest result that is due there."""
    due = outbox.c.state == OutboxState.DUE
    released = case((study.c.completed_at > outbox.c.created_at, study.c.completed_at), else_=outbox.c.created_at)
    oldest = (
        select(outbox.c.destination_id, func.min(released, type_=Utc).label("since"))
        .select_from(outbox.join(job, job.c.id == outbox.c.job_id).join(study, study.c.id == job.c.study_id))
        .where(due)
        .group_by(outbox.c.destination_id)
        .subquery()
    )
    query = (
        select(destination.c.ae_title, destination.c.host, destination.c.port, oldest.c.since)
        .select_from(destination.outerjoin(oldest, oldest.c.destination_id == destination.c.id))
        .where(destination.c.enabled == 1)
    )
    now = now_of(session)
    return {
        f"{ae_title}@{host}:{port}": int((now - since).total_seconds()) if since else 0
        for ae_title, host, port, since in session.execute(query)
    }
