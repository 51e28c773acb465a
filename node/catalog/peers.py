"""Senders and destinations: what the settings name, and what an administrator decided since."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, insert, select, update
from sqlalchemy.orm import Session

from node.catalog.session import changed
from node.catalog.tables import destination, outbox, sender
from node.domain.peers import Destination, Sender, Standing, covers, standing_of

MOST_PENDING = 200
"""Callers that wait for a decision."""


@dataclass(frozen=True)
class KnownDestination:
    """A destination and its row."""

    id: int
    destination: Destination


def _treatment(of: Sender) -> dict[str, Any]:
    return {
        "gapless_quiet_s": of.gapless_quiet_s,
        "quiet_s": of.quiet_s,
        "priority": of.priority,
        "max_study_age_days": of.max_study_age_days,
    }


def configure_senders(session: Session, senders: Sequence[Sender]) -> None:
    """Make the configured senders those of the settings; whom an administrator let in or kept out stays so."""
    session.execute(delete(sender).where(sender.c.configured == 1))
    decided = select(sender.c.ae_title, sender.c.network).where(sender.c.standing != Standing.PENDING)
    places = {tuple(row) for row in session.execute(decided)}
    for each in senders:
        if (each.ae_title, each.network) in places:
            session.execute(update(sender).where(_place(each)).values(_treatment(each)))
        else:
            _put(session, each, configured=1)


def decide(session: Session, decision: Sender) -> None:
    """An administrator allows or denies callers; those of them who waited for that wait no more."""
    _put(session, decision, configured=0)
    waiting = [each for each in senders(session) if each.standing is Standing.PENDING]
    for each in waiting:
        if covers(decision, each.ae_title, each.network):
            session.execute(delete(sender).where(_place(each)))


def _place(of: Sender) -> ColumnElement[bool]:
    return and_(sender.c.ae_title == of.ae_title, sender.c.network == of.network)


def _put(session: Session, each: Sender, configured: int) -> None:
    values = {**_treatment(each), "standing": each.standing, "configured": configured}
    if changed(session, update(sender).where(_place(each)).values(**values)) == 0:
        session.execute(insert(sender).values(ae_title=each.ae_title, network=each.network, **values))


def senders(session: Session) -> list[Sender]:
    """Everybody who is known, or waits to be."""
    columns = [sender.c[name] for name in Sender.__dataclass_fields__]
    rows = session.execute(select(*columns).order_by(sender.c.id)).mappings()
    return [Sender(**{**row, "standing": Standing(row["standing"])}) for row in rows]


def priority_of(session: Session, ae_title: str, address: str) -> int:
    """Of the analysis of what a caller sends; 0 for one that nobody knows any more."""
    sender = standing_of(senders(session), ae_title, address) if address else None
    return sender.priority if sender else 0


def sender_listing(session: Session) -> list[dict[str, Any]]:
    """Senders for people, with how often each was refused."""
    return [dict(row) for row in session.execute(select(sender).order_by(sender.c.id)).mappings()]


def refused(session: Session, ae_title: str, network: str, now: datetime, count: int = 1) -> None:
    """Somebody was refused so often: counted, and shown as pending when nobody has decided about it.

    Whoever makes AE titles up hides nobody else: beyond MOST_PENDING the network with most of them makes room.
    """
    caller = Sender(ae_title, network, Standing.PENDING)
    counted = update(sender).where(_place(caller)).values(refusals=sender.c.refusals + count, last_refused_at=now)
    if changed(session, counted) == 0:
        _make_room(session)
        _put(session, caller, configured=0)
        session.execute(counted)


def _make_room(session: Session) -> None:
    pending = sender.c.standing == Standing.PENDING
    waiting = session.execute(select(sender.c.network, sender.c.id).where(pending).order_by(sender.c.id)).all()
    if len(waiting) >= MOST_PENDING:
        ((crowded, _),) = Counter(network for network, _ in waiting).most_common(1)
        oldest = next(row_id for network, row_id in waiting if network == crowded)
        session.execute(delete(sender).where(sender.c.id == oldest))


def configure_destinations(session: Session, wanted: Sequence[Destination]) -> None:
    """Make the enabled destinations those of the settings; one that is no longer named keeps its history."""
    session.execute(update(destination).values(enabled=0))
    for each in wanted:
        place = (
            (destination.c.ae_title == each.ae_title)
            & (destination.c.host == each.host)
            & (destination.c.port == each.port)
        )
        values = {"results": list(each.results), "not_analysed": int(each.not_analysed), "enabled": 1}
        if changed(session, update(destination).where(place).values(**values)) == 0:
            key = {"ae_title": each.ae_title, "host": each.host, "port": each.port}
            session.execute(insert(destination).values(**key, **values))


def destinations(session: Session) -> list[KnownDestination]:
    """Where results go now."""
    rows = session.execute(select(destination).where(destination.c.enabled == 1).order_by(destination.c.id)).mappings()
    return [
        KnownDestination(
            row["id"],
            Destination(row["ae_title"], row["host"], row["port"], tuple(row["results"]), bool(row["not_analysed"])),
        )
        for row in rows
    ]


def destination_listing(session: Session) -> list[dict[str, Any]]:
    """Destinations for people, with what waits for each."""
    listing = []
    for row in session.execute(select(destination).order_by(destination.c.id)).mappings():
        states = session.scalars(select(outbox.c.state).where(outbox.c.destination_id == row["id"])).all()
        listing.append({**row, "outbox": {state: states.count(state) for state in sorted(set(states))}})
    return listing
