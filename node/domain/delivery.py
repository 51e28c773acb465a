"""Results on their way to a PACS."""

import random
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from node.errors import IllegalMove


class ResultKind(StrEnum):
    """What we send."""

    SEG = "SEG"
    SR = "SR"
    SC = "SC"


SENDING_ORDER = (ResultKind.SEG, ResultKind.SR, ResultKind.SC)
"""A report never arrives before the segmentation that it refers to."""


class OutboxState(StrEnum):
    """Where a result stands with one destination."""

    HELD = "held"
    """The study is not complete yet."""
    DUE = "due"
    """To be sent, or to be tried again."""
    DELIVERED = "delivered"
    """The destination answered that it is stored."""
    REFUSED = "refused"
    """The destination will never take it."""
    CANCELLED = "cancelled"
    """A newer result took its place before it was sent."""


MOVES: dict[OutboxState, frozenset[OutboxState]] = {
    OutboxState.HELD: frozenset({OutboxState.DUE, OutboxState.CANCELLED}),
    OutboxState.DUE: frozenset({OutboxState.DUE, OutboxState.DELIVERED, OutboxState.REFUSED, OutboxState.CANCELLED}),
    OutboxState.DELIVERED: frozenset({OutboxState.DUE}),  # only when an operator says that the destination lost it
    OutboxState.REFUSED: frozenset({OutboxState.DUE}),
    OutboxState.CANCELLED: frozenset(),
}


def move(now: OutboxState, then: OutboxState) -> OutboxState:
    """Return `then` when the table allows it. Raises IllegalMove."""
    if then not in MOVES[now]:
        raise IllegalMove(f"A result cannot go from {now} to {then}.")
    return then


class Answer(StrEnum):
    """What an attempt means for a result."""

    STORED = "stored"
    TRY_AGAIN = "try again"
    NEVER = "never"


def answer_of(status: int) -> Answer:
    """What a C-STORE status says (PS3.4 Table B.2-1, PS3.7 C).

    Warnings are stored; 0111 (duplicate SOP instance) means that an earlier attempt got through, since the UID is
    derived from the content. Out of resources, processing failures and "not authorised" (somebody may be about to
    authorise us) are tried again.
    """
    if status == 0x0000 or status in (0x0111, 0xB000, 0xB006, 0xB007):
        return Answer.STORED
    permanent = status == 0x0122 or 0xA800 <= status <= 0xA9FF or 0xC000 <= status <= 0xCFFF
    return Answer.NEVER if permanent else Answer.TRY_AGAIN


def is_out_of_resources(status: int) -> bool:
    """Whether a C-STORE status speaks of the destination, not of the result: A7xx (PS3.4 Table B.2-1)."""
    return 0xA700 <= status <= 0xA7FF


FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=2), timedelta(hours=1)


def back_off(
    failures: int, jitter: random.Random, first: timedelta = FIRST_WAIT, longest: timedelta = LONGEST_WAIT
) -> timedelta:
    """How long to wait after so many failures: doubling from 2 s to an hour, give or take a quarter."""
    wait = min(longest, first * (1 << min(failures - 1, 12)))
    return wait * jitter.uniform(0.75, 1.25)


@dataclass(frozen=True)
class Rung:
    """One encoding of a result; of several, a destination gets the first that it takes."""

    sop_class_uid: str
    sop_instance_uid: str
    path: str
    """Relative to the data directory."""


@dataclass(frozen=True)
class Shipment:
    """One result that is due at one destination."""

    outbox_id: int
    kind: ResultKind
    study_instance_uid: str
    job_id: int
    failures: int
    """Failed attempts so far, connections that were not made included."""
    fixed: str | None
    """SOP Instance UID of the rung that was chosen before the first attempt; never changed after it."""
    rungs: tuple[Rung, ...]
    """In order of preference."""

    def choose(self, accepted_sop_classes: frozenset[str]) -> Rung | None:
        """The rung to send on an association that accepted these classes."""
        open_to_us = [rung for rung in self.rungs if self.fixed in (None, rung.sop_instance_uid)]
        return next((rung for rung in open_to_us if rung.sop_class_uid in accepted_sop_classes), None)
