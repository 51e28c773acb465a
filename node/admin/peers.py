"""Senders and destinations: who they are, what an administrator decides, whether they answer."""

from dataclasses import asdict
from ipaddress import ip_network

from node.admin.opened import opened, reading
from node.admin.view import View
from node.catalog import audit, peers
from node.dicom import store_scu
from node.domain.audit import Event, EventKind
from node.domain.peers import Sender, Standing
from node.errors import PeerFailed, SettingsError
from node.settings import Settings


def senders(settings: Settings) -> View:
    """One row a sender."""
    with reading(settings) as session:
        rows = peers.sender_listing(session)
    columns = ("ae_title", "network", "standing", "refusals", "last_refused_at", "gapless_quiet_s", "quiet_s")
    return View(rows, columns, rows)


def decide(settings: Settings, caller: str, standing: Standing) -> View:
    """Allow or deny a caller. Raises SettingsError for what is not AET@NETWORK."""
    ae_title, _, network = caller.partition("@")
    try:
        place = str(ip_network(network, strict=False))
    except ValueError:
        raise SettingsError(f"{caller!r} is not AET@NETWORK, such as CT1@10.0.0.5 or *@10.0.0.0/24.") from None
    if not ae_title or len(ae_title) > 16:
        raise SettingsError("An AE title has 1 to 16 characters; * is any.")
    decision = Sender(ae_title, place, standing)
    with opened(settings) as catalog, catalog.writing() as session:
        peers.decide(session, decision)
        detail = {"ae_title": ae_title, "network": place, "standing": str(standing)}
        audit.append(session, Event(EventKind.SENDER_CHANGED, actor="operator", detail=detail))
    return View(asdict(decision), note=f"{ae_title} from {place} is {standing}.")


def destinations(settings: Settings) -> View:
    """One row a destination."""
    with reading(settings) as session:
        rows = peers.destination_listing(session)
    return View(rows, ("ae_title", "host", "port", "results", "enabled", "outbox"), rows)


def echo(settings: Settings) -> View:
    """C-ECHO to each enabled destination. Well: all answer."""
    with reading(settings) as session:
        known = peers.destinations(session)
    rows = []
    for each in known:
        peer = each.destination
        try:
            store_scu.echo(settings.ae_title, peer)
            answer = "ok"
        except PeerFailed as error:
            answer = str(error)
        rows.append({"ae_title": peer.ae_title, "host": peer.host, "port": peer.port, "answer": answer})
    return View(rows, ("ae_title", "host", "port", "answer"), rows, well=all(row["answer"] == "ok" for row in rows))
