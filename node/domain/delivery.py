"""Results on their way to a PACS."""

import random
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from node.errors import IllegalMove


class ResultKind(StrEnum):
    """What we send."""

    SEG = "SEG"
    """Segmentation: a segment for each nodule."""
    SR = "SR"
    """Structured report."""
    KOS = "KOS"
    """Key object selection: which images, and which of our results, are of interest."""
    GSPS = "GSPS"
    """Presentation state: circle and label on each key image."""
    PDF = "PDF"
    """A page to read and print."""
    SC = "SC"
    """A picture that any viewer shows."""
    PM = "PM"
    """Parametric map: the detector's score around each nodule."""


class MessageKind(StrEnum):
    """What we tell those that take no DICOM: made in the node, of what SQL says."""

    ORU = "ORU"


Kind = ResultKind | MessageKind
KINDS: dict[str, Kind] = {str(kind): kind for kind in (*ResultKind, *MessageKind)}


SENDING_ORDER = (
    *(ResultKind.SEG, ResultKind.SR),
    *(ResultKind.KOS, ResultKind.GSPS, ResultKind.PDF, ResultKind.SC, ResultKind.PM),
)
"""Nothing arrives before what it refers to: a report refers to the segmentation, a selection to both."""


MODALITIES = {
    ResultKind.SEG: "SEG",
    ResultKind.SR: "SR",
    ResultKind.KOS: "KO",
    ResultKind.GSPS: "PR",
    ResultKind.PDF: "DOC",
    ResultKind.PM: "OT",
    ResultKind.SC: "OT",
}
"""Modality (0008,0060) of the series of each kind."""


class OutboxState(StrEnum):
    """Where a result stands with one destination."""

    HELD = "held"
    """The study is not complete yet."""
    DUE = "due"
    """To be sent, or to be tried again."""
    DELIVERED = "delivered"
    """The destination answered that it is stored."""
    COMMITTED = "committed"
    """The destination was asked, and confirmed that it has it."""
    REFUSED = "refused"
    """The destination will never take it."""
    CANCELLED = "cancelled"
    """A newer result took its place before it was sent."""


MOVES: dict[OutboxState, frozenset[OutboxState]] = {
    OutboxState.HELD: frozenset({OutboxState.DUE, OutboxState.CANCELLED}),
    OutboxState.DUE: frozenset({OutboxState.DUE, OutboxState.DELIVERED, OutboxState.REFUSED, OutboxState.CANCELLED}),
    OutboxState.DELIVERED: frozenset({OutboxState.DUE, OutboxState.COMMITTED}),  # due: the destination lost it
    OutboxState.COMMITTED: frozenset({OutboxState.DUE}),  # only when an operator says that the destination lost it
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
    refers_to: frozenset[str] = frozenset()
    """SOP Instance UIDs of other results that the destination must have."""


@dataclass(frozen=True)
class Shipment:
    """One result that is due at one destination."""

    outbox_id: int
    kind: Kind
    study_instance_uid: str
    job_id: int
    failures: int
    """Failed attempts so far, connections that were not made included."""
    fixed: str | None
    """SOP Instance UID of the rung that was chosen before the first attempt; never changed after it."""
    rungs: tuple[Rung, ...]
    """In order of preference."""
    stored: frozenset[str] = frozenset()
    """SOP Instance UIDs of the same reading that the destination has."""

    def choose(self, accepted_sop_classes: frozenset[str]) -> Rung | None:
        """The rung to send on an association that accepted these classes: the one fixed before, or one of which the
        destination has everything that it refers to."""
        fixed = [rung for rung in self.rungs if rung.sop_instance_uid == self.fixed]
        open_to_us = fixed if self.fixed else [rung for rung in self.rungs if rung.refers_to <= self.stored]
        return next((rung for rung in open_to_us if rung.sop_class_uid in accepted_sop_classes), None)
