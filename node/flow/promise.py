"""Senders that asked us to keep what they sent are told whether we do: only what is durable, and stays somewhere."""

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy.orm import Session

from node.catalog import audit, peers, promises
from node.catalog.session import Catalog
from node.dicom import commit_scp
from node.dicom.store_scu import Patience
from node.domain.audit import Detail, Event, EventKind, EventOutcome
from node.domain.delivery import back_off
from node.domain.peers import Destination, Secured, standing_of
from node.domain.promise import GIVEN_UP_AFTER, Kept, Promise, PromiseState, Verdict, Wanted, judged, look_again
from node.domain.reception import PromiseAsked
from node.domain.retention import Retention
from node.errors import PeerFailed
from node.flow.destinations import doubted
from node.flow.loop import HANGS_AFTER_S, Loop, goes_on
from node.settings import Settings

log = logging.getLogger(__name__)

EVERY_S = 0.5
AT_ONCE = 20
WAITS = 3
"""Of one answer: for the association, the acknowledgement and the release."""
TOLD_WITHIN = timedelta(seconds=1)
"""By then a receiver's word of a file, which it gave before it answered its sender, has arrived in the node."""
MOST_WAIT = timedelta(minutes=10)
NO_PORT = "Nobody says any more on which port this caller takes its answer."

Tell = Callable[[Destination, str, Verdict], None]
"""Raises PeerFailed."""


def asked(session: Session, event: PromiseAsked) -> None:
    """A sender asked us to keep what it sent."""
    promises.asked(session, event)
    detail: Detail = {"transaction_uid": event.transaction_uid, "instances": len(event.wanted)}
    kind = EventKind.PROMISE_ASKED
    audit.append(session, Event(kind, actor=event.calling_ae_title, address=event.address, detail=detail, at=event.at))


def kept(session: Session, wanted: Sequence[Wanted], retention: Retention) -> dict[str, Kept]:
    """What of it stays: because nothing is ever removed, or because a destination has committed to it."""
    return promises.kept(session, wanted, stay=retention.keeps_all)


@dataclass(frozen=True)
class Answering:
    """Tells senders."""

    catalog: Catalog
    tell: Tell
    registered_until: Callable[[datetime], datetime]
    """The moment up to which the catalog knows everything that came."""
    retention: Retention
    secured: Secured
    jitter: random.Random
    now: Callable[[], datetime]

    def step(self) -> bool:
        """Answer what is due. True when there may be more."""
        now = self.now()
        with self.catalog.reading() as session:
            until = min(self.registered_until(now), now - TOLD_WITHIN)
            due = promises.due(session, now, until, AT_ONCE)
        for one in due:
            goes_on()
            self._answer(one)
        return len(due) == AT_ONCE

    def _answer(self, one: Promise) -> None:
        with self.catalog.reading() as session:
            caller = self._caller(session, one)
            found = kept(session, one.wanted, self.retention)
        if caller is None:
            self._failed(one, NO_PORT)
            return
        now = self.now()
        if any(each.awaited for each in found.values()) and (then := look_again(one.asked_at, now, MOST_WAIT)):
            with self.catalog.writing() as session:
                promises.waits(session, one, then)
            return
        verdict = judged(one.wanted, found)
        try:
            self.tell(caller, one.transaction_uid, verdict)
        except PeerFailed as error:
            doubted(self.catalog, caller, error)
            self._failed(one, str(error))
            return
        with self.catalog.writing() as session:
            promises.ended(session, one, PromiseState.TOLD, self.now())
            detail = {"committed": len(verdict.committed), "failed": len(verdict.failed)}
            self._append(session, EventKind.PROMISE_TOLD, one, detail)

    def _caller(self, session: Session, one: Promise) -> Destination | None:
        sender = standing_of(peers.senders(session), one.calling_ae_title, one.address)
        if sender is None or not sender.commitment_port:
            return None
        secured = self.secured if sender.commitment_tls else None
        return Destination(one.calling_ae_title, one.address, sender.commitment_port, secured=secured)

    def _failed(self, one: Promise, reason: str) -> None:
        now = self.now()
        log.warning("a sender was not told whether we keep its images", extra={"reason": reason})
        with self.catalog.writing() as session:
            if now - one.asked_at >= GIVEN_UP_AFTER:
                promises.ended(session, one, PromiseState.GIVEN_UP, now)
                self._append(session, EventKind.PROMISE_GIVEN_UP, one, {"reason": reason})
            else:
                wait = back_off(one.attempts + 1, self.jitter, longest=MOST_WAIT)
                promises.postponed(session, one, reason, now + wait)

    def _append(self, session: Session, kind: EventKind, one: Promise, detail: Detail) -> None:
        told = kind is EventKind.PROMISE_TOLD and not detail["failed"]
        outcome = EventOutcome.SUCCESS if told else EventOutcome.MINOR_FAILURE
        said: Detail = {"transaction_uid": one.transaction_uid, **detail}
        audit.append(session, Event(kind, outcome, one.calling_ae_title, one.address, detail=said, at=self.now()))


def answering(catalog: Catalog, settings: Settings, registered_until: Callable[[datetime], datetime]) -> Loop:
    """The loop that tells."""
    tell = partial(commit_scp.tell, settings.ae_title, Patience(answer_s=settings.answer_timeout_s))
    parts = (settings.retention, settings.secured, random.Random(), lambda: datetime.now(UTC))
    step = Answering(catalog, tell, registered_until, *parts).step
    return Loop("promises", step, EVERY_S, hangs_after_s=HANGS_AFTER_S + WAITS * settings.answer_timeout_s)
