"""The rows of steps: one for each reading, made with its job, and one for a study that may get one."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import exists, insert, select, update
from sqlalchemy.orm import Session

from node.catalog import installation
from node.catalog.tables import instance, job, series, study, workitem
from node.domain.job import JobKind, JobState
from node.domain.procedure import WAITING, Standing, StepState
from node.domain.study import Completeness
from node.domain.uids import derived_uid

CT = "1.2.840.10008.5.1.4.1.1.2"
"""CT Image Storage; its kin begin with the same."""
OPEN = (StepState.SCHEDULED, StepState.IN_PROGRESS)


@dataclass(frozen=True)
class Row:
    """What is fixed of a step."""

    id: int
    study_id: int
    job_id: int | None


def of_uid(session: Session, uid: str) -> Row | None:
    """The row of a step."""
    query = select(workitem.c.id, workitem.c.study_id, workitem.c.job_id).where(workitem.c.sop_instance_uid == uid)
    row = session.execute(query).one_or_none()
    return Row(*row) if row else None


def follow(session: Session, study_id: int, job_id: int, kind: JobKind, now: datetime) -> None:
    """A study has a new job: it takes the step that waits for one, or begins another.

    A notice of a study whose reading has a step already only tells what that step says.
    """
    waiting = select(workitem.c.id).where(
        workitem.c.study_id == study_id, workitem.c.job_id.is_(None), workitem.c.state.in_(OPEN)
    )
    row_id = session.scalars(waiting.order_by(workitem.c.id.desc()).limit(1)).first()
    if row_id is not None:
        session.execute(update(workitem).where(workitem.c.id == row_id).values(job_id=job_id))
    elif kind is JobKind.ANALYSIS or _newest(session, study_id) is None:
        _begin(session, study_id, _uid(session, study_id, str(job_id)), now, job_id)


def await_reading(session: Session, study_id: int, now: datetime) -> None:
    """Images of a study come: there may be something to read."""
    _begin(session, study_id, _uid(session, study_id, f"waiting {now.isoformat()}"), now, None)


def _uid(session: Session, study_id: int, name: str) -> str:
    """Derived from what it is about, here and nowhere else: two nodes may read one study."""
    of_study = select(study.c.study_instance_uid, study.c.revision).where(study.c.id == study_id)
    uid, revision = session.execute(of_study).one()
    return derived_uid("nodus workitem", installation.known(session) or "", uid, str(revision), name)


def _begin(session: Session, study_id: int, uid: str, now: datetime, job_id: int | None) -> None:
    session.execute(
        insert(workitem).values(
            sop_instance_uid=uid,
            study_id=study_id,
            job_id=job_id,
            replaces=_newest(session, study_id),
            state=WAITING.state,
            ready=int(job_id is not None),
            created_at=now,
            changed_at=now,
        )
    )


def _newest(session: Session, study_id: int) -> str | None:
    query = select(workitem.c.sop_instance_uid).where(workitem.c.study_id == study_id)
    return session.scalars(query.order_by(workitem.c.id.desc()).limit(1)).first()


def waiting_studies(session: Session) -> list[int]:
    """Studies that come, hold CT, have no job that stands, and no step that waits for one."""
    has_ct = exists().where(
        instance.c.series_id == series.c.id, series.c.study_id == study.c.id, instance.c.sop_class_uid.startswith(CT)
    )
    stands = exists().where(job.c.study_id == study.c.id, job.c.state != JobState.SUPERSEDED)
    waits = exists().where(workitem.c.study_id == study.c.id, workitem.c.state.in_(OPEN))
    query = select(study.c.id).where(study.c.state == Completeness.RECEIVING, has_ct, ~stands, ~waits)
    return list(session.scalars(query.order_by(study.c.id)))


def record(session: Session, row_id: int, standing: Standing, now: datetime) -> bool:
    """Where a step stands, as its subscribers are told; False when it had ended meanwhile."""
    still_open = (workitem.c.id == row_id) & workitem.c.state.in_(OPEN)
    values = {
        "state": standing.state,
        "ready": int(standing.ready),
        "percent": standing.percent,
        "text": standing.text,
        "reason": standing.reason.value if standing.reason else "",
        "why": standing.why,
    }
    taken = update(workitem).where(still_open).values(**values, changed_at=now).returning(workitem.c.id)
    return session.scalars(taken).first() is not None


def order(session: Session, job_id: int, uid: str, given: Mapping[str, str], by: str) -> str:
    """The step of a job that somebody ordered, under the UID that it chose, or ours; returns that."""
    values = {"given": dict(given), "ordered_by": by, **({"sop_instance_uid": uid} if uid else {})}
    ordered = update(workitem).where(workitem.c.job_id == job_id).values(**values)
    return str(session.scalars(ordered.returning(workitem.c.sop_instance_uid)).one())


def set_given(session: Session, row_id: int, given: Mapping[str, str], now: datetime) -> None:
    """What the orderer says of a step, anew."""
    session.execute(update(workitem).where(workitem.c.id == row_id).values(given=dict(given), changed_at=now))
