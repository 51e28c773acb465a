"""What receivers tell: new files to the inbox, associations to the books, refusals and queries to the audit trail."""

import threading
from collections import defaultdict, deque
from datetime import datetime
from ipaddress import ip_address

from sqlalchemy.orm import Session

from node.catalog import audit, peers
from node.catalog.session import Catalog
from node.domain.audit import Detail, Event, EventKind, EventOutcome
from node.domain.reception import (
    AssociationClosed,
    AssociationOpened,
    AssociationRefused,
    Ending,
    InstanceRefused,
    ListeningEvent,
    OpenAssociations,
    QueryAnswered,
)
from node.domain.study import Arrival
from node.flow.register import Inbox
from node.metrics import Metrics

BACKLOG = 100_000
"""Events kept while the database is away; older ones are dropped then."""
BATCH = 200


class Listener:
    """Takes messages at once, writes them down in batches."""

    def __init__(self, catalog: Catalog, inbox: Inbox, associations: OpenAssociations, metrics: Metrics) -> None:
        self._catalog = catalog
        self._inbox = inbox
        self._associations = associations
        self._metrics = metrics
        self._served_by: dict[int, set[str]] = defaultdict(set)
        self._events: deque[ListeningEvent] = deque(maxlen=BACKLOG)
        self._lock = threading.Lock()

    def take(self, message: Arrival | ListeningEvent, receiver_id: int) -> None:
        """One message of a receiver, in its order."""
        if isinstance(message, Arrival):
            self._inbox.put(message)
            self._metrics.stored.inc()
            return
        with self._lock:
            self._follow(message, receiver_id)
            self._metrics.associations.set(len(self._associations))
            if not isinstance(message, AssociationOpened):
                self._events.append(message)

    def _follow(self, event: ListeningEvent, receiver_id: int) -> None:
        self._associations.take(event)
        if isinstance(event, AssociationOpened):
            self._served_by[receiver_id].add(event.association_id)
        elif isinstance(event, AssociationClosed):
            self._served_by[receiver_id].discard(event.association_id)
        elif isinstance(event, AssociationRefused):
            self._metrics.associations_refused.inc()
        elif isinstance(event, InstanceRefused):
            self._metrics.refused.labels(f"0x{event.status:04X}").inc()

    def receiver_lost(self, receiver_id: int) -> None:
        """A receiver ended: its associations are over, and it may have made files durable without telling."""
        with self._lock:
            self._associations.forget(self._served_by.pop(receiver_id, set()))
            self._metrics.associations.set(len(self._associations))
        self._inbox.must_rescan()

    def step(self) -> bool:
        """Write down what happened. True when there is more."""
        batch = [self._events[place] for place in range(min(BATCH, len(self._events)))]
        if not batch:
            return False
        with self._catalog.writing() as session:
            for event in batch:
                _write(session, event)
        for _ in batch:
            self._events.popleft()
        return bool(self._events)


def _write(session: Session, event: ListeningEvent) -> None:
    if isinstance(event, AssociationClosed):
        outcome = EventOutcome.SUCCESS if event.ending is Ending.RELEASED else EventOutcome.MINOR_FAILURE
        detail: Detail = {
            "association": event.association_id,
            "called": event.called_ae_title,
            "ending": str(event.ending),
            "stored": event.stored,
            "refused": event.refused,
        }
        _append(session, EventKind.ASSOCIATION_CLOSED, outcome, event, detail)
    elif isinstance(event, AssociationRefused):
        detail = {"called": event.called_ae_title, "reason": event.reason}
        _append(session, EventKind.ASSOCIATION_REFUSED, EventOutcome.SERIOUS_FAILURE, event, detail)
        if event.unknown_caller:
            peers.refused(session, event.calling_ae_title, _host_network(event.address), event.at)
    elif isinstance(event, InstanceRefused):
        detail = {
            "association": event.association_id,
            "sop_instance_uid": event.sop_instance_uid,
            "status": f"0x{event.status:04X}",
            "reason": event.reason,
        }
        _append(session, EventKind.INSTANCE_REFUSED, EventOutcome.MINOR_FAILURE, event, detail)
    elif isinstance(event, QueryAnswered):
        outcome = EventOutcome.MINOR_FAILURE if event.status else EventOutcome.SUCCESS
        detail = {"level": event.level, "answers": event.answers, "status": f"0x{event.status:04X}"}
        _append(session, EventKind.QUERY_ANSWERED, outcome, event, detail)


def _append(
    session: Session,
    kind: EventKind,
    outcome: EventOutcome,
    event: AssociationClosed | AssociationRefused | InstanceRefused | QueryAnswered,
    detail: Detail,
) -> None:
    at: datetime = event.at
    audit.append(session, Event(kind, outcome, event.calling_ae_title, event.address, detail=detail, at=at))


def _host_network(address: str) -> str:
    host = ip_address(address.partition("%")[0])  # a link-local address names the interface it came by
    return f"{host}/{host.max_prefixlen}"
