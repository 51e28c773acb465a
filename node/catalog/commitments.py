"""What destinations were asked to confirm, and what they answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, insert, or_, select, update
from sqlalchemy.orm import Session, aliased

from node.catalog.outbox import UNCONFIRMED, UNSENT
from node.catalog.session import changed
from node.catalog.tables import commitment, destination, job, outbox, result, study
from node.domain.commitment import (
    MOST_ROUNDS,
    UNCONFIRMED_AFTER,
    Asked,
    Asking,
    Claim,
    CommitmentState,
    History,
    Proof,
    Reference,
)
from node.domain.delivery import OutboxState
from node.domain.job import JobState

OF_PAIR = and_(commitment.c.job_id == outbox.c.job_id, commitment.c.destination_id == outbox.c.destination_id)
"""Of an outbox row: what was asked about the results of its job at its destination."""


@dataclass(frozen=True)
class Row:
    """One asking, as it stands in SQL."""

    id: int
    job_id: int
    destination_id: int
    proof: Proof
    state: CommitmentState
    attempts: dict[str, int]
    asked_at: datetime
    not_before: datetime
    ae_title: str
    address: str
    study_instance_uid: str


def due(session: Session, destination_id: int, now: datetime, limit: int) -> list[Claim]:
    """Readings of which a destination stored everything, and that it is to be asked about now."""
    unsent, waiting = aliased(outbox), aliased(commitment)
    query = (
        select(outbox.c.job_id, study.c.study_instance_uid)
        .select_from(outbox.join(job, job.c.id == outbox.c.job_id).join(study).join(destination))
        .where(
            outbox.c.destination_id == destination_id,
            UNCONFIRMED,
            ~exists().where(
                unsent.c.job_id == outbox.c.job_id,
                unsent.c.destination_id == destination_id,
                unsent.c.state.in_(UNSENT),
            ),
            ~exists().where(
                waiting.c.job_id == outbox.c.job_id,
                waiting.c.destination_id == destination_id,
                waiting.c.not_before > now,
            ),
        )
        .distinct()
        .order_by(outbox.c.job_id)
        .limit(limit)
    )
    return [_claim(session, destination_id, job_id, uid, now) for job_id, uid in session.execute(query).all()]


def _claim(session: Session, destination_id: int, job_id: int, study_uid: str, now: datetime) -> Claim:
    query = (
        select(result.c.sop_class_uid, result.c.sop_instance_uid, result.c.series_instance_uid, outbox.c.attempts)
        .join(outbox, (outbox.c.job_id == result.c.job_id) & (outbox.c.sop_instance_uid == result.c.sop_instance_uid))
        .where(
            outbox.c.job_id == job_id,
            outbox.c.destination_id == destination_id,
            outbox.c.state == OutboxState.DELIVERED,
        )
        .order_by(outbox.c.id)
    )
    rows = session.execute(query).all()
    references = tuple(Reference(sop, uid, study_uid, series) for sop, uid, series, _ in rows)
    attempts = {uid: count for _, uid, _, count in rows}
    return Claim(job_id, study_uid, references, attempts, _history(session, destination_id, job_id, now))


def _history(session: Session, destination_id: int, job_id: int, now: datetime) -> History:
    of_pair = (commitment.c.job_id == job_id) & (commitment.c.destination_id == destination_id)
    newest = select(commitment).where(of_pair).order_by(commitment.c.id.desc()).limit(1)
    row = session.execute(newest).mappings().one_or_none()
    if row is None or row["state"] == CommitmentState.COMMITTED:
        return History(now)
    return History(row["since"], row["asks"], row["rounds"])


def enter(session: Session, destination_id: int, asking: Asking) -> int:
    """Write an asking down, before it is sent; returns its id."""
    history = asking.claim.history
    values = {
        "job_id": asking.claim.job_id,
        "destination_id": destination_id,
        "transaction_uid": asking.transaction_uid,
        "proof": asking.proof,
        "state": asking.state,
        "attempts": dict(asking.claim.attempts),
        "asks": history.asks + 1,
        "rounds": history.rounds,
        "since": history.since,
        "asked_at": asking.at,
        "not_before": asking.not_before,
        "error": asking.error,
    }
    return int(session.execute(insert(commitment).values(**values).returning(commitment.c.id)).scalar_one())


def asked(session: Session, transaction_uid: str) -> Asked | None:
    """What a Transaction UID stands for; None where nobody asked under it."""
    query = (
        select(destination.c.ae_title, commitment.c.attempts)
        .join(destination, destination.c.id == commitment.c.destination_id)
        .where(commitment.c.transaction_uid == transaction_uid)
    )
    row = session.execute(query).one_or_none()
    return None if row is None else Asked(row.ae_title, frozenset(row.attempts))


def of_transaction(session: Session, transaction_uid: str) -> Row | None:
    """The asking under a Transaction UID."""
    return _row(session, commitment.c.transaction_uid == transaction_uid)


def of_id(session: Session, commitment_id: int) -> Row:
    """One asking."""
    row = _row(session, commitment.c.id == commitment_id)
    assert row is not None
    return row


def job_stands(session: Session, job_id: int) -> bool:
    """Whether no newer reading took the place of a job."""
    stands = (job.c.id == job_id) & (job.c.state == JobState.DONE)
    return session.scalars(select(job.c.id).where(stands)).first() is not None


def late(session: Session, destination_id: int, now: datetime) -> list[Row]:
    """Askings whose time is over; none of them was answered."""
    waits = (commitment.c.state == CommitmentState.ASKED) & (commitment.c.not_before <= now)
    query = select(commitment.c.id).where(commitment.c.destination_id == destination_id, waits)
    return [of_id(session, each) for each in session.scalars(query.order_by(commitment.c.id)).all()]


def _row(session: Session, which: ColumnElement[bool]) -> Row | None:
    query = (
        select(commitment, destination.c.ae_title, destination.c.host, destination.c.port, study.c.study_instance_uid)
        .select_from(commitment.join(destination).join(job).join(study, study.c.id == job.c.study_id))
        .where(which)
    )
    row = session.execute(query).mappings().one_or_none()
    if row is None:
        return None
    same = ("id", "job_id", "destination_id", "attempts", "asked_at", "not_before", "ae_title",
            "study_instance_uid")  # fmt: skip
    return Row(
        proof=Proof(row["proof"]),
        state=CommitmentState(row["state"]),
        address=f"{row['host']}:{row['port']}",
        **{name: row[name] for name in same},
    )


def ended(session: Session, row_id: int, state: CommitmentState, error: str, not_before: datetime | None) -> bool:
    """Nothing is waited for any more. False: it was answered meanwhile."""
    values: dict[str, Any] = {"state": state, "error": error}
    if not_before is not None:
        values["not_before"] = not_before
    waits = (commitment.c.id == row_id) & (commitment.c.state == CommitmentState.ASKED)
    return changed(session, update(commitment).where(waits).values(**values)) == 1


def rounds_since(session: Session, row: Row) -> int:
    """Answers so far by which something was missing; one that is late counts for what was asked after it."""
    return int(session.scalar(select(func.max(commitment.c.rounds)).where(_since(row))) or 0)


def _since(row: Row) -> ColumnElement[bool]:
    return and_(
        commitment.c.job_id == row.job_id,
        commitment.c.destination_id == row.destination_id,
        commitment.c.id >= row.id,
    )


def answered(session: Session, row: Row, rounds: int, error: str, now: datetime, not_before: datetime) -> None:
    """The destination said what it has; `error` is what it lacks."""
    state = CommitmentState.INCOMPLETE if error else CommitmentState.COMMITTED
    values = {"state": state, "asks": 0, "answered_at": now, "not_before": not_before, "error": error}
    session.execute(update(commitment).where(commitment.c.id == row.id).values(**values))
    session.execute(update(commitment).where(_since(row)).values(rounds=rounds))


def anew(session: Session, job_id: int, now: datetime) -> None:
    """An operator had results of a job sent again: they are asked about as if for the first time."""
    values = {"asks": 0, "rounds": 0, "since": now, "not_before": now}
    session.execute(update(commitment).where(commitment.c.job_id == job_id).values(**values))


def confirmed_rows(session: Session, row: Row, uids: Sequence[str]) -> list[int]:
    """Outbox rows that an answer about these instances speaks of: what was sent again since is not what was asked."""
    query = select(outbox.c.id, outbox.c.sop_instance_uid, outbox.c.attempts).where(
        outbox.c.job_id == row.job_id,
        outbox.c.destination_id == row.destination_id,
        outbox.c.state == OutboxState.DELIVERED,
        outbox.c.sop_instance_uid.in_(list(uids)),
    )
    return [each.id for each in session.execute(query) if row.attempts.get(each.sop_instance_uid) == each.attempts]


def unconfirmed(session: Session, now: datetime) -> dict[str, int]:
    """How many results destinations do not confirm, by AET@HOST:PORT, so that a person has to look."""
    newest = aliased(commitment)
    newest_id = select(func.max(newest.c.id)).where(
        newest.c.job_id == outbox.c.job_id, newest.c.destination_id == outbox.c.destination_id
    )
    needs_somebody = or_(
        commitment.c.rounds >= MOST_ROUNDS,
        commitment.c.state == CommitmentState.UNSUPPORTED,
        commitment.c.since < now - UNCONFIRMED_AFTER,
    )
    place = (destination.c.ae_title, destination.c.host, destination.c.port)
    query = (
        select(*place, func.count())
        .select_from(outbox.join(job, job.c.id == outbox.c.job_id).join(destination).join(commitment, OF_PAIR))
        .where(UNCONFIRMED, commitment.c.id == newest_id.scalar_subquery(), needs_somebody)
        .group_by(*place)
    )
    return {f"{ae_title}@{host}:{port}": count for ae_title, host, port, count in session.execute(query)}


def listing(session: Session, job_id: int) -> list[dict[str, Any]]:
    """What was asked about the results of a job, for people, oldest first."""
    names = ("transaction_uid", "proof", "state", "asked_at", "answered_at", "not_before", "error")
    query = (
        select(destination.c.ae_title, *(commitment.c[name] for name in names))
        .join(destination, destination.c.id == commitment.c.destination_id)
        .where(commitment.c.job_id == job_id)
        .order_by(commitment.c.id)
    )
    return [dict(each) for each in session.execute(query).mappings()]


def newest_error(session: Session, destination_id: int) -> str:
    """What went wrong when a destination was asked last; empty where nothing did."""
    query = select(commitment.c.error).where(commitment.c.destination_id == destination_id)
    return session.scalars(query.order_by(commitment.c.id.desc()).limit(1)).first() or ""
