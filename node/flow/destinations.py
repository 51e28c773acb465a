"""Destinations of the settings to SQL; what changes with that, and who did not prove itself, to the audit trail."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from node.catalog import audit, peers
from node.catalog.session import Catalog
from node.domain.audit import Event, EventKind, EventOutcome
from node.domain.peers import Destination, Protocol
from node.errors import NotTrusted, PeerFailed


def configure(session: Session, wanted: Sequence[Destination]) -> None:
    """Make the destinations those of the settings, and write down where that changes something."""
    before = [each.destination for each in peers.destinations(session, *Protocol)]
    peers.configure_destinations(session, wanted)
    old, new = ({each.place: each for each in some} for some in (before, wanted))
    detail = {
        "added": " ".join(sorted(new.keys() - old.keys())),
        "removed": " ".join(sorted(old.keys() - new.keys())),
        "changed": " ".join(sorted(place for place in new.keys() & old.keys() if new[place] != old[place])),
    }
    if any(detail.values()):
        audit.append(session, Event(EventKind.DESTINATION_CHANGED, actor="settings", detail=detail))


def doubted(catalog: Catalog, to: Destination, error: PeerFailed) -> None:
    """Write down a TLS handshake that failed. The pauses between attempts keep these few."""
    if isinstance(error, NotTrusted):
        event = Event(
            EventKind.SECURITY_ALERT,
            EventOutcome.SERIOUS_FAILURE,
            to.ae_title,
            f"{to.host}:{to.port}",
            detail={"reason": str(error), "called": to.ae_title, "count": 1},
        )
        with catalog.writing() as session:
            audit.append(session, event)
