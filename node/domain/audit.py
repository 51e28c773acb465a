"""What is written down, and the chain that shows when somebody changed it afterwards."""

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum, StrEnum


class EventKind(StrEnum):
    """Everything that leaves an audit row."""

    NODE_STARTED = "node started"
    NODE_STOPPED = "node stopped"
    ASSOCIATION_CLOSED = "association closed"
    ASSOCIATION_REFUSED = "association refused"
    SECURITY_ALERT = "security alert"
    INSTANCE_REFUSED = "instance refused"
    JOURNAL_DAMAGED = "journal damaged"
    INSTANCES_REGISTERED = "instances registered"
    INSTANCE_CONFLICT = "instance conflict"
    DEMOGRAPHICS_CHANGED = "demographics changed"
    VERSIONS_SETTLED = "versions settled"
    COUNT_TOLD = "count told"
    COUNT_REFUSED = "count refused"
    SERIES_COMPLETE = "series complete"
    STUDY_COMPLETE = "study complete"
    STUDY_NOT_ANALYSED = "study not analysed"
    JOB_CREATED = "job created"
    JOB_SUPERSEDED = "job superseded"
    JOB_CLAIMED = "job claimed"
    JOB_GIVEN_BACK = "job given back"
    JOB_DONE = "job done"
    JOB_FAILED = "job failed"
    JOB_DEAD = "job dead"
    JOB_RETRIED = "job retried"
    JOB_CANCELLED = "job cancelled"
    JOB_PRIORITISED = "job prioritised"
    DRAIN_BEGUN = "drain begun"
    DRAIN_ENDED = "drain ended"
    RESULTS_RELEASED = "results released"
    RESULTS_HELD = "results held again"
    RESULT_DELIVERED = "result delivered"
    RESULT_REFUSED = "result refused"
    MESSAGE_NOT_WANTED = "message not wanted"
    RESULT_QUARANTINED = "result quarantined"
    STUDY_ROUTED = "study routed"
    IMAGES_FORWARDED = "images forwarded"
    IMAGE_FORWARD_REFUSED = "image forward refused"
    FORWARD_COMMITMENT_ASKED = "forward commitment asked"
    FORWARD_COMMITMENT_REFUSED = "forward commitment refused"
    FORWARDS_COMMITTED = "forwards committed"
    FORWARDS_RESENT = "forwards resent"
    COMMITMENT_ASKED = "commitment asked"
    COMMITMENT_UNANSWERED = "commitment unanswered"
    COMMITMENT_REFUSED = "commitment refused"
    COMMITMENT_REPORT_REFUSED = "commitment report refused"
    RESULTS_COMMITTED = "results committed"
    PRIOR_ASKED_FOR = "prior asked for"
    PRIOR_FETCHED = "prior fetched"
    NO_PRIOR_IN_ARCHIVE = "no prior in archive"
    PRIORS_NOT_FETCHED = "priors not fetched"
    MISSING_ASKED_FOR = "missing images asked for"
    MISSING_FETCHED = "missing images fetched"
    MISSING_NOT_FETCHED = "missing images not fetched"
    PROMISE_ASKED = "promise asked"
    PROMISE_TOLD = "promise told"
    PROMISE_GIVEN_UP = "promise given up"
    QUERY_ANSWERED = "query answered"
    IMAGES_RETRIEVED = "images retrieved"
    ANALYSIS_ORDERED = "analysis ordered"
    CANCEL_REQUESTED = "cancel requested"
    STEP_CHANGED = "step changed"
    STEP_REQUEST_REFUSED = "step request refused"
    SUBSCRIPTION_CHANGED = "subscription changed"
    SENDER_CHANGED = "sender changed"
    USER_CHANGED = "user changed"
    DESTINATION_CHANGED = "destination changed"
    DESTINATION_PAUSED = "destination paused"
    DESTINATION_RESUMED = "destination resumed"
    DESTINATION_FORGOTTEN = "destination forgotten"
    BREAKER_OPENED = "breaker opened"
    BREAKER_CLOSED = "breaker closed"
    RESULTS_RESENT = "results resent"
    MODEL_ADDED = "model added"
    MODEL_CHOSEN = "model chosen"
    MODEL_IN_SHADOW = "model in shadow"
    MODEL_OUT_OF_SHADOW = "model out of shadow"
    MODEL_REMOVED = "model removed"
    STUDY_PURGED = "study purged"
    CLOCK_SET_BACK = "clock set back"
    BACKUP_MADE = "backup made"
    BACKUP_RESTORED = "backup restored"
    ALERT_RAISED = "alert raised"
    ALERT_CLEARED = "alert cleared"
    ALERT_ACKNOWLEDGED = "alert acknowledged"
    AUDIT_USED = "audit log used"


class EventOutcome(IntEnum):
    """EventOutcomeIndicator (PS3.15 A.5)."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8


Detail = Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True)
class Event:
    """One thing that happened. Names no patient."""

    kind: EventKind
    outcome: EventOutcome = EventOutcome.SUCCESS
    actor: str = "node"
    """AE title of a peer, or the part of Nodus that acted."""
    address: str = ""
    study_instance_uid: str = ""
    job_id: int | None = None
    detail: Detail = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True)
class Entry:
    """An event in its place in the chain, as it stands in SQL."""

    seq: int
    at: str
    """ISO 8601, UTC; text, so that what was hashed is what is read."""
    kind: str
    outcome: int
    actor: str
    address: str
    study_instance_uid: str
    job_id: int | None
    detail: str
    """JSON with sorted keys."""
    hash: str


@dataclass(frozen=True)
class Anchor:
    """The head of the chain as it was written outside the database."""

    seq: int
    hash: str


GENESIS = "0" * 64


def entry_of(event: Event, seq: int, previous_hash: str, key: bytes) -> Entry:
    """Put an event behind the entry whose hash is `previous_hash`."""
    draft = Entry(
        seq,
        event.at.astimezone(UTC).isoformat(),
        str(event.kind),
        int(event.outcome),
        event.actor,
        event.address,
        event.study_instance_uid,
        event.job_id,
        json.dumps(dict(event.detail), sort_keys=True, ensure_ascii=False),
        "",
    )
    return Entry(**{**draft.__dict__, "hash": link(draft, previous_hash, key)})


def link(entry: Entry, previous_hash: str, key: bytes) -> str:
    """HMAC-SHA-256 over the previous hash and every field of an entry, hex."""
    fields = [getattr(entry, name) for name in Entry.__dataclass_fields__ if name != "hash"]
    return hmac.new(key, json.dumps([previous_hash, *fields]).encode(), hashlib.sha256).hexdigest()


def verify(entries: Iterable[Entry], head: Anchor, anchors: Iterable[Anchor], key: bytes) -> list[str]:
    """Check a whole chain, oldest first; return one sentence for each thing that is wrong.

    Finds altered, inserted and deleted rows, a cut tail (against the head and the anchors) and a table that was
    recomputed with another key. It cannot see rows that were cut after the last anchor together with the head, nor the
    work of somebody who holds the key.
    """
    problems = []
    previous, expected = GENESIS, 1
    hashes = {}
    for entry in entries:
        if entry.seq != expected:
            problems.append(f"Row {expected} is missing: row {entry.seq} follows row {expected - 1}.")
        if not hmac.compare_digest(entry.hash, link(entry, previous, key)):
            problems.append(f"Row {entry.seq} was altered, or the row before it is not the one it was written after.")
        previous, expected = entry.hash, entry.seq + 1
        hashes[entry.seq] = entry.hash
    if (head.seq, head.hash) != (expected - 1, previous):
        problems.append(f"The head says {head.seq} rows, the table ends at row {expected - 1}.")
    for anchor in anchors:
        if anchor.seq and hashes.get(anchor.seq) != anchor.hash:
            problems.append(f"The anchor of row {anchor.seq} does not match the table.")
    return problems
