"""Circuit breakers of destinations in SQL: each change with its audit row; closing one ends every wait behind it."""

import random
from collections import Counter
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from node.catalog import audit, forwards
from node.catalog.outbox import end_waits
from node.catalog.peers import KnownDestination
from node.catalog.tables import destination
from node.domain.audit import Detail, Event, EventKind, EventOutcome
from node.domain.breaker import LEVELS, Breaker, BreakerState

OPERATOR = "operator"


def of(session: Session, to: KnownDestination, *, lock: bool = False) -> Breaker:
    """Where the breaker of a destination stands; with `lock` until the transaction ends."""
    query = select(destination).where(destination.c.id == to.id)
    return _breaker(session.execute(query.with_for_update() if lock else query).mappings().one())


def _breaker(row: Any) -> Breaker:
    values = {name: row[f"breaker_{name}"] for name in ("failures", "reason", "opened_at", "until")}
    return Breaker(BreakerState(row["breaker"]), **values)


def by_destination(session: Session) -> dict[str, Breaker]:
    """The breaker of each destination in use, by AET@HOST:PORT."""
    rows = session.execute(select(destination).where(destination.c.enabled == 1).order_by(destination.c.id)).mappings()
    return {f"{row['ae_title']}@{row['host']}:{row['port']}": _breaker(row) for row in rows}


def count_by_state(session: Session) -> dict[str, int]:
    """How many destinations in use are sent to, left alone, tried, paused."""
    return dict(Counter(str(each.state) for each in by_destination(session).values()))


def levels(session: Session) -> dict[str, int]:
    """The state of each destination in use as a number."""
    return {place: LEVELS[each.state] for place, each in by_destination(session).items()}


def tried(session: Session, to: KnownDestination, now: datetime) -> Breaker:
    """The breaker as it is now; half-open when its moment has come."""
    before = of(session, to, lock=True)
    after = before.tried(now)
    _keep(session, to, before, after)
    return after


def failed(session: Session, to: KnownDestination, reason: str, now: datetime, jitter: random.Random) -> Breaker:
    """The destination failed once more; returns where that leaves it."""
    before = of(session, to, lock=True)
    after = before.failed(reason, now, jitter)
    _keep(session, to, before, after)
    if before.state is BreakerState.CLOSED and after.state is BreakerState.OPEN:
        detail: Detail = {"failures": after.failures, "reason": reason}
        audit.append(session, _event(EventKind.BREAKER_OPENED, to, now, detail=detail))
    return after


def answered(session: Session, to: KnownDestination, now: datetime, actor: str = "") -> bool:
    """The destination did answer. True when that closed its breaker."""
    before = of(session, to)
    if before == before.answered():
        return False  # as nearly always: no lock for that
    before = of(session, to, lock=True)
    after = before.answered()
    _keep(session, to, before, after)
    closed = before.state is not BreakerState.CLOSED and after.state is BreakerState.CLOSED
    if closed:
        end_waits(session, to.id, now)
        forwards.end_waits(session, to.id, now)
        audit.append(session, _event(EventKind.BREAKER_CLOSED, to, now, actor))
    return closed


def pause(session: Session, to: KnownDestination, now: datetime) -> None:
    """An operator stops sending. Raises IllegalMove when that is so already."""
    before = of(session, to, lock=True)
    _keep(session, to, before, before.paused(now))
    audit.append(session, _event(EventKind.DESTINATION_PAUSED, to, now, OPERATOR))


def resume(session: Session, to: KnownDestination, now: datetime) -> None:
    """An operator lets sending go on."""
    before = of(session, to, lock=True)
    _keep(session, to, before, before.resumed())
    end_waits(session, to.id, now)
    forwards.end_waits(session, to.id, now)
    audit.append(session, _event(EventKind.DESTINATION_RESUMED, to, now, OPERATOR))


def _keep(session: Session, to: KnownDestination, before: Breaker, after: Breaker) -> None:
    if after != before:
        values = {f"breaker_{name}": value for name, value in asdict(after).items() if name != "state"}
        session.execute(update(destination).where(destination.c.id == to.id).values(breaker=after.state, **values))


def _event(
    kind: EventKind, to: KnownDestination, now: datetime, actor: str = "", detail: Detail | None = None
) -> Event:
    peer = to.destination
    outcome = EventOutcome.SERIOUS_FAILURE if kind is EventKind.BREAKER_OPENED else EventOutcome.SUCCESS
    about: Detail = {"destination": peer.ae_title, **(detail or {})}
    return Event(kind, outcome, actor or peer.ae_title, f"{peer.host}:{peer.port}", detail=about, at=now)
