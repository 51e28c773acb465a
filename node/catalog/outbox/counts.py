"""Where results stand, for people."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from node.catalog.tables import destination, outbox


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
