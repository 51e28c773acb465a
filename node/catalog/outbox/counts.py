"""Where results stand, for people."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from node.catalog.instant import Utc, now_of
from node.catalog.tables import destination, job, outbox, study
from node.domain.delivery import OutboxState


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
