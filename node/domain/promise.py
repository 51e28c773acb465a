"""Storage commitment for senders (PS3.4 J): what they ask us to keep, and what we answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from node.errors import IllegalMove

PROCESSING_FAILURE, NO_SUCH_INSTANCE, CLASS_CONFLICT = 0x0110, 0x0112, 0x0119
"""Failure Reasons (PS3.3 C.14.1.1)."""
GIVEN_UP_AFTER = timedelta(days=3)
"""A sender that does not take its answer for so long asks again, if it still wants to know."""
AWAITED_FOR = timedelta(days=1)
"""That a destination commits to what was forwarded to it; then what it has not committed to is answered as it is."""
LOOKED_AGAIN_AFTER = timedelta(seconds=2)


class PromiseState(StrEnum):
    """How a request stands."""

    ASKED = "asked"
    TOLD = "told"
    GIVEN_UP = "given up"


MOVES: dict[PromiseState, frozenset[PromiseState]] = {
    PromiseState.ASKED: frozenset({PromiseState.TOLD, PromiseState.GIVEN_UP}),
    PromiseState.TOLD: frozenset({PromiseState.ASKED}),  # asked again under the same Transaction UID
    PromiseState.GIVEN_UP: frozenset({PromiseState.ASKED}),
}


def moved(now: PromiseState, then: PromiseState) -> PromiseState:
    """The state after a move. Raises IllegalMove."""
    if then not in MOVES[now]:
        raise IllegalMove(f"A request for storage commitment cannot go from {now} to {then}.")
    return then


@dataclass(frozen=True)
class Wanted:
    """One instance that we are asked to keep."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True)
class Promise:
    """One request, as it stands in SQL."""

    id: int
    transaction_uid: str
    calling_ae_title: str
    address: str
    wanted: tuple[Wanted, ...]
    attempts: int
    asked_at: datetime


@dataclass(frozen=True)
class Kept:
    """What is here of an instance, and whether it stays."""

    sop_class_uid: str
    stays: bool
    """Here, or at a destination that it was forwarded to and that has committed to it."""
    awaited: bool = False
    """It does not stay here, and such a destination may still commit to it."""


@dataclass(frozen=True)
class Verdict:
    """What we answer."""

    committed: tuple[Wanted, ...]
    failed: tuple[tuple[Wanted, int], ...]
    """With the Failure Reason."""


def look_again(asked_at: datetime, now: datetime, longest: timedelta) -> datetime | None:
    """When to look again whether what is awaited is there: the seldomer the longer it takes. None: it took too long."""
    waited = now - asked_at
    if waited >= AWAITED_FOR:
        return None
    return now + min(max(waited / 4, LOOKED_AGAIN_AFTER), longest)


def judged(wanted: Sequence[Wanted], kept: Mapping[str, Kept]) -> Verdict:
    """What of it we commit to; `kept` by SOP Instance UID."""
    reasons = [(each, _reason(each, kept.get(each.sop_instance_uid))) for each in dict.fromkeys(wanted)]
    failed = tuple((each, reason) for each, reason in reasons if reason is not None)
    return Verdict(tuple(each for each, reason in reasons if reason is None), failed)


def _reason(wanted: Wanted, kept: Kept | None) -> int | None:
    if kept is None:
        return NO_SUCH_INSTANCE
    if kept.sop_class_uid != wanted.sop_class_uid:
        return CLASS_CONFLICT
    return None if kept.stays else PROCESSING_FAILURE
