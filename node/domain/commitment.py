"""Proof that a destination has what it said it stored: how it is asked, and what follows from its answer."""

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from node.domain.delivery import back_off


class Proof(StrEnum):
    """What a destination is asked for after it stored all results of a reading."""

    OFF = "off"
    """Nothing: its C-STORE responses are believed."""
    COMMITMENT = "commitment"
    """Storage commitment (PS3.4 J); C-FIND where it offers none."""
    FIND = "find"
    """C-FIND at IMAGE level: it says what it has, and promises nothing."""


class CommitmentState(StrEnum):
    """Where one asking stands."""

    ASKED = "asked"
    """The answer is waited for."""
    COMMITTED = "committed"
    """The destination has all of it."""
    INCOMPLETE = "incomplete"
    """It lacks some, or does not say that it has them."""
    UNANSWERED = "unanswered"
    """No answer came in time; a late one still counts."""
    REFUSED = "refused"
    """It does not want to be asked so, or not now."""
    UNSUPPORTED = "unsupported"
    """It offers no way to ask."""


OPEN = (CommitmentState.ASKED, CommitmentState.UNANSWERED)
"""An answer is taken."""


@dataclass(frozen=True)
class Reference:
    """One instance, as it was sent."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True)
class Report:
    """What a destination says about instances (PS3.4 J.3.3)."""

    transaction_uid: str
    committed: tuple[str, ...]
    """SOP Instance UIDs that it keeps."""
    failed: tuple[tuple[str, int], ...] = ()
    """(SOP Instance UID, Failure Reason) of those that it does not keep."""

    def only(self, asked: Collection[str]) -> "Report":
        """What of it speaks of these instances, each once; what it names twice is not kept."""
        failed = {uid: reason for uid, reason in self.failed if uid in asked}
        kept = sorted({uid for uid in self.committed if uid in asked} - failed.keys())
        return Report(self.transaction_uid, tuple(kept), tuple(failed.items()))


@dataclass(frozen=True)
class Asked:
    """What a Transaction UID stands for: who may answer, and about which instances."""

    ae_title: str
    sop_instance_uids: frozenset[str]


@dataclass(frozen=True)
class History:
    """How often a destination was asked about the results of a reading, since they were all stored there."""

    since: datetime
    """When it was asked first."""
    asks: int = 0
    """In a row without an answer."""
    rounds: int = 0
    """Answers by which something was missing."""


@dataclass(frozen=True)
class Claim:
    """Results of one reading that are all stored at one destination, and to be proven."""

    job_id: int
    study_instance_uid: str
    references: tuple[Reference, ...]
    attempts: Mapping[str, int]
    """C-STOREs of each instance so far: an answer speaks of what it was asked about, not of what is sent later."""
    history: History


NO_SUCH_INSTANCE = 0x0112
"""Failure Reason (PS3.3 C.14.1.1): it does not have the instance."""
ASK_AGAIN = frozenset({0x0131, 0x0213})
"""Failure Reasons that say nothing about the instance: duplicate transaction UID, resource limitation."""
NOT_MENTIONED = 0
"""Our own: the answer says nothing about the instance."""
NOT_OFFERED = frozenset({0x0112, 0x0118, 0x0122, 0x0123, 0x0211})
"""Statuses of an N-ACTION that say that this is no storage commitment SCP (PS3.7 10.1.4.1.10)."""

MOST_ROUNDS = 3
"""Answers by which something is missing, before a person is told and nothing is sent again."""
UNCONFIRMED_AFTER = timedelta(days=3)
"""Of asking in vain, until a person is told: over a weekend a PACS may be down, or its commitment service."""
LONGEST_PAUSE = timedelta(days=1)
LONGEST_PATIENCE = timedelta(days=10)
"""No wait is longer, whatever the settings say."""
SOON = 60
"""That part of the time that an answer may take: a minute of an hour."""


def sends_again(proof: Proof, rounds: int, reason: int) -> bool:
    """Whether an instance that a destination lacks is sent again; `rounds` counts this answer.

    What C-FIND does not see may only not be in the index yet: it is asked for once more before that.
    """
    if reason in ASK_AGAIN or reason == NOT_MENTIONED or rounds >= MOST_ROUNDS:
        return False
    return proof is Proof.COMMITMENT or rounds > 1


def patience(asks: int, within: timedelta, jitter: random.Random) -> timedelta:
    """How long an answer may take the n-th time before it is asked for again: doubling, up to a day or `within`."""
    return back_off(asks, jitter, within, max(within, LONGEST_PAUSE))


def pause(tries: int, within: timedelta, jitter: random.Random) -> timedelta:
    """How long to wait before asking again who could not be asked the n-th time."""
    return back_off(tries, jitter, within / SOON, max(within, LONGEST_PAUSE))


def next_ask(waited: timedelta, rounds: int) -> timedelta:
    """How long after the n-th answer by which something is missing it is asked again; `waited` is what an answer might
    have taken. Soon, while it is sent again; then, when a person was told, ever more seldom."""
    if rounds < MOST_ROUNDS:
        return waited / SOON * (1 << rounds - 1)
    return min(waited * (1 << min(rounds - MOST_ROUNDS + 1, 16)), max(waited, LONGEST_PAUSE))


def unmentioned(asked: Collection[str], report: Report) -> tuple[tuple[str, int], ...]:
    """Instances that were asked for and that the answer is silent about."""
    told = {*report.committed, *(uid for uid, _ in report.failed)}
    return tuple((uid, NOT_MENTIONED) for uid in sorted(set(asked) - told))


def said(failed: Collection[tuple[str, int]]) -> str:
    """For people: how many instances are missing, and why."""
    reasons = sorted({reason for _, reason in failed})
    texts = ["not mentioned" if reason == NOT_MENTIONED else f"0x{reason:04X}" for reason in reasons]
    return f"It does not confirm {len(failed)} of these results ({', '.join(texts)})."


@dataclass(frozen=True)
class Asking:
    """One asking as it enters the books, before it is sent."""

    claim: Claim
    proof: Proof
    transaction_uid: str | None
    state: CommitmentState
    at: datetime
    not_before: datetime
    """When it is asked again, should nothing be heard."""
    error: str = ""
