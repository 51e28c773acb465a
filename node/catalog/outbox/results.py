"""Encoded results of a job, as they are on disk."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from node.catalog.tables import job, outbox, result
from node.domain.delivery import ResultKind


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
    refers_to: tuple[str, ...] = ()
    """SOP Instance UIDs of other results that a destination must have before this one."""


def keep_results(session: Session, job_id: int, results: Iterable[StoredResult]) -> None:
    """Enter the encoded results of a job, every rung of each."""
    if rows := [{"job_id": job_id, **vars(each), "refers_to": list(each.refers_to)} for each in results]:
        session.execute(insert(result), rows)


def results_of_job(session: Session, job_id: int) -> list[StoredResult]:
    """Every rung of every result of a job."""
    columns = [result.c[name] for name in StoredResult.__dataclass_fields__]
    query = select(*columns).where(result.c.job_id == job_id).order_by(result.c.kind, result.c.rung)
    return [
        StoredResult(**{**row, "kind": ResultKind(row["kind"]), "refers_to": tuple(row["refers_to"])})
        for row in session.execute(query).mappings()
    ]


def reports_sent(session: Session, job_id: int) -> list[StoredResult]:
    """What a successor of a job names: the newest report up to this job's that was sent somewhere, in the encodings
    that were.

    With the job row of the successor this is fixed: what was not begun by then was cancelled in that transaction.
    """
    begun = (outbox.c.kind == ResultKind.SR) & (outbox.c.attempts > 0)
    of_study = job.c.study_id == select(job.c.study_id).where(job.c.id == job_id).scalar_subquery()
    query = (
        select(outbox.c.job_id, outbox.c.sop_instance_uid)
        .join(job, job.c.id == outbox.c.job_id)
        .where(of_study, outbox.c.job_id <= job_id, begun)
    )
    sent = list(session.execute(query))
    newest, uids = max((row.job_id for row in sent), default=0), {row.sop_instance_uid for row in sent}
    return [each for each in results_of_job(session, newest) if each.sop_instance_uid in uids]


def are_purged(session: Session, job_id: int) -> bool:
    """Whether retention removed the files of a job's results."""
    purged = select(result.c.id).where(result.c.job_id == job_id, result.c.purged_at.is_not(None))
    return session.scalars(purged.limit(1)).first() is not None


def report_uid_of_job(session: Session, job_id: int) -> str:
    """SOP Instance UID of the first rung of a job's report: what a successor's identity depends on."""
    query = select(result.c.sop_instance_uid).where(
        result.c.job_id == job_id, result.c.kind == ResultKind.SR, result.c.rung == 0
    )
    return str(session.execute(query).scalar_one())
