"""Forwarded to committed: a destination that stored the images of a study is asked whether it has them."""

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy.orm import Session

from node.catalog import audit, breakers, forward_commitments, peers
from node.catalog.forward_commitments import AskedImage, ImageClaim
from node.catalog.peers import KnownDestination
from node.catalog.session import Catalog
from node.dicom import commit_scu, statuses
from node.dicom.store_scu import Patience
from node.domain.audit import Detail, Event, EventKind, EventOutcome
from node.domain.breaker import BreakerState
from node.domain.commitment import (
    NOT_OFFERED,
    Proof,
    Report,
    next_ask,
    patience,
    pause,
    said,
    sends_again,
    unmentioned,
)
from node.domain.reception import CommitmentReported
from node.domain.uids import fresh_uid
from node.errors import PeerFailed
from node.flow import commit
from node.flow.commit import OFFERS_NEITHER, Connect, Questions, look_up
from node.flow.destinations import doubted
from node.flow.loop import HANGS_AFTER_S, Loop, goes_on
from node.settings import Settings

log = logging.getLogger(__name__)

EVERY_S = 5.0
STUDIES = 20
"""Requests on one association."""


@dataclass(frozen=True)
class ConfirmingImages:
    """What asking one destination for images needs."""

    catalog: Catalog
    to: KnownDestination
    connect: Connect
    within: timedelta
    """How long the first answer may take."""
    jitter: random.Random
    now: Callable[[], datetime]

    def step(self) -> bool:
        """Ask about what is stored there and not confirmed, over one association. True when there may be more."""
        claim = self._next()
        if claim is None:
            return False
        asked = 0
        try:
            with self.connect(self.to.destination, self._reported_here) as questions:
                while claim is not None and asked < STUDIES:
                    goes_on()
                    self._ask(questions, claim)
                    asked, claim = asked + 1, self._next()
                questions.wait()
        except PeerFailed as error:
            doubted(self.catalog, self.to.destination, error)
            if claim is not None:
                self._failed(claim, str(error), pause(claim.asks + 1, *self._pace))
            return False
        return True

    def _next(self) -> ImageClaim | None:
        with self.catalog.reading() as session:
            if breakers.of(session, self.to).state is not BreakerState.CLOSED:
                return None
            return forward_commitments.due(session, self.to.id, self.now())

    @property
    def _pace(self) -> tuple[timedelta, random.Random]:
        return self.within, self.jitter

    def _ask(self, questions: Questions, claim: ImageClaim) -> None:
        if questions.commits and self._requests(questions, claim):
            return
        if questions.finds:
            self._looks(questions, claim)
            return
        self._failed(claim, OFFERS_NEITHER, patience(claim.asks + 1, *self._pace))

    def _requests(self, questions: Questions, claim: ImageClaim) -> bool:
        """By storage commitment. False: the destination says that it does not know what that is."""
        transaction_uid, wait = fresh_uid(), patience(claim.asks + 1, *self._pace)
        with self.catalog.writing() as session:
            forward_commitments.asked(session, claim, transaction_uid, self.now() + wait)
            detail: Detail = {"transaction_uid": transaction_uid, "images": len(claim.ids)}
            audit.append(session, self._event(EventKind.FORWARD_COMMITMENT_ASKED, claim, detail))
        status = questions.ask(transaction_uid, claim.references)
        if status == statuses.SUCCESS:
            return True
        if status in NOT_OFFERED and questions.finds:
            return False
        reason = f"The destination answered the request for storage commitment with status 0x{status:04X}."
        self._failed(claim, reason, wait)
        return True

    def _looks(self, questions: Questions, claim: ImageClaim) -> None:
        """By C-FIND: what it has."""
        found = look_up(questions, claim.references)
        with self.catalog.writing() as session:
            rows = forward_commitments.of_claim(session, claim)
            _take(session, rows, found, Proof.FIND, self.now())

    def _failed(self, claim: ImageClaim, reason: str, wait: timedelta) -> None:
        log.warning("a destination could not be asked for images", extra={"reason": reason})
        with self.catalog.writing() as session:
            forward_commitments.failed(session, claim, reason, self.now() + wait)
            detail: Detail = {"reason": reason, "images": len(claim.ids)}
            audit.append(session, self._event(EventKind.FORWARD_COMMITMENT_REFUSED, claim, detail))

    def _reported_here(self, _ae_title: str, _address: str, report: Report) -> int:
        """An answer on the association that we asked on; returns the status."""
        with self.catalog.writing() as session:
            rows = forward_commitments.of_transaction(session, report.transaction_uid)
            if not rows or rows[0].destination_id != self.to.id:
                return statuses.INVALID_ARGUMENT
            _take(session, rows, report, Proof.COMMITMENT, self.now())
        return statuses.SUCCESS

    def _event(self, kind: EventKind, claim: ImageClaim, detail: Detail) -> Event:
        well = kind is EventKind.FORWARD_COMMITMENT_ASKED
        peer, outcome = self.to.destination, EventOutcome.SUCCESS if well else EventOutcome.MINOR_FAILURE
        place = f"{peer.host}:{peer.port}"
        return Event(kind, outcome, peer.ae_title, place, claim.study_instance_uid, detail=detail)


def reported(session: Session, event: CommitmentReported) -> None:
    """A destination answered on an association of its own: about images, or about results."""
    rows = forward_commitments.of_transaction(session, event.transaction_uid)
    if rows:
        report = Report(event.transaction_uid, event.committed, event.failed)
        _take(session, rows, report, Proof.COMMITMENT, event.at)
    else:
        commit.reported(session, event)


def _take(session: Session, rows: Sequence[AskedImage], report: Report, proof: Proof, now: datetime) -> None:
    """An answer: what the destination has is committed, what it lacks is sent again as long as that may help."""
    by_uid = {each.sop_instance_uid: each for each in rows}
    report = report.only(by_uid)
    missing = (*report.failed, *unmentioned(by_uid, report))
    forward_commitments.committed(session, [by_uid[uid].id for uid in report.committed], proof)
    error = said(missing) if missing else ""
    again = [uid for uid, reason in missing if sends_again(proof, by_uid[uid].rounds + 1, reason)]
    forward_commitments.lost(session, [by_uid[uid].id for uid in again], error, now)
    for uid in {uid for uid, _ in missing} - set(again):
        wait = next_ask(timedelta(hours=1), by_uid[uid].rounds + 1)
        forward_commitments.lacking(session, [by_uid[uid].id], error, now + wait)
    if report.committed:
        detail: Detail = {"proof": proof, "images": len(report.committed)}
        _append(session, EventKind.FORWARDS_COMMITTED, EventOutcome.SUCCESS, rows[0], detail)
    if missing:
        detail = {"proof": proof, "missing": len(missing), "sent_again": len(again)}
        log.error("a destination lacks images", extra={"study": rows[0].study_instance_uid, **detail})
        _append(session, EventKind.FORWARD_COMMITMENT_REFUSED, EventOutcome.MINOR_FAILURE, rows[0], detail)


def _append(session: Session, kind: EventKind, outcome: EventOutcome, of: AskedImage, detail: Detail) -> None:
    audit.append(session, Event(kind, outcome, of.ae_title, of.address, of.study_instance_uid, detail=detail))


def loops(catalog: Catalog, settings: Settings) -> list[Loop]:
    """One for each destination that is to confirm what it gets."""
    with catalog.reading() as session:
        known = [each for each in peers.destinations(session) if each.destination.commitment is not Proof.OFF]
    connect = partial(commit_scu.connected, settings.ae_title, Patience(answer_s=settings.answer_timeout_s))
    within = timedelta(seconds=settings.commitment_timeout_s)
    hangs_after_s = HANGS_AFTER_S + 3 * settings.answer_timeout_s
    return [
        Loop(f"commit images {to.destination.ae_title}", one.step, EVERY_S, hangs_after_s=hangs_after_s)
        for to in known
        for one in [ConfirmingImages(catalog, to, connect, within, random.Random(to.id), _now)]
    ]


def _now() -> datetime:
    return datetime.now(UTC)
