"""Senders and destinations: what the settings name, and what an administrator decided since."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, insert, select, update
from sqlalchemy.orm import Session

from node.catalog.session import changed
from node.catalog.tables import destination, outbox, sender
from node.domain.commitment import Proof
from node.domain.peers import Destination, Protocol, Secured, Sender, Standing, covers, host_network, standing_of
from node.domain.reception import AssociationRefused
from node.domain.route import Pipeline

MOST_PENDING = 200
"""Callers that wait for a decision."""
MOST_OF_A_WISH = 128
"""Kinds of objects, AE titles, implementations that are kept of each: an association has as many contexts at most."""


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
        "pipeline": of.pipeline,
        "tls_required": int(of.tls_required),
        "called": list(of.called),
        "may_query": of.may_query,
        "may_retrieve": of.may_retrieve,
        "certificate": of.certificate,
        "count_at": of.count_at,
        "commitment_port": of.commitment_port,
        "commitment_tls": int(of.commitment_tls),
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
    return [_sender(row) for row in rows]


def _sender(row: Any) -> Sender:
    kinds = {
        "standing": Standing(row["standing"]),
        "pipeline": Pipeline(row["pipeline"] or Pipeline.ANALYSE),  # empty: an earlier version of Nodus wrote it
        "tls_required": bool(row["tls_required"]),
        "called": tuple(row["called"]),
        "commitment_tls": bool(row["commitment_tls"]),
    }
    return Sender(**{**row, **kinds})


def priority_of(session: Session, ae_title: str, address: str) -> int:
    """Of the analysis of what a caller sends; 0 for one that nobody knows any more."""
    sender = standing_of(senders(session), ae_title, address) if address else None
    return sender.priority if sender else 0


def sender_listing(session: Session) -> list[dict[str, Any]]:
    """Senders for people, with how often each was refused."""
    return [dict(row) for row in session.execute(select(sender).order_by(sender.c.id)).mappings()]


def refused(session: Session, event: AssociationRefused) -> None:
    """Somebody was refused so often: counted with what it asked for, and shown as pending when nobody has decided.

    Whoever makes AE titles up hides nobody else: beyond MOST_PENDING the network with most of them makes room.
    """
    caller = Sender(event.calling_ae_title, host_network(event.address), Standing.PENDING)
    place = select(sender.c.wish).where(_place(caller))
    if (asked := session.execute(place).scalar_one_or_none()) is None:
        _make_room(session)
        _put(session, caller, configured=0)
    counted = {
        "refusals": sender.c.refusals + event.count,
        "first_refused_at": func.coalesce(sender.c.first_refused_at, event.at),
        "last_refused_at": event.at,
        "wish": _asked_for(asked or {}, event),
    }
    session.execute(update(sender).where(_place(caller)).values(counted))


def _asked_for(so_far: Mapping[str, Sequence[str]], event: AssociationRefused) -> dict[str, list[str]]:
    """What a caller asked for until now and this time, the newest of it: who makes things up fills no row."""
    wish = event.wish
    now = {"called": [event.called_ae_title], "kinds": wish.abstract_syntaxes, "implementations": [wish.implementation]}
    both = {name: dict.fromkeys([*so_far.get(name, ()), *filter(None, asked)]) for name, asked in now.items()}
    return {name: list(asked)[-MOST_OF_A_WISH:] for name, asked in both.items()}


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
        values = {
            "results": list(each.results),
            "not_analysed": int(each.not_analysed),
            "commitment": each.commitment,
            "retrieve": each.retrieve,
            "secured": asdict(each.secured) if each.secured else {},
            "protocol": each.protocol,
            "enabled": 1,
        }
        if changed(session, update(destination).where(place).values(**values)) == 0:
            key = {"ae_title": each.ae_title, "host": each.host, "port": each.port}
            session.execute(insert(destination).values(**key, **values))


def destinations(session: Session, *protocols: Protocol) -> list[KnownDestination]:
    """Where results go now, by DICOM where nothing else is asked for."""
    spoken = destination.c.protocol.in_(protocols or (Protocol.DICOM,))
    query = select(destination).where(destination.c.enabled == 1, spoken)
    rows = session.execute(query.order_by(destination.c.id)).mappings()
    return [KnownDestination(row["id"], _destination(row)) for row in rows]


def _destination(row: Any) -> Destination:
    return Destination(
        row["ae_title"],
        row["host"],
        row["port"],
        tuple(row["results"]),
        bool(row["not_analysed"]),
        Proof(row["commitment"]),
        row["retrieve"],
        Secured(**row["secured"]) if row["secured"] else None,
        Protocol(row["protocol"]),
    )


def destination_listing(session: Session) -> list[dict[str, Any]]:
    """Destinations for people, with what waits for each."""
    listing = []
    for row in session.execute(select(destination).order_by(destination.c.id)).mappings():
        states = session.scalars(select(outbox.c.state).where(outbox.c.destination_id == row["id"])).all()
        listing.append({**row, "outbox": {state: states.count(state) for state in sorted(set(states))}})
    return listing
