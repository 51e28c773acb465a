"""Outbox to PACS: in order, each result as the bytes that were stored before the first attempt."""

import hashlib
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from node.catalog import audit, breakers, outbox
from node.catalog.peers import KnownDestination
from node.catalog.session import Catalog
from node.domain.audit import Detail, Event, EventKind, EventOutcome
from node.domain.breaker import BreakerState
from node.domain.delivery import Answer, Rung, Shipment, answer_of, back_off, is_out_of_resources
from node.domain.peers import Destination
from node.errors import BadInput, PeerFailed
from node.flow.destinations import doubted
from node.flow.loop import goes_on

log = logging.getLogger(__name__)


class Sending(Protocol):
    """An open association to a destination."""

    @property
    def accepted_sop_classes(self) -> frozenset[str]:
        """What the destination takes."""

    def send(self, path: Path, sop_class_uid: str) -> int:
        """C-STORE one file; returns the status. Raises PeerFailed, OSError, BadInput for a file that is useless."""


Connect = Callable[[Destination], AbstractContextManager[Sending]]


@dataclass(frozen=True)
class Delivery:
    """What delivering to one destination needs."""

    catalog: Catalog
    to: KnownDestination
    connect: Connect
    absolute: Callable[[str], Path]
    """A result's path in the data directory."""
    jitter: random.Random
    now: Callable[[], datetime]

    def step(self) -> bool:
        """Send what is due, over one association. True when something was sent."""
        if self._is_to_be_tried():
            return self._associate(self._trial())
        shipment = self._next()
        return shipment is not None and self._associate(shipment)

    def _is_to_be_tried(self) -> bool:
        with self.catalog.reading() as session:
            breaker, now = breakers.of(session, self.to), self.now()
        if breaker.tried(now) != breaker:
            with self.catalog.writing() as session:
                breaker = breakers.tried(session, self.to, now)
        return breaker.state is BreakerState.HALF_OPEN

    def _associate(self, shipment: Shipment | None) -> bool:
        """Begin with a shipment, or with none where the association itself is what is tried."""
        try:
            with self.connect(self.to.destination) as sending:
                if shipment is None:
                    with self._answering():
                        pass
                    shipment = self._next()
                while shipment is not None:
                    self._send(shipment, sending)
                    shipment = self._next()
        except PeerFailed as error:
            doubted(self.catalog, self.to.destination, error)
            self._failed(shipment, None, str(error))
            return False
        return True

    def _next(self) -> Shipment | None:
        with self.catalog.reading() as session:
            if breakers.of(session, self.to).state is not BreakerState.CLOSED:
                return None
            return outbox.next_shipment(session, self.to.id, self.now())

    def _trial(self) -> Shipment | None:
        with self.catalog.reading() as session:
            return outbox.trial_shipment(session, self.to.id)

    def _send(self, shipment: Shipment, sending: Sending) -> None:
        """One shipment; what goes wrong with it, whatever it is, is its own: the others are sent."""
        goes_on()
        try:
            self._attempt(shipment, sending)
        except (PeerFailed, OperationalError):  # the destination's, or the database's
            raise
        except Exception as error:
            log.exception("a result cannot be sent from here", extra={"job": shipment.job_id, "kind": shipment.kind})
            self._postpone(shipment, None, f"The result cannot be sent from here ({type(error).__name__}).")

    def _attempt(self, shipment: Shipment, sending: Sending) -> None:
        rung = shipment.choose(sending.accepted_sop_classes)
        if rung is None:
            self._refuse(shipment, None, "The destination accepts none of the SOP classes of this result.")
            return
        try:
            self._check(shipment, rung)
            with self.catalog.writing() as session:
                if not outbox.begin_attempt(session, shipment.outbox_id, rung.sop_instance_uid):
                    return
            status = sending.send(self.absolute(rung.path), rung.sop_class_uid)
        except BadInput as error:  # ours, not the destination's, and no attempt will mend it
            self._refuse(shipment, None, str(error))
            return
        except OSError as error:  # ours, not the destination's: other studies go on
            self._postpone(shipment, None, f"The result's file cannot be read here ({type(error).__name__}).")
            return
        self._take(shipment, rung, status)

    def _take(self, shipment: Shipment, rung: Rung, status: int) -> None:
        answer, said = answer_of(status), f"with status 0x{status:04X}."
        if answer is Answer.STORED:
            self._deliver(shipment, rung, status)
        elif answer is Answer.NEVER:
            self._refuse(shipment, status, f"The destination refused it {said}")
        elif is_out_of_resources(status):
            self._failed(shipment, status, f"The destination answered {said}")
        else:
            self._postpone(shipment, status, f"The destination answered {said}")

    def _check(self, shipment: Shipment, rung: Rung) -> None:
        """What leaves is what was made, byte for byte. Raises BadInput when the file was altered.

        Raises OSError when it cannot be read: a shared volume may be away, and come back.
        """
        with self.catalog.reading() as session:
            made = {each.sop_instance_uid: each.sha256 for each in outbox.results_of_job(session, shipment.job_id)}
        with self.absolute(rung.path).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != made[rung.sop_instance_uid]:
            raise BadInput("The result's file was altered here: its SHA-256 is another.")

    def _deliver(self, shipment: Shipment, rung: Rung, status: int) -> None:
        with self._answering() as session:
            outbox.delivered(session, shipment.outbox_id, status, self.now())
            detail: Detail = {"kind": str(shipment.kind), "sop_instance_uid": rung.sop_instance_uid, "status": status}
            audit.append(session, self._event(EventKind.RESULT_DELIVERED, shipment, detail))

    def _refuse(self, shipment: Shipment, status: int | None, reason: str) -> None:
        log.error("a result was refused", extra={"job": shipment.job_id, "kind": shipment.kind, "reason": reason})
        with self._answering() as session:
            outbox.refused(session, shipment.outbox_id, status, reason)
            detail: Detail = {"kind": str(shipment.kind), "status": status, "reason": reason}
            audit.append(session, self._event(EventKind.RESULT_REFUSED, shipment, detail))

    def _postpone(self, shipment: Shipment, status: int | None, reason: str) -> None:
        """This result has to wait; the destination is well."""
        with self._answering() as session:
            self._back_off(session, shipment, status, reason)

    def _failed(self, shipment: Shipment | None, status: int | None, reason: str) -> None:
        """The destination did not do its part: its breaker counts that, and the result has to wait."""
        with self.catalog.writing() as session:
            breaker = breakers.failed(session, self.to, reason, self.now(), self.jitter)
            if shipment is not None:
                self._back_off(session, shipment, status, reason)
        if breaker.state is BreakerState.OPEN:
            details = {"reason": reason, "failures": breaker.failures, "until": str(breaker.until)}
            log.error("a destination is left alone", extra={"destination": self.to.destination.place, **details})

    def _back_off(self, session: Session, shipment: Shipment, status: int | None, reason: str) -> None:
        wait = back_off(shipment.failures + 1, self.jitter)
        details = {"job": shipment.job_id, "reason": reason, "wait_s": wait.total_seconds()}
        log.warning("a result could not be delivered", extra=details)
        outbox.postponed(session, shipment.outbox_id, status, reason, self.now() + wait)

    @contextmanager
    def _answering(self) -> Iterator[Session]:
        """Write down what came of an association that the destination did not break off."""
        with self.catalog.writing() as session:
            closed = breakers.answered(session, self.to, self.now())
            yield session
        if closed:
            log.info("a destination answers again", extra={"destination": self.to.destination.place})

    def _event(self, kind: EventKind, shipment: Shipment, detail: Detail) -> Event:
        outcome = EventOutcome.SUCCESS if kind is EventKind.RESULT_DELIVERED else EventOutcome.SERIOUS_FAILURE
        peer = self.to.destination
        return Event(kind, outcome, peer.ae_title, f"{peer.host}:{peer.port}", shipment.study_instance_uid,
                     shipment.job_id, detail)  # fmt: skip
