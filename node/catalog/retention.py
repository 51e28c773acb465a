"""What retention may remove, and what it removed: rows stay, so that what comes again is known."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, not_, select, update
from sqlalchemy.orm import Session

from node.catalog import forwards, jobs
from node.catalog.outbox import MISSED, UNCONFIRMED
from node.catalog.session import changed
from node.catalog.studies import lock, study_uid
from node.catalog.tables import destination, forward, instance, job, outbox, result, series, study, worker
from node.domain.delivery import OutboxState
from node.domain.forwarding import ForwardState
from node.domain.job import JobState
from node.domain.retention import Finished
from node.domain.study import Completeness, VersionKind

WORKING = (JobState.QUEUED, JobState.RUNNING)
WAITING = (OutboxState.HELD, OutboxState.DUE)


@dataclass(frozen=True)
class Purged:
    """What of a study is to be removed now that its rows say that it is gone."""

    images: tuple[str, ...]
    """Paths, relative to the data directory."""
    results: tuple[str, ...]
    jobs: tuple[int, ...]
    """What their results broke rules with, in quarantine, goes too."""
    size: int
    """Bytes of the images."""


def _a_job_is(*states: JobState) -> ColumnElement[bool]:
    """Of a study; one in shadow only while it runs: nobody waits for it, and it may wait for ever."""
    counts = jobs.runs(shadow=False) | (job.c.state == JobState.RUNNING)
    return exists().where(job.c.study_id == study.c.id, job.c.state.in_(states), counts)


def _a_result_is(*states: OutboxState) -> ColumnElement[bool]:
    return exists().where(outbox.c.job_id == job.c.id, job.c.study_id == study.c.id, outbox.c.state.in_(states))


def _an_image_is(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Of a study: some image of it stands so with a destination."""
    inside = (forward.c.study_id == study.c.id) & (instance.c.id == forward.c.instance_id)
    return exists().where(inside, forward.c.destination_id == destination.c.id, condition)


UNDER_WAY = {
    "it is still being received": study.c.state != Completeness.COMPLETE,
    "it has no outcome yet": study.c.outcome == "",
    "a job of it waits or runs": _a_job_is(*WORKING),
    "a result of it is still to be delivered": _a_result_is(*WAITING),
    "an image of it is still to be forwarded": exists().where(
        forward.c.study_id == study.c.id, forward.c.state == ForwardState.DUE
    ),
}
"""Why a study cannot go: in no case."""
UNDECIDED = {
    "images of it came twice with different content": study.c.conflicts > 0,
    "a job of it is dead": _a_job_is(JobState.DEAD),
    "a destination refused a result of it": exists().where(
        outbox.c.job_id == job.c.id, job.c.study_id == study.c.id, outbox.c.destination_id == destination.c.id, MISSED
    ),
    "a destination has not confirmed yet that it has a result of it": exists().where(
        outbox.c.job_id == job.c.id,
        job.c.study_id == study.c.id,
        outbox.c.destination_id == destination.c.id,
        UNCONFIRMED,
    ),
    "a destination refused an image of it": _an_image_is(forwards.MISSED),
    "a destination has not confirmed yet that it has an image of it": _an_image_is(forwards.UNCONFIRMED),
}
"""Why it cannot go before a person has looked at it."""


def _may_go(*reasons: dict[str, Any]) -> ColumnElement[bool]:
    return and_(*(not_(condition) for each in reasons for condition in each.values()))


def hindrance(session: Session, study_id: int, *, decided: bool) -> str | None:
    """Why the files of a study cannot be removed; with `decided` a person has looked at what needs one."""
    for sentence, condition in (UNDER_WAY if decided else UNDER_WAY | UNDECIDED).items():
        if session.execute(select(study.c.id).where(study.c.id == study_id, condition)).first():
            return sentence
    return None


def finished(session: Session, limit: int) -> list[Finished]:
    """Studies whose files may go, those first whose last image came first."""
    size = select(func.coalesce(func.sum(instance.c.size), 0)).select_from(instance.join(series))
    size = size.where(series.c.study_id == study.c.id, instance.c.purged_at.is_(None))
    query = (
        select(study.c.id, study.c.study_instance_uid, study.c.last_received_at, size.scalar_subquery().label("size"))
        .where(study.c.purged_at.is_(None), _may_go(UNDER_WAY, UNDECIDED))
        .order_by(study.c.last_received_at, study.c.id)
        .limit(limit)
    )
    return [Finished(row.id, row.study_instance_uid, row.last_received_at, int(row.size)) for row in
            session.execute(query)]  # fmt: skip


def purge(session: Session, study_id: int, now: datetime, *, decided: bool) -> Purged | None:
    """Say that the files of a study are gone, before they are. None: it may not go (any more).

    With `decided` no version waits for an operator any more: what counts does, should it come again.
    """
    lock(session, study_uid(session, study_id))  # who makes something of it due meanwhile finds no files, or is seen
    jobs.lock(session, study_id)  # what waits in shadow is not begun meanwhile
    reasons = (UNDER_WAY,) if decided else (UNDER_WAY, UNDECIDED)
    place = and_(study.c.id == study_id, _may_go(*reasons))
    if changed(session, update(study).where(place).values(purged_at=now, conflicts=0)) != 1:
        return None
    jobs.withdraw(session, study_id)
    of_study = instance.c.series_id.in_(select(series.c.id).where(series.c.study_id == study_id))
    waiting = instance.c.version.in_((VersionKind.DEMOGRAPHICS, VersionKind.CONFLICT))
    session.execute(update(instance).where(of_study, waiting).values(version=VersionKind.REJECTED))
    images = _here(instance, select(series.c.id).where(series.c.study_id == study_id), instance.c.series_id)
    job_ids = tuple(session.scalars(select(job.c.id).where(job.c.study_id == study_id)))
    results = _here(result, job_ids, result.c.job_id)
    rows = session.execute(select(instance.c.path, instance.c.size).where(images)).all()
    paths = tuple(session.scalars(select(result.c.path).where(results)))
    session.execute(update(instance).where(images).values(purged_at=now))
    session.execute(update(result).where(results).values(purged_at=now))
    return Purged(tuple(row.path for row in rows), paths, job_ids, sum(row.size for row in rows))


def _here(table: Any, owners: Any, owner: Any) -> ColumnElement[bool]:
    return and_(owner.in_(owners), table.c.purged_at.is_(None))


def anything_purged(session: Session) -> bool:
    """Whether files were ever removed."""
    return session.scalars(select(instance.c.id).where(instance.c.purged_at.is_not(None)).limit(1)).first() is not None


def purged_among(session: Session, paths: Iterable[str]) -> dict[str, datetime]:
    """Which of these files of the spool should be gone, and since when."""
    query = select(instance.c.path, instance.c.purged_at).where(
        instance.c.path.in_(list(paths)), instance.c.purged_at.is_not(None)
    )
    return dict(session.execute(query).all())


def purged_results(session: Session, job_ids: Iterable[int]) -> list[str]:
    """Files of these jobs' results that should be gone."""
    query = select(result.c.path).where(result.c.job_id.in_(list(job_ids)), result.c.purged_at.is_not(None))
    return list(session.scalars(query))


def jobs_of_purged(session: Session, job_ids: Iterable[int]) -> set[int]:
    """Which of these jobs are of studies whose files should be gone."""
    query = select(job.c.id).join(study, study.c.id == job.c.study_id).where(study.c.purged_at.is_not(None))
    return set(session.scalars(query.where(job.c.id.in_(list(job_ids)))))


def forget_workers(session: Session, silent_since: datetime) -> None:
    """Drop the rows of workers that were killed."""
    session.execute(worker.delete().where(worker.c.seen_at < silent_since))
