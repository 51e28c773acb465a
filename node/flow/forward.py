"""Images to further destinations as they came: each once, resumed image by image, after the results that are due."""

import logging
import random
import shutil
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from pydicom.uid import UID
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from node.catalog import audit, breakers, forwards, outbox, peers
from node.catalog.peers import KnownDestination
from node.catalog.session import Catalog
from node.dicom import forward_scu
from node.dicom.contexts import MOST_KINDS
from node.dicom.store_scu import Patience
from node.domain.audit import Detail, Event, EventKind, EventOutcome
from node.domain.breaker import BreakerState
from node.domain.delivery import Answer, answer_of, back_off, is_out_of_resources
from node.domain.forwarding import Image
from node.domain.peers import Destination
from node.errors import BadInput, PeerFailed
from node.flow import forward_commit
from node.flow.destinations import doubted
from node.flow.loop import HANGS_AFTER_S, Loop, goes_on
from node.headers import data_set_digest
from node.headers.recoding import Recoder, can_recode
from node.settings import Settings

log = logging.getLogger(__name__)

AT_ONCE = 50
"""Images that are sent before we look whether results are due."""
ASIDE = "transcoded"
"""Folder in the data directory."""
WRITTEN_AT_ONCE = 25
"""Stored images that share a transaction: who is killed sends so many again at most, as the same bytes."""
EVERY_S = 1.0
Kind = tuple[str, str]


class Forwarder(Protocol):
    """An open association to a destination of images."""

    kinds: frozenset[Kind]

    def syntax_for(self, kind: Kind) -> str | None:
        """The transfer syntax in which it takes a kind of images, if it does."""

    def send(self, path: Path) -> int:
        """C-STORE one file; returns the status. Raises PeerFailed, OSError, BadInput for a file that is useless."""


Connect = Callable[[Destination, Collection[Kind]], AbstractContextManager[Forwarder]]


class Busy(Exception):
    """The destination has no room: nothing more is sent on this association."""


@dataclass
class _Stored:
    """Images that a destination has, and of which SQL does not know it yet."""

    images: list[Image] = field(default_factory=list)
    transcoded: int = 0


@dataclass(frozen=True)
class Forwarding:
    """What forwarding to one destination needs."""

    catalog: Catalog
    to: KnownDestination
    connect: Connect
    absolute: Callable[[str], Path]
    """A received file's path in the data directory."""
    jitter: random.Random
    now: Callable[[], datetime]

    def step(self) -> bool:
        """Send what is due over one association, unless results are. True when there may be more."""
        images = self._next()
        if not images:
            return False
        kinds = frozenset(each.kind for each in images)
        stored, under_way = _Stored(), images[0]
        try:
            with self.connect(self.to.destination, kinds) as sending, Recoder(self.absolute(ASIDE)) as recoder:
                while images:
                    for image in images:
                        goes_on()
                        under_way = image
                        self._send(image, sending, recoder, stored)
                    self._write(stored)
                    images = [each for each in self._next() if each.kind in sending.kinds]
        except PeerFailed as error:
            doubted(self.catalog, self.to.destination, error)
            self._write(stored)
            self._failed(under_way, None, str(error))
            return False
        except Busy:
            self._write(stored)
            return False
        return True

    def _next(self) -> list[Image]:
        """What is due, of as many kinds as one association can be asked for; nothing while a result is due."""
        with self.catalog.reading() as session:
            if breakers.of(session, self.to).state is not BreakerState.CLOSED:
                return []
            if outbox.next_shipment(session, self.to.id, self.now()) is not None:
                return []
            images = forwards.due(session, self.to.id, self.now(), AT_ONCE)
        kinds = list(dict.fromkeys(each.kind for each in images))[:MOST_KINDS]
        return [each for each in images if each.kind in kinds]

    def _send(self, image: Image, sending: Forwarder, recoder: Recoder, stored: _Stored) -> None:
        """One image; what goes wrong with it is its own: the others are sent."""
        try:
            status = self._attempt(image, sending, recoder, stored)
        except (PeerFailed, OperationalError):  # the destination's, or the database's
            raise
        except BadInput as error:  # ours, not the destination's, and no attempt will mend it
            self._refuse(image, None, str(error))
        except OSError as error:  # ours: a shared volume may be away, and come back
            self._postpone(image, None, f"The image's file cannot be read here ({type(error).__name__}).")
        else:
            self._take(image, status, stored)

    def _attempt(self, image: Image, sending: Forwarder, recoder: Recoder, stored: _Stored) -> int:
        syntax, file = sending.syntax_for(image.kind), self.absolute(image.path)
        if syntax is None:
            raise BadInput("The destination takes no such object, neither as it is stored nor uncompressed.")
        if data_set_digest(file) != image.digest:
            raise BadInput("The image's file was altered here: its SHA-256 is another.")
        if syntax == image.transfer_syntax_uid:
            return sending.send(file)
        if not can_recode(image.transfer_syntax_uid):
            name = UID(image.transfer_syntax_uid).name
            raise BadInput(f"The destination does not take {name}, and that is not re-encoded here.")
        with recoder.recoded(file, syntax) as copy:
            stored.transcoded += 1
            return sending.send(copy)

    def _take(self, image: Image, status: int, stored: _Stored) -> None:
        answer, said = answer_of(status), f"with status 0x{status:04X}."
        if answer is Answer.STORED:
            stored.images.append(image)
            if len(stored.images) >= WRITTEN_AT_ONCE:
                self._write(stored)
        elif answer is Answer.NEVER:
            self._refuse(image, status, f"The destination refused it {said}")
        elif is_out_of_resources(status):
            self._failed(image, status, f"The destination answered {said}")
            raise Busy
        else:
            self._postpone(image, status, f"The destination answered {said}")

    def _write(self, stored: _Stored) -> None:
        """Write down what is stored there: one audit row for each study."""
        if not stored.images:
            return
        with self.catalog.writing() as session:
            breakers.answered(session, self.to, self.now())
            forwards.delivered(session, [each.forward_id for each in stored.images], self.now())
            for uid, count in Counter(each.study_instance_uid for each in stored.images).items():
                detail: Detail = {"images": count, "transcoded": stored.transcoded}
                audit.append(session, self._event(EventKind.IMAGES_FORWARDED, uid, detail))
        stored.images.clear()
        stored.transcoded = 0

    def _refuse(self, image: Image, status: int | None, reason: str) -> None:
        log.error("an image was refused", extra={"study": image.study_instance_uid, "reason": reason})
        with self.catalog.writing() as session:
            breakers.answered(session, self.to, self.now())
            forwards.refused(session, image.forward_id, status, reason)
            detail: Detail = {"sop_instance_uid": image.sop_instance_uid, "status": status, "reason": reason}
            event = self._event(EventKind.IMAGE_FORWARD_REFUSED, image.study_instance_uid, detail)
            audit.append(session, event)

    def _postpone(self, image: Image, status: int | None, reason: str) -> None:
        """This image has to wait; the destination is well."""
        with self.catalog.writing() as session:
            self._back_off(session, image, status, reason)

    def _failed(self, image: Image, status: int | None, reason: str) -> None:
        """The destination did not do its part: its breaker counts that, and the image has to wait."""
        with self.catalog.writing() as session:
            breaker = breakers.failed(session, self.to, reason, self.now(), self.jitter)
            self._back_off(session, image, status, reason)
        if breaker.state is BreakerState.OPEN:
            details = {"reason": reason, "failures": breaker.failures, "until": str(breaker.until)}
            log.error("a destination is left alone", extra={"destination": self.to.destination.place, **details})

    def _back_off(self, session: Session, image: Image, status: int | None, reason: str) -> None:
        wait = back_off(image.failures + 1, self.jitter)
        details = {"study": image.study_instance_uid, "reason": reason, "wait_s": wait.total_seconds()}
        log.warning("an image could not be forwarded", extra=details)
        forwards.postponed(session, image.forward_id, status, reason, self.now() + wait)

    def _event(self, kind: EventKind, study_uid: str, detail: Detail) -> Event:
        outcome = EventOutcome.SUCCESS if kind is EventKind.IMAGES_FORWARDED else EventOutcome.SERIOUS_FAILURE
        peer = self.to.destination
        return Event(kind, outcome, peer.ae_title, f"{peer.host}:{peer.port}", study_uid, detail=detail)


def loops(catalog: Catalog, settings: Settings, absolute: Callable[[str], Path]) -> list[Loop]:
    """One for each destination, since rules that are read again may name any; and what asks it whether it has them."""
    shutil.rmtree(absolute(ASIDE), ignore_errors=True)  # what a node that was killed left
    absolute(ASIDE).mkdir(mode=0o700, exist_ok=True)
    with catalog.reading() as session:
        known = peers.destinations(session)
    patience = Patience(answer_s=settings.answer_timeout_s)
    connect = partial(forward_scu.connected, settings.ae_title, patience)
    hangs_after_s = HANGS_AFTER_S + 3 * settings.answer_timeout_s
    sending = [
        Loop(f"forward {to.destination.ae_title}", one.step, EVERY_S, hangs_after_s=hangs_after_s)
        for to in known
        for one in [Forwarding(catalog, to, connect, absolute, random.Random(to.id), _now)]
    ]
    return [*sending, *forward_commit.loops(catalog, settings)]


def _now() -> datetime:
    return datetime.now(UTC)
