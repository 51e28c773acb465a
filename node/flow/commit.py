"""Delivered to committed: a destination that stored all results of a reading is asked whether it has them."""

import logging
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy.orm import Session

from node.catalog import audit, breakers, commitments, outbox, studies
from node.catalog.commitments import Row
from node.catalog.peers import KnownDestination
from node.catalog.session import Catalog
from node.dicom import statuses
from node.domain.audit import Detail, Event, EventKind, EventOutcome
from node.domain.breaker import BreakerState
from node.domain.commitment import (
    NO_SUCH_INSTANCE,
    NOT_OFFERED,
    OPEN,
    Asking,
    Claim,
    CommitmentState,
    Proof,
    Reference,
    Report,
    next_ask,
    patience,
    pause,
    said,
    sends_again,
    unmentioned,
)
from node.domain.peers import Destination
from node.domain.reception import CommitmentReported, CommitmentReportRefused
from node.domain.uids import fresh_uid
from node.errors import PeerFailed
from node.flow.destinations import doubted
from node.flow.loop import goes_on

log = logging.getLogger(__name__)

AT_ONCE = 50
"""Readings that are asked about over one association."""
OFFERS_NEITHER = "The destination offers neither storage commitment nor C-FIND: set its `commitment` to off."
REPORTED_UID_CHARACTERS = 64
"""Of a UID that somebody else wrote (PS3.5 9.1)."""


class Questions(Protocol):
    """An open association to a destination that is asked what it keeps."""

    commits: bool
    finds: bool

    def ask(self, transaction_uid: str, references: Sequence[Reference]) -> int:
        """N-ACTION; returns the status. Raises PeerFailed."""

    def has(self, reference: Reference) -> bool:
        """C-FIND for one instance. Raises PeerFailed."""

    def wait(self) -> None:
        """Stay a moment: answers may come here."""


Connect = Callable[[Destination, Callable[[str, str, Report], int]], AbstractContextManager[Questions]]


def look_up(questions: Questions, references: Sequence[Reference]) -> Report:
    """What a destination says by C-FIND that it has. Raises PeerFailed."""
    has = {each.sop_instance_uid: questions.has(each) for each in references}
    kept = tuple(uid for uid, found in has.items() if found)
    return Report("", kept, tuple((uid, NO_SUCH_INSTANCE) for uid, found in has.items() if not found))


@dataclass(frozen=True)
class Confirming:
    """What asking one destination needs."""

    catalog: Catalog
    to: KnownDestination
    connect: Connect
    within: timedelta
    """How long the first answer may take."""
    jitter: random.Random
    now: Callable[[], datetime]

    def step(self) -> bool:
        """Ask about what is stored there and not confirmed, over one association. True when there may be more."""
        self._end_the_late()
        with self.catalog.reading() as session:
            if breakers.of(session, self.to).state is not BreakerState.CLOSED:
                return False
            due = commitments.due(session, self.to.id, self.now(), AT_ONCE)
        if not due:
            return False
        left = list(due)
        try:
            with self.connect(self.to.destination, self.reported_here) as questions:
                while left:
                    goes_on()
                    self._ask(questions, left[0])
                    left.pop(0)
                questions.wait()
        except PeerFailed as error:
            doubted(self.catalog, self.to.destination, error)
            self._not_asked(left, str(error))
            return False
        return len(due) == AT_ONCE

    def _end_the_late(self) -> None:
        with self.catalog.reading() as session:
            late = commitments.late(session, self.to.id, self.now())
        for row in late:
            error = "The destination did not answer whether it keeps these results; it is asked again."
            with self.catalog.writing() as session:
                if commitments.ended(session, row.id, CommitmentState.UNANSWERED, error, None):
                    detail: Detail = {"results": len(row.attempts), "proof": row.proof}
                    _append(session, EventKind.COMMITMENT_UNANSWERED, row, detail, self.now())

    def _ask(self, questions: Questions, claim: Claim) -> None:
        if questions.commits and self._requests(questions, claim):
            return
        if questions.finds:
            self._looks(questions, claim)
            return
        self._enter(claim, self.to.destination.commitment, None, CommitmentState.UNSUPPORTED, OFFERS_NEITHER)

    def _requests(self, questions: Questions, claim: Claim) -> bool:
        """By storage commitment. False: the destination says that it does not know what that is."""
        transaction_uid = fresh_uid()
        row_id = self._enter(claim, Proof.COMMITMENT, transaction_uid, CommitmentState.ASKED)
        try:
            status = questions.ask(transaction_uid, claim.references)
        except PeerFailed as error:
            self._ended(row_id, CommitmentState.UNANSWERED, str(error), pause(claim.history.asks + 1, *self._pace))
            raise
        if status == statuses.SUCCESS:
            return True
        reason = f"The destination answered the request for storage commitment with status 0x{status:04X}."
        wait = patience(claim.history.asks + 1, *self._pace)
        if status not in NOT_OFFERED:
            self._ended(row_id, CommitmentState.REFUSED, reason, wait)
        elif questions.finds:
            self._ended(row_id, CommitmentState.REFUSED, reason, timedelta())
            return False
        else:
            self._ended(row_id, CommitmentState.UNSUPPORTED, f"{reason} {OFFERS_NEITHER}", wait)
        return True

    @property
    def _pace(self) -> tuple[timedelta, random.Random]:
        return self.within, self.jitter

    def _looks(self, questions: Questions, claim: Claim) -> None:
        """By C-FIND: what it has."""
        row_id = self._enter(claim, Proof.FIND, None, CommitmentState.ASKED)
        try:
            found = look_up(questions, claim.references)
        except PeerFailed as error:
            self._ended(row_id, CommitmentState.UNANSWERED, str(error), pause(claim.history.asks + 1, *self._pace))
            raise
        with self.catalog.writing() as session:
            take(session, commitments.of_id(session, row_id), found, self.now())

    def _enter(
        self, claim: Claim, proof: Proof, transaction_uid: str | None, state: CommitmentState, error: str = ""
    ) -> int:
        now = self.now()
        not_before = now + patience(claim.history.asks + 1, *self._pace)
        asking = Asking(claim, proof, transaction_uid, state, now, not_before, error)
        with self.catalog.writing() as session:
            row_id = commitments.enter(session, self.to.id, asking)
            detail: Detail = {"transaction_uid": transaction_uid, "proof": proof, "results": len(claim.references)}
            kind = EventKind.COMMITMENT_ASKED
            if state is CommitmentState.UNSUPPORTED:
                kind, detail = EventKind.COMMITMENT_REFUSED, {**detail, "reason": error}
            _append(session, kind, commitments.of_id(session, row_id), detail, now)
        if error:
            log.error("results are not confirmed", extra={"job": claim.job_id, "reason": error})
        return row_id

    def _ended(self, row_id: int, state: CommitmentState, error: str, wait: timedelta) -> None:
        now = self.now()
        log.warning("a destination could not be asked for its results", extra={"reason": error})
        with self.catalog.writing() as session:
            if commitments.ended(session, row_id, state, error, now + wait):
                kind = EventKind.COMMITMENT_REFUSED
                if state is CommitmentState.UNANSWERED:
                    kind = EventKind.COMMITMENT_UNANSWERED
                row = commitments.of_id(session, row_id)
                _append(session, kind, row, {"reason": error, "results": len(row.attempts)}, now)

    def _not_asked(self, left: Sequence[Claim], error: str) -> None:
        """The association was not made, or broke off; the claim that it broke off with has its row already."""
        now = self.now()
        with self.catalog.writing() as session:
            waiting = {each.job_id for each in commitments.due(session, self.to.id, now, 2 * AT_ONCE)}
            for claim in (each for each in left if each.job_id in waiting):
                not_before = now + pause(claim.history.asks + 1, *self._pace)
                asking = Asking(claim, self.to.destination.commitment, None, CommitmentState.UNANSWERED, now,
                                not_before, error)  # fmt: skip
                commitments.enter(session, self.to.id, asking)
        log.warning("a destination could not be asked for its results", extra={"reason": error})

    def reported_here(self, ae_title: str, address: str, report: Report) -> int:
        """An answer on the association that we asked on; returns the status."""
        with self.catalog.writing() as session:
            row = commitments.of_transaction(session, report.transaction_uid)
            if row is not None and row.destination_id == self.to.id:
                take(session, row, report, self.now())
                return statuses.SUCCESS
            uid, status = report.transaction_uid[:REPORTED_UID_CHARACTERS], statuses.INVALID_ARGUMENT
            report_refused(session, CommitmentReportRefused(ae_title, address, uid, status, self.now()))
        return status


def take(session: Session, row: Row, report: Report, now: datetime) -> None:
    """An answer, once: what the destination has is committed, what it lacks is sent again as long as that may help."""
    studies.lock(session, row.study_instance_uid)  # retention removes no files meanwhile
    row = commitments.of_id(session, row.id)
    if row.state not in OPEN:
        return
    report = report.only(row.attempts)
    kept = commitments.confirmed_rows(session, row, report.committed)
    outbox.committed(session, kept)
    missing = (*report.failed, *unmentioned(row.attempts, report))
    rounds = commitments.rounds_since(session, row) + bool(missing)
    wait = next_ask(row.not_before - row.asked_at, rounds) if missing else timedelta()
    commitments.answered(session, row, rounds, said(missing) if missing else "", now, now + wait)
    if kept:
        _append(session, EventKind.RESULTS_COMMITTED, row, {"proof": row.proof, "results": len(kept)}, now)
    if missing:
        _missing(session, row, missing, rounds, now)


def _missing(session: Session, row: Row, missing: Sequence[tuple[str, int]], rounds: int, now: datetime) -> None:
    again = [uid for uid, reason in missing if sends_again(row.proof, rounds, reason)]
    sent_again = commitments.confirmed_rows(session, row, again) if _stands(session, row) else []
    outbox.lost(session, sent_again, said(missing), now)
    reasons = " ".join(f"{uid}:0x{reason:04X}" for uid, reason in missing)
    detail: Detail = {"proof": row.proof, "reasons": reasons, "sent_again": len(sent_again)}
    log.error("a destination lacks results", extra={"job": row.job_id, "missing": len(missing)})
    _append(session, EventKind.COMMITMENT_REFUSED, row, detail, now)


def _stands(session: Session, row: Row) -> bool:
    """Whether the results are still those of their study, and here."""
    return commitments.job_stands(session, row.job_id) and not outbox.are_purged(session, row.job_id)


def reported(session: Session, event: CommitmentReported) -> None:
    """A destination answered on an association of its own, and was told that we have its answer."""
    row = commitments.of_transaction(session, event.transaction_uid)
    if row is not None:  # a restored backup may not know what was asked after it
        take(session, row, Report(event.transaction_uid, event.committed, event.failed), event.at)


def report_refused(session: Session, event: CommitmentReportRefused) -> None:
    """Somebody answered what it was not asked."""
    detail: Detail = {"transaction_uid": event.transaction_uid, "status": f"0x{event.status:04X}"}
    kind, outcome = EventKind.COMMITMENT_REPORT_REFUSED, EventOutcome.SERIOUS_FAILURE
    audit.append(session, Event(kind, outcome, event.calling_ae_title, event.address, detail=detail, at=event.at))


WELL = (EventKind.COMMITMENT_ASKED, EventKind.RESULTS_COMMITTED)


def _append(session: Session, kind: EventKind, row: Row, detail: Detail, now: datetime) -> None:
    outcome = EventOutcome.SUCCESS if kind in WELL else EventOutcome.MINOR_FAILURE
    audit.append(session, Event(kind, outcome, row.ae_title, row.address, row.study_instance_uid, row.job_id, detail,
                                now))  # fmt: skip
