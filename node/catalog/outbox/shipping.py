"""What is due at a destination, in which order, and what came of it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, case, or_, select, update
from sqlalchemy.orm import Session, aliased

from node.catalog.outbox.holding import UNSENT
from node.catalog.session import changed
from node.catalog.tables import destination, job, outbox, result, study
from node.domain.delivery import KINDS, SENDING_ORDER, MessageKind, OutboxState, Rung, Shipment, move
from node.domain.job import PIPELINE

STORED = (OutboxState.DELIVERED, OutboxState.COMMITTED)
"""The destination has it."""


def _order(table: Any) -> Any:
    return case({str(kind): place for place, kind in enumerate((*SENDING_ORDER, *MessageKind))}, value=table.c.kind)


def next_shipment(session: Session, destination_id: int, now: datetime) -> Shipment | None:
    """The next due result for a destination: nothing of the same study that comes before it is still under way."""
    due = _due(destination_id).where(outbox.c.not_before <= now)
    return _first(session, due.order_by(job.c.turn_at, outbox.c.job_id, _order(outbox)))


def trial_shipment(session: Session, destination_id: int) -> Shipment | None:
    """What a destination that failed is tried with: whatever its own wait, the result that failed least often.

    So one result that the destination cannot digest is not what all others wait for.
    """
    return _first(session, _due(destination_id).order_by(outbox.c.failures, outbox.c.job_id, _order(outbox)))


def _due(destination_id: int) -> Select[Any]:
    earlier, earlier_job = aliased(outbox), aliased(job)
    before = or_(
        earlier.c.job_id < outbox.c.job_id,
        (earlier.c.job_id == outbox.c.job_id) & (_order(earlier) < _order(outbox)),
    )
    blocked = (
        select(earlier.c.id)
        .join(earlier_job, earlier_job.c.id == earlier.c.job_id)
        .where(
            earlier.c.destination_id == outbox.c.destination_id,
            earlier_job.c.study_id == job.c.study_id,
            earlier.c.state.in_(UNSENT),
            before,
        )
        .exists()
    )
    return (
        select(outbox, study.c.study_instance_uid)
        .join(job, job.c.id == outbox.c.job_id)
        .join(study, study.c.id == job.c.study_id)
        .where(
            outbox.c.destination_id == destination_id,
            outbox.c.state == OutboxState.DUE,
            job.c.pipeline == PIPELINE,  # the last door that a shadow reading cannot pass, whoever put it here
            ~blocked,
        )
    )


def _first(session: Session, query: Select[Any]) -> Shipment | None:
    row = session.execute(query.limit(1)).mappings().one_or_none()
    return None if row is None else _shipment(session, row)


def _shipment(session: Session, row: Any) -> Shipment:
    query = (
        select(result.c.sop_class_uid, result.c.sop_instance_uid, result.c.path, result.c.refers_to)
        .where(result.c.job_id == row["job_id"], result.c.kind == row["kind"])
        .order_by(result.c.rung)
    )
    rows = session.execute(query)
    rungs = tuple(Rung(sop_class, uid, path, frozenset(needs)) for sop_class, uid, path, needs in rows)
    has = select(outbox.c.sop_instance_uid).where(
        outbox.c.job_id == row["job_id"], outbox.c.destination_id == row["destination_id"], outbox.c.state.in_(STORED)
    )
    return Shipment(
        row["id"],
        KINDS[row["kind"]],
        row["study_instance_uid"],
        row["job_id"],
        row["failures"],
        row["sop_instance_uid"],
        rungs,
        frozenset(session.scalars(has)),
    )


def begin_attempt(session: Session, outbox_id: int, sop_instance_uid: str) -> bool:
    """Fix the rung and count the attempt, before the first byte is sent. False: it is not due any more."""
    begun = changed(
        session,
        update(outbox)
        .where(outbox.c.id == outbox_id, outbox.c.state == OutboxState.DUE)
        .values(sop_instance_uid=sop_instance_uid, attempts=outbox.c.attempts + 1),
    )
    return begun == 1


def delivered(session: Session, outbox_id: int, status: int, now: datetime) -> None:
    """The destination says that it is stored."""
    session.execute(
        update(outbox)
        .where(outbox.c.id == outbox_id)
        .values(state=OutboxState.DELIVERED, status=status, error="", delivered_at=now)
    )


def refused(session: Session, outbox_id: int, status: int | None, error: str) -> None:
    """The destination will never take it."""
    session.execute(
        update(outbox).where(outbox.c.id == outbox_id).values(state=OutboxState.REFUSED, status=status, error=error)
    )


def postponed(session: Session, outbox_id: int, status: int | None, error: str, not_before: datetime) -> None:
    """It did not work this time."""
    session.execute(
        update(outbox)
        .where(outbox.c.id == outbox_id)
        .values(status=status, error=error, not_before=not_before, failures=outbox.c.failures + 1)
    )


def end_waits(session: Session, destination_id: int, now: datetime) -> None:
    """The destination is there again: what waits for it after a failure is due at once."""
    session.execute(
        update(outbox)
        .where(
            outbox.c.destination_id == destination_id,
            outbox.c.state == OutboxState.DUE,
            outbox.c.not_before > now,
        )
        .values(not_before=now)
    )


def send_again(
    session: Session, job_id: int, states: Sequence[OutboxState], now: datetime, destination_id: int | None = None
) -> int:
    """Make results of a job due again at destinations in use, as the instance fixed for each; returns how many."""
    for state in states:
        move(state, OutboxState.DUE)
    in_use = outbox.c.destination_id.in_(select(destination.c.id).where(destination.c.enabled == 1))
    rows = update(outbox).where(outbox.c.job_id == job_id, outbox.c.state.in_(states), in_use)
    if destination_id is not None:
        rows = rows.where(outbox.c.destination_id == destination_id)
    return changed(
        session,
        rows.values(state=OutboxState.DUE, not_before=now, failures=0, status=None, error="", delivered_at=None),
    )


def committed(session: Session, outbox_ids: Sequence[int]) -> None:
    """The destination confirmed that it has them."""
    move(OutboxState.DELIVERED, OutboxState.COMMITTED)
    session.execute(update(outbox).where(outbox.c.id.in_(outbox_ids)).values(state=OutboxState.COMMITTED, error=""))


def lost(session: Session, outbox_ids: Sequence[int], error: str, now: datetime) -> None:
    """The destination does not have them after all: they are due again, as the instance fixed for each."""
    move(OutboxState.DELIVERED, OutboxState.DUE)
    again = {"state": OutboxState.DUE, "not_before": now, "failures": 0, "status": None, "delivered_at": None}
    session.execute(update(outbox).where(outbox.c.id.in_(outbox_ids)).values(error=error, **again))
