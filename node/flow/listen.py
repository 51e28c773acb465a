"""What receivers tell: new files to the inbox, associations to the books, their journal to the audit trail."""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from node.catalog import audit, peers
from node.catalog import journal as read_so_far
from node.catalog.session import Catalog
from node.domain.audit import Detail, Event, EventKind, EventOutcome
from node.domain.reception import (
    AssociationClosed,
    AssociationOpened,
    AssociationRefused,
    AuditLogUsed,
    CommitmentReported,
    CommitmentReportRefused,
    CountRefused,
    CountTold,
    Ending,
    InstanceRefused,
    ListeningEvent,
    OpenAssociations,
    PromiseAsked,
    QueryAnswered,
    Retrieved,
    StepRequestRefused,
)
from node.domain.study import Arrival
from node.flow import commit, counts, forward_commit, promise, retrieve
from node.flow.inbox import Inbox
from node.journal import Journaled, JournalReader, JournalWriter, Part
from node.metrics import Metrics

log = logging.getLogger(__name__)

BATCH = 200
"""Lines of the journal that share one transaction."""
UNWRITABLE = (DataError, TypeError, ValueError)
"""What a line raises that says something no row can hold; it would do so for ever."""


class Listener:
    """Takes messages at once; what was journaled is written down in batches, each line exactly once."""

    def __init__(
        self, catalog: Catalog, journals: Path, inbox: Inbox, associations: OpenAssociations, metrics: Metrics
    ) -> None:
        self._catalog = catalog
        self._journals = JournalReader(journals)
        self._own = JournalWriter(journals)
        self._inbox = inbox
        self._associations = associations
        self._metrics = metrics
        self._served_by: dict[int, dict[str, AssociationOpened]] = defaultdict(dict)
        self._lock = threading.Lock()
        self._read: dict[str, int] = {}
        """How far each file was read, as SQL said last; it is asked again before anything is written."""

    def take(self, message: Arrival | ListeningEvent, receiver_id: int) -> None:
        """One message of a receiver, in its order."""
        if isinstance(message, Arrival):
            self._inbox.put(message)
            self._metrics.stored.inc()
            return
        with self._lock:
            self._follow(message, receiver_id)
            self._metrics.associations.set(len(self._associations))

    def _follow(self, event: ListeningEvent, receiver_id: int) -> None:
        self._associations.take(event)
        if isinstance(event, AssociationOpened):
            self._served_by[receiver_id][event.association_id] = event
        elif isinstance(event, AssociationClosed):
            self._served_by[receiver_id].pop(event.association_id, None)
        elif isinstance(event, AssociationRefused):
            self._metrics.associations_refused.inc(event.count)
        elif isinstance(event, InstanceRefused):
            self._metrics.refused.labels(f"0x{event.status:04X}").inc()

    def receiver_lost(self, receiver_id: int) -> None:
        """A receiver ended: its associations are over, and it may have made files durable without telling."""
        with self._lock:
            lost = self._served_by.pop(receiver_id, {})
            self._associations.forget(set(lost))
            self._metrics.associations.set(len(self._associations))
        for each in lost.values():
            self._own.write(each.lost(datetime.now(UTC)))
        self._own.sync()
        self._inbox.must_rescan()

    def step(self) -> bool:
        """Write down what happened. True when there is more.

        A file that cannot be read keeps no other back; the first such error is raised at the end.
        """
        more, errors = False, []
        for name in self._journals.names():
            try:
                more |= self._step(name)
            except OSError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return more

    def _step(self, name: str) -> bool:
        part = Part([], 0, 0, finished=False)
        grown = name not in self._read or self._journals.size(name) > self._read[name]
        if grown:
            part = self._write_down(name)
            self._read[name] = part.position
            if part.unreadable:
                log.error("lines of the journal are unreadable", extra={"file": name, "lines": part.unreadable})
        if part.finished or (not grown and self._journals.is_finished(name, self._read[name])):
            self._remove(name)
        return bool(part.events or part.unreadable)

    def _write_down(self, name: str) -> Part:
        """The next part of a file; where SQL does not take it all, a single line, and that is passed over and told."""
        try:
            return self._write_lines(name, BATCH)
        except UNWRITABLE:
            pass
        try:
            return self._write_lines(name, 1)
        except UNWRITABLE:
            return self._write_lines(name, 1, passed_over=True)

    def _write_lines(self, name: str, most: int, *, passed_over: bool = False) -> Part:
        with self._catalog.writing() as session:
            part = self._journals.read(name, read_so_far.position(session, name), most)
            if passed_over:
                part = replace(part, events=[], unreadable=part.unreadable + len(part.events))
            _write_part(session, name, part)
        return part

    def _remove(self, name: str) -> None:
        self._journals.remove(name)
        self._read.pop(name, None)
        with self._catalog.writing() as session:
            read_so_far.forget_all_but(session, self._journals.names())


def _write_part(session: Session, name: str, part: Part) -> None:
    for event in part.events:
        _write(session, event)
    if part.unreadable:
        detail: Detail = {"file": name, "lines": part.unreadable}
        audit.append(session, Event(EventKind.JOURNAL_DAMAGED, EventOutcome.SERIOUS_FAILURE, detail=detail))
    read_so_far.advance(session, name, part.position)


def _write(session: Session, event: Journaled) -> None:
    if isinstance(event, AssociationClosed):
        outcome = EventOutcome.SUCCESS if event.ending is Ending.RELEASED else EventOutcome.MINOR_FAILURE
        detail: Detail = {
            "association": event.association_id,
            "called": event.called_ae_title,
            "ending": str(event.ending),
            "stored": event.stored,
            "refused": event.refused,
            **({"tls": True} if event.secured else {}),
            **({"user": event.user} if event.user else {}),
        }
        _append(session, EventKind.ASSOCIATION_CLOSED, outcome, event, detail)
    elif isinstance(event, AssociationRefused):
        detail = {"called": event.called_ae_title, "reason": event.reason, "count": event.count}
        kind = EventKind.SECURITY_ALERT if event.alarming else EventKind.ASSOCIATION_REFUSED
        _append(session, kind, EventOutcome.SERIOUS_FAILURE, event, detail)
        if event.unknown_caller:
            peers.refused(session, event)
    elif isinstance(event, InstanceRefused):
        detail = {
            "association": event.association_id,
            "sop_instance_uid": event.sop_instance_uid,
            "status": f"0x{event.status:04X}",
            "reason": event.reason,
        }
        _append(session, EventKind.INSTANCE_REFUSED, EventOutcome.MINOR_FAILURE, event, detail)
    else:
        _TAKERS[type(event)](session, event)


def _audit_log_used(session: Session, event: AuditLogUsed) -> None:
    _append(session, EventKind.AUDIT_USED, EventOutcome.SUCCESS, event, {"keys": " ".join(event.keys)})


def _step_request_refused(session: Session, event: StepRequestRefused) -> None:
    status = f"0x{event.status:04X}"
    detail: Detail = {"operation": event.operation, "sop_instance_uid": event.sop_instance_uid, "status": status}
    _append(session, EventKind.STEP_REQUEST_REFUSED, EventOutcome.MINOR_FAILURE, event, detail)


_TAKERS: dict[type, Callable[[Session, Any], None]] = {
    QueryAnswered: retrieve.asked,
    Retrieved: retrieve.asked,
    CommitmentReported: forward_commit.reported,
    CommitmentReportRefused: commit.report_refused,
    CountTold: counts.told,
    CountRefused: counts.refused,
    PromiseAsked: promise.asked,
    StepRequestRefused: _step_request_refused,
    AuditLogUsed: _audit_log_used,
}


def _append(session: Session, kind: EventKind, outcome: EventOutcome, event: Journaled, detail: Detail) -> None:
    row = Event(kind, outcome, event.calling_ae_title, event.address, detail=detail, at=event.at)
    audit.append(session, row)
