"""Released reading to HL7 message: made and checked once, sent until its receiver has acknowledged or refused it."""

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from node.catalog import audit, installation, messages, outbox, peers
from node.catalog.messages import Kept
from node.catalog.session import Catalog
from node.domain.audit import Detail, EventKind
from node.domain.delivery import Shipment
from node.domain.message import Acknowledgement, Receiver, Verdict, control_id, is_wanted
from node.domain.peers import Destination, Protocol
from node.errors import BadInput
from node.flow.deliver import Delivery
from node.flow.loop import HANGS_AFTER_S, Loop
from node.hl7 import mllp, oru
from node.settings import Settings

NOT_WANTED = "The receiver is not told of this outcome."


@dataclass(frozen=True)
class Messaging(Delivery):
    """A delivery whose association is a connection by MLLP, and whose results are messages."""

    receiver: Receiver = field(kw_only=True)

    def _attempt(self, shipment: Shipment, sending: Any) -> None:
        line: mllp.Line = sending
        try:
            message = self._message(shipment)
        except BadInput as error:  # ours, and no attempt will mend it
            self._refuse(shipment, None, str(error))
            return
        if message is None:
            return
        with self.catalog.writing() as session:
            if not outbox.begin_attempt(session, shipment.outbox_id, message.control_id):
                return
        self._judge(shipment, message, line.ask(message.content.encode(), message.control_id))

    def _message(self, shipment: Shipment) -> Kept | None:
        """The message as it was made before the first attempt; None where nobody wants it. Raises BadInput."""
        with self.catalog.reading() as session:
            kept = messages.kept(session, shipment.outbox_id)
        if kept is None:
            return self._make(shipment)
        if hashlib.sha256(kept.content.encode()).hexdigest() != kept.sha256:
            raise BadInput("The message was altered here: its SHA-256 is another.")
        return kept

    def _make(self, shipment: Shipment) -> Kept | None:
        """Written, read again as SQL has it, and compared, all in one transaction: none is there that is not true."""
        now = self.now()
        with self.catalog.writing() as session:
            reading = messages.reading_of(session, shipment.outbox_id)
            if not is_wanted(reading, self.receiver):
                messages.set_aside(session, shipment.outbox_id, NOT_WANTED)
                detail: Detail = {"kind": str(shipment.kind), "outcome": str(reading.outcome)}
                audit.append(session, self._event(EventKind.MESSAGE_NOT_WANTED, shipment, detail))
                return None
            number = control_id(installation.serial(session), shipment.job_id, self.receiver.place)
            content = oru.encode(reading, self.receiver, number, now)
            made = Kept(number, content.decode(), hashlib.sha256(content).hexdigest())
            messages.keep(session, shipment.outbox_id, made, now)
            kept = messages.kept(session, shipment.outbox_id)
            if kept != made:
                raise BadInput("The database does not hold the message as it was made.")
            oru.require_true(kept.content.encode(), reading, self.receiver, number)
        return kept

    def _judge(self, shipment: Shipment, message: Kept, answer: Acknowledgement) -> None:
        said = f"The receiver answered {answer}."
        if answer.verdict is Verdict.NEVER:
            self._refuse(shipment, None, said)
        elif answer.verdict is Verdict.LATER:
            self._postpone(shipment, None, said)
        else:
            with self._answering() as session:
                outbox.delivered(session, shipment.outbox_id, 0, self.now())
                detail: Detail = {"kind": str(shipment.kind), "control_id": message.control_id, "answer": answer.code}
                audit.append(session, self._event(EventKind.RESULT_DELIVERED, shipment, detail))


def loops(
    catalog: Catalog, settings: Settings, absolute: Callable[[str], Path], now: Callable[[], datetime]
) -> Sequence[Loop]:
    """One for each receiver."""
    with catalog.reading() as session:
        known = peers.destinations(session, Protocol.HL7)
    receivers = {each.destination().place: each.receiver(settings.ae_title) for each in settings.hl7}
    connect: Callable[[Destination], Any] = partial(mllp.connected, settings.answer_timeout_s)
    hangs_after_s = HANGS_AFTER_S + settings.answer_timeout_s
    made = []
    for each in known:
        place = each.destination.place
        sending = Messaging(catalog, each, connect, absolute, random.Random(each.id), now, receiver=receivers[place])
        made.append(Loop(f"hl7 {each.destination.ae_title}", sending.step, 0.5, hangs_after_s=hangs_after_s))
    return made
