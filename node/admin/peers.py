"""Senders and destinations: who they are, what an administrator decides, whether they answer."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_network

from pydicom.uid import UID
from sqlalchemy.orm import Session

from node.admin.opened import opened, reading
from node.admin.view import Row, View, cell
from node.catalog import audit, breakers, commitments, forwards, outbox, peers
from node.dicom import store_scu
from node.domain.audit import Event, EventKind
from node.domain.peers import Destination, Protocol, Standing, decision_about
from node.errors import PeerFailed, SettingsError, Unavailable
from node.hl7 import mllp
from node.settings import Settings

OK = "ok"
KINDS_SHOWN = 5
"""Kinds of objects that a caller asked for; all of them with --json."""
ECHO_WITHIN_S = 10.0


def senders(settings: Settings) -> View:
    """One row a sender."""
    with reading(settings) as session:
        rows = peers.sender_listing(session)
    columns = ("ae_title", "network", "standing", "refusals", "last_refused_at", "gapless_quiet_s", "quiet_s",
               "priority", "max_study_age_days", "pipeline", "tls_required", "called",
               "certificate")  # fmt: skip
    waiting = [row for row in rows if row["standing"] == Standing.PENDING]
    return View(rows, columns, rows, note="\n".join(map(_wish, waiting)))


def _wish(row: Row) -> str:
    """What a caller asked for that waits for a decision, and how it is let in."""
    wish, network = row["wish"], row["network"]
    host = network.partition("/")[0] if ip_network(network).num_addresses == 1 else network
    kinds = ", ".join(UID(each).name for each in wish.get("kinds", ())[:KINDS_SHOWN]) or "nothing that is known"
    more = len(wish.get("kinds", ())) - KINDS_SHOWN
    by = f" ({', '.join(wish['implementations'])})" if wish.get("implementations") else ""
    times = f"{row['refusals']} times from {cell(row['first_refused_at'])} to {cell(row['last_refused_at'])}"
    return (
        f"{row['ae_title']} at {network}{by} called {', '.join(wish.get('called', ())) or 'us'} {times} for {kinds}"
        f"{f' and {more} more' if more > 0 else ''}. To let it in: nodus senders allow {row['ae_title']}@{host}"
    )


def decide(settings: Settings, caller: str, standing: Standing) -> View:
    """Allow or deny a caller. Raises SettingsError for what is not AET@NETWORK."""
    ae_title, at, network = caller.rpartition("@")  # an AE title may have an @ in it, a network none
    try:
        place = str(ip_network(network if at else "", strict=False))
    except ValueError:
        raise SettingsError(f"{caller!r} is not AET@NETWORK, such as CT1@10.0.0.5 or *@10.0.0.0/24.") from None
    if not ae_title or len(ae_title) > 16:
        raise SettingsError("An AE title has 1 to 16 characters; * is any.")
    with opened(settings) as catalog, catalog.writing() as session:
        decision = decision_about(peers.senders(session), ae_title, place, standing)
        peers.decide(session, decision)
        detail = {"ae_title": ae_title, "network": place, "standing": str(standing)}
        audit.append(session, Event(EventKind.SENDER_CHANGED, actor="operator", detail=detail))
    return View(asdict(decision), note=f"{ae_title} from {place} is {standing}.")


def destinations(settings: Settings) -> View:
    """One row a destination."""
    with reading(settings) as session:
        rows = [
            {
                **row,
                "tls": bool(row["secured"]),
                "forwards": forwards.of_destination(session, row["id"]),
                "commitment_error": commitments.newest_error(session, row["id"]),
            }
            for row in peers.destination_listing(session)
        ]
    columns = ("ae_title", "host", "port", "protocol", "tls", "results", "enabled", "outbox", "forwards", "commitment",
               "commitment_error", "breaker", "breaker_reason", "breaker_until")  # fmt: skip
    return View(rows, columns, rows)


def echo(settings: Settings) -> View:
    """C-ECHO to each enabled destination, a connection where it takes messages, all at once; one that answers is sent
    to again. Well: all answer."""
    with opened(settings) as catalog:
        with catalog.reading() as session:
            known = peers.destinations(session, *Protocol)
        ask = partial(_answer, settings.ae_title)
        with ThreadPoolExecutor(max(1, len(known))) as asking:
            answers = list(asking.map(ask, [each.destination for each in known]))
        with catalog.writing() as session:
            for each, answer in zip(known, answers, strict=True):
                if answer == OK:
                    breakers.answered(session, each, datetime.now(UTC), actor="operator")
    rows = [
        {"ae_title": peer.ae_title, "host": peer.host, "port": peer.port, "answer": answer}
        for peer, answer in zip((each.destination for each in known), answers, strict=True)
    ]
    return View(rows, ("ae_title", "host", "port", "answer"), rows, well=all(answer == OK for answer in answers))


def _answer(ae_title: str, peer: Destination) -> str:
    try:
        if peer.protocol is Protocol.HL7:
            with mllp.connected(ECHO_WITHIN_S, peer):
                return OK
        store_scu.echo(ae_title, peer)
    except PeerFailed as error:
        return str(error)
    return OK


def pause(settings: Settings, ae_title: str) -> View:
    """Send nothing more to a destination until it is resumed. Raises Unavailable, IllegalMove."""
    with opened(settings) as catalog, catalog.writing() as session:
        for each in named(session, ae_title):
            breakers.pause(session, each, datetime.now(UTC))
    return View({"ae_title": ae_title}, note=f"Nothing is sent to {ae_title} until `nodus destinations resume`.")


def resume(settings: Settings, ae_title: str) -> View:
    """Send to a destination again at once, paused or left alone. Raises Unavailable."""
    with opened(settings) as catalog, catalog.writing() as session:
        for each in named(session, ae_title):
            breakers.resume(session, each, datetime.now(UTC))
    return View({"ae_title": ae_title}, note=f"What waits for {ae_title} is sent now.")


def forget(settings: Settings, ae_title: str) -> View:
    """Give up what waits for a destination that the settings name no more. Raises Unavailable."""
    with opened(settings) as catalog, catalog.writing() as session:
        cancelled = sum(_give_up(session, row) for row in _unnamed(session, ae_title))
    data = {"ae_title": ae_title, "cancelled": cancelled}
    return View(data, note=f"{cancelled} results and images that waited for {ae_title} are given up.")


def _unnamed(session: Session, ae_title: str) -> list[Row]:
    known = [row for row in peers.destination_listing(session) if row["ae_title"] == ae_title]
    if not known:
        raise Unavailable(f"There is no destination {ae_title}; `nodus destinations` lists them.")
    unnamed: list[Row] = [row for row in known if not row["enabled"]]
    if not unnamed:
        raise Unavailable(f"The settings name {ae_title}: take it out of them first, then start the node again.")
    return unnamed


def _give_up(session: Session, destination: Row) -> int:
    cancelled = outbox.give_up(session, destination["id"]) + forwards.give_up(session, destination["id"])
    detail = {**{name: destination[name] for name in ("ae_title", "host", "port")}, "cancelled": cancelled}
    audit.append(session, Event(EventKind.DESTINATION_FORGOTTEN, actor="operator", detail=detail))
    return cancelled


def named(session: Session, ae_title: str) -> list[peers.KnownDestination]:
    """The destinations in use that have an AE title. Raises Unavailable when there is none."""
    found = [each for each in peers.destinations(session, *Protocol) if each.destination.ae_title == ae_title]
    if not found:
        raise Unavailable(f"There is no destination {ae_title}; `nodus destinations` lists them.")
    return found
