"""Results and where each of them stands with each destination."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, func, insert, or_, select, update
from sqlalchemy.orm import Session, aliased

from node.catalog.session import changed
from node.catalog.tables import destination, job, outbox, result, study
from node.domain.delivery import SENDING_ORDER, OutboxState, ResultKind, Rung, Shipment
from node.domain.study import Completeness

UNSENT = (OutboxState.HELD, OutboxState.DUE)
SEEN = outbox.c.state != OutboxState.CANCELLED


@dataclass(frozen=True)
class StoredResult:
    """One encoded result on disk."""

    kind: ResultKind
    rung: int
    """0 is tried first."""
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    path: str
    sha256: str


def keep_results(session: Session, job_id: int, results: Iterable[StoredResult]) -> None:
    """Enter the encoded results of a job, every rung of each."""
    if rows := [{"job_id": job_id, **each.__dict__} for each in results]:
        session.execute(insert(result), rows)


def hold(session: Session, job_id: int, kinds: Iterable[ResultKind], notice: bool, now: datetime) -> None:
    """Put results into the outbox of every destination that wants them, held until the study is complete."""
    rows = [
        {
            "job_id": job_id,
            "destination_id": each.id,
            "kind": kind,
            "state": OutboxState.HELD,
            "created_at": now,
            "not_before": now,
        }
        for each in session.execute(select(destination).where(destination.c.enabled == 1))
        for kind in kinds
        if kind in each.results and (each.not_analysed or not notice)
    ]
    if rows:
        session.execute(insert(outbox), rows)


def results_of_job(session: Session, job_id: int) -> list[StoredResult]:
    """Every rung of every result of a job."""
    columns = [result.c[name] for name in StoredResult.__dataclass_fields__]
    query = select(*columns).where(result.c.job_id == job_id).order_by(result.c.kind, result.c.rung)
    return [StoredResult(**{**row, "kind": ResultKind(row["kind"])}) for row in session.execute(query).mappings()]


def report_uid_of_job(session: Session, job_id: int) -> str:
    """SOP Instance UID of the first rung of a job's report: what a successor's identity depends on."""
    query = select(result.c.sop_instance_uid).where(
        result.c.job_id == job_id, result.c.kind == ResultKind.SR, result.c.rung == 0
    )
    return str(session.execute(query).scalar_one())


def cancel_unsent(session: Session, job_id: int) -> bool:
    """A newer result takes the place of this job's: what nobody has seen stays here. True when that is all of it."""
    session.execute(
        update(outbox)
        .where(outbox.c.job_id == job_id, outbox.c.state.in_(UNSENT), outbox.c.attempts == 0)
        .values(state=OutboxState.CANCELLED)
    )
    left = session.scalars(select(outbox.c.id).where(outbox.c.job_id == job_id, SEEN).limit(1))
    return left.first() is None


def newest_job_seen(session: Session, study_id: int) -> int | None:
    """The newest job of a study of whose results some destination may have seen one; ask after `cancel_unsent`."""
    query = (
        select(func.max(outbox.c.job_id)).join(job, job.c.id == outbox.c.job_id).where(job.c.study_id == study_id, SEEN)
    )
    return session.execute(query).scalar_one_or_none()


def is_held(session: Session, job_id: int) -> bool:
    """Whether results of a job wait for their study to be complete."""
    held = (outbox.c.job_id == job_id) & (outbox.c.state == OutboxState.HELD)
    return session.scalars(select(outbox.c.id).where(held).limit(1)).first() is not None


def jobs_to_release(session: Session) -> list[tuple[int, str]]:
    """(job id, Study Instance UID) of jobs with held results whose study is complete."""
    query = (
        select(outbox.c.job_id, study.c.study_instance_uid)
        .join(job, job.c.id == outbox.c.job_id)
        .join(study, study.c.id == job.c.study_id)
        .where(outbox.c.state == OutboxState.HELD, study.c.state == Completeness.COMPLETE)
        .distinct()
    )
    return list(session.execute(query))


def release(session: Session, job_id: int, now: datetime) -> None:
    """Let the held results of a job go."""
    session.execute(
        update(outbox)
        .where(outbox.c.job_id == job_id, outbox.c.state == OutboxState.HELD)
        .values(state=OutboxState.DUE, not_before=now)
    )


def _order(table: Any) -> Any:
    return case({str(kind): place for place, kind in enumerate(SENDING_ORDER)}, value=table.c.kind)


def next_shipment(session: Session, destination_id: int, now: datetime) -> Shipment | None:
    """The next due result for a destination: nothing of the same study that comes before it is still under way."""
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
    query = (
        select(outbox, study.c.study_instance_uid)
        .join(job, job.c.id == outbox.c.job_id)
        .join(study, study.c.id == job.c.study_id)
        .where(
            outbox.c.destination_id == destination_id,
            outbox.c.state == OutboxState.DUE,
            outbox.c.not_before <= now,
            ~blocked,
        )
        .order_by(job.c.priority.desc(), outbox.c.job_id, _order(outbox))
        .limit(1)
    )
    row = session.execute(query).mappings().one_or_none()
    return None if row is None else _shipment(session, row)


def _shipment(session: Session, row: Any) -> Shipment:
    query = (
        select(result.c.sop_class_uid, result.c.sop_instance_uid, result.c.path)
        .where(result.c.job_id == row["job_id"], result.c.kind == row["kind"])
        .order_by(result.c.rung)
    )
    rungs = tuple(Rung(*rung) for rung in session.execute(query))
    return Shipment(
        row["id"],
        ResultKind(row["kind"]),
        row["study_instance_uid"],
        row["job_id"],
        row["failures"],
        row["sop_instance_uid"],
        rungs,
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


def count_by_state(session: Session) -> dict[str, int]:
    """How many results stand where, over all destinations."""
    rows = session.execute(select(outbox.c.state, func.count()).group_by(outbox.c.state))
    return dict(rows.all())


def states_of_job(session: Session, job_id: int) -> dict[str, int]:
    """How many results of a job stand where."""
    rows = session.execute(
        select(outbox.c.state, func.count()).where(outbox.c.job_id == job_id).group_by(outbox.c.state)
    )
    return dict(rows.all())


def listing(session: Session, job_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Where the results of some jobs stand, for people."""
    query = (
        select(outbox, destination.c.ae_title)
        .join(destination, destination.c.id == outbox.c.destination_id)
        .where(outbox.c.job_id.in_(job_ids))
        .order_by(outbox.c.id)
    )
    return [dict(row) for row in session.execute(query).mappings()]
