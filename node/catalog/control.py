"""What an operator told the running node: to drain, so that nothing runs when it is stopped."""

from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from node.catalog import audit
from node.catalog.tables import control
from node.domain.audit import Event, EventKind

DRAIN = "drain"


def is_drained(session: Session) -> bool:
    """Whether no job may begin."""
    return session.execute(select(control.c.name).where(control.c.name == DRAIN)).first() is not None


def begin_drain(session: Session, now: datetime) -> None:
    """Let no job begin."""
    if not is_drained(session):
        session.execute(insert(control).values(name=DRAIN, value={}, changed_at=now))
        audit.append(session, Event(EventKind.DRAIN_BEGUN, actor="operator", at=now))


def end_drain(session: Session, actor: str, now: datetime) -> bool:
    """Let jobs begin again; says whether they could not."""
    drained = is_drained(session)
    if drained:
        session.execute(delete(control).where(control.c.name == DRAIN))
        audit.append(session, Event(EventKind.DRAIN_ENDED, actor=actor, at=now))
    return drained
