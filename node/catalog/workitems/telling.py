"""What subscribers are still to be told, in order, until they heard it or it is too old."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from node.catalog.session import changed
from node.catalog.tables import notification
from node.domain.procedure_events import KEPT, LONGEST_WAIT, MOST_KEPT, Content, EventType, Notification


def enqueue(session: Session, ae_title: str, uid: str, event: EventType, content: Content, now: datetime) -> None:
    """One more thing to tell. A progress that nobody heard of yet is replaced by the newer one."""
    if event is EventType.PROGRESS_REPORT:
        of_step = (notification.c.ae_title == ae_title) & (notification.c.sop_instance_uid == uid)
        session.execute(delete(notification).where(of_step, notification.c.type == event))
    session.execute(
        insert(notification).values(
            ae_title=ae_title,
            sop_instance_uid=uid,
            type=int(event),
            content=dict(content),
            created_at=now,
            not_before=now,
        )
    )


def to_tell(session: Session, ae_title: str, now: datetime, limit: int) -> list[Notification]:
    """The oldest that one subscriber has not heard; nothing while the oldest waits for another attempt. What seems to
    wait for longer than any was postponed before the clock was set back."""
    mine = select(notification).where(notification.c.ae_title == ae_title).order_by(notification.c.id).limit(limit)
    rows = session.execute(mine).mappings().all()
    if rows and now < rows[0]["not_before"] <= now + 2 * LONGEST_WAIT:
        return []
    return [
        Notification(row["id"], row["sop_instance_uid"], EventType(row["type"]), row["content"], row["attempts"])
        for row in rows
    ]


def forget(session: Session, notification_id: int) -> None:
    """It was heard."""
    session.execute(delete(notification).where(notification.c.id == notification_id))


def postpone(session: Session, notification_ids: Sequence[int], not_before: datetime) -> None:
    """The subscriber did not answer."""
    waiting = update(notification).where(notification.c.id.in_(notification_ids))
    session.execute(waiting.values(not_before=not_before, attempts=notification.c.attempts + 1))


def forget_the_old(session: Session, ae_title: str, now: datetime) -> int:
    """Drop what is older than KEPT, or more than MOST_KEPT; returns how many."""
    mine = notification.c.ae_title == ae_title
    old = changed(session, delete(notification).where(mine, notification.c.created_at < now - KEPT))
    over = int(session.execute(select(func.count()).select_from(notification).where(mine)).scalar_one()) - MOST_KEPT
    if over > 0:
        first = select(notification.c.id).where(mine).order_by(notification.c.id).limit(over)
        old += changed(session, delete(notification).where(notification.c.id.in_(first.scalar_subquery())))
    return old
