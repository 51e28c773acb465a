"""Times that lie ahead of the clock, because it was set back: whatever compares with them would wait for it."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, update
from sqlalchemy.orm import Session

from node.catalog import audit
from node.catalog.session import changed
from node.catalog.tables import (
    alert,
    commitment,
    destination,
    forward,
    instance,
    missing,
    outbox,
    result,
    series,
    study,
)
from node.domain.audit import Detail, Event, EventKind
from node.domain.commitment import LONGEST_PATIENCE

PAST: tuple[Column[Any], ...] = (
    *(series.c.first_received_at, series.c.last_received_at, study.c.first_received_at, study.c.last_received_at),
    *(study.c.purged_at, instance.c.purged_at, result.c.purged_at),
    *(commitment.c.since, commitment.c.asked_at, missing.c.opened_at, missing.c.asked_at),
)
"""What has happened; series first, as all who lock both do."""
WAITS: tuple[Column[Any], ...] = (
    *(outbox.c.not_before, destination.c.breaker_until, alert.c.not_before, forward.c.not_before),
)
"""What is to happen. The times of jobs are the database's."""
LONG_WAITS: tuple[Column[Any], ...] = (commitment.c.not_before, forward.c.ask_at)
"""What is to happen, days from now at most."""


def bring_back(session: Session, to: datetime, longest_wait: timedelta) -> int:
    """Let nothing have happened after this moment, nor wait for longer from then; returns how many times changed."""
    count = sum(_cut(session, each, to, to) for each in PAST)
    count += sum(_cut(session, each, to + longest_wait, to) for each in WAITS)
    count += sum(_cut(session, each, to + LONGEST_PATIENCE, to) for each in LONG_WAITS)
    if count:
        detail: Detail = {"to": to.isoformat(), "times": count}
        audit.append(session, Event(EventKind.CLOCK_SET_BACK, detail=detail))
    return count


def _cut(session: Session, column: Column[Any], beyond: datetime, to: datetime) -> int:
    return changed(session, update(column.table).where(column > beyond).values({column: to}))
