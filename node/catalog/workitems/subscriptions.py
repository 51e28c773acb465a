"""Who subscribed to which steps (PS3.4 CC.2.3).

No step is ever deleted, so a deletion lock is always granted and only remembered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from node.catalog.tables import subscription


@dataclass(frozen=True)
class Subscriber:
    """Who is to be told of every step that comes, or of those that its keys select."""

    ae_title: str
    deletion_lock: bool
    filter: Mapping[str, Any]
    """Matching keys in the DICOM JSON model (PS3.18 F); empty: all."""


def subscribe(session: Session, ae_title: str, row_id: int, *, lock: bool, now: datetime) -> None:
    """To one step; who is subscribed only changes its lock."""
    unsubscribe(session, ae_title, row_id)
    values = {"ae_title": ae_title, "workitem_id": row_id, "deletion_lock": int(lock), "created_at": now}
    session.execute(insert(subscription).values(**values))


def unsubscribe(session: Session, ae_title: str, row_id: int) -> None:
    """From one step."""
    mine = (subscription.c.ae_title == ae_title) & (subscription.c.workitem_id == row_id)
    session.execute(delete(subscription).where(mine))


def subscribe_to_all(session: Session, to: Subscriber, now: datetime) -> None:
    """To what comes."""
    suspend(session, to.ae_title)
    values = {"ae_title": to.ae_title, "deletion_lock": int(to.deletion_lock), "filter": dict(to.filter)}
    session.execute(insert(subscription).values(**values, created_at=now))


def suspend(session: Session, ae_title: str) -> None:
    """No more to what comes; subscriptions to single steps stay."""
    mine = (subscription.c.ae_title == ae_title) & subscription.c.workitem_id.is_(None)
    session.execute(delete(subscription).where(mine))


def unsubscribe_from_all(session: Session, ae_title: str) -> None:
    """From everything."""
    session.execute(delete(subscription).where(subscription.c.ae_title == ae_title))


def global_subscribers(session: Session) -> list[Subscriber]:
    """Who is to be told of steps that come."""
    columns = (subscription.c.ae_title, subscription.c.deletion_lock, subscription.c.filter)
    query = select(*columns).where(subscription.c.workitem_id.is_(None)).order_by(subscription.c.id)
    return [Subscriber(title, bool(lock), keys) for title, lock, keys in session.execute(query)]


def subscribers(session: Session, row_id: int) -> list[str]:
    """AE titles that are told of one step."""
    query = select(subscription.c.ae_title).where(subscription.c.workitem_id == row_id).order_by(subscription.c.id)
    return list(session.scalars(query))
