"""The rows of jobs: made with a revision, moved by the table of moves, listed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, insert, select, update
from sqlalchemy.orm import Session

from node.catalog.instant import now_of
from node.catalog.session import changed
from node.catalog.tables import job, series, study
from node.domain.audit import Detail
from node.domain.job import PIPELINE, Failure, JobKind, JobState, economy_after, model_in_shadow, move, turn
from node.errors import CatalogError

NOT_LISTED = ("token", "digest", "weights_sha256", "guidance", "read_by", "comparison")
ACTIVE = (JobState.QUEUED, JobState.RUNNING, JobState.DONE, JobState.DEAD, JobState.CANCELLED)
"""A job in one of these stands for its study; the others gave way."""


@dataclass(frozen=True)
class Job:
    """A row, as the flow and the workers see it."""

    id: int
    study_id: int
    study_instance_uid: str
    series_id: int | None
    revision: int
    pipeline: str
    kind: JobKind
    state: JobState
    priority: int
    digest: str
    predecessor_job_id: int | None
    attempts: int
    economy: int
    reasons: tuple[str, ...]
    created_at: datetime

    @property
    def shadow(self) -> str:
        """The model that this job tries beside the reading; empty for the reading itself."""
        return model_in_shadow(self.pipeline)


_FIELDS = [job.c[name] for name in Job.__dataclass_fields__ if name != "study_instance_uid"]
JOB = select(*_FIELDS, study.c.study_instance_uid).join(study, study.c.id == job.c.study_id)
"""Selects what `of_row` reads."""


def of_row(row: Any) -> Job:
    """A row of JOB."""
    values = {**row, "kind": JobKind(row["kind"]), "state": JobState(row["state"]), "reasons": tuple(row["reasons"])}
    return Job(**values)


def named(of: Job) -> Detail:
    """What audit rows about a job add where it runs in shadow."""
    return {"shadow": of.shadow} if of.shadow else {}


def runs(shadow: bool) -> ColumnElement[bool]:
    """Condition: a job is a shadow reading, or is none."""
    return job.c.pipeline != PIPELINE if shadow else job.c.pipeline == PIPELINE


def get(session: Session, job_id: int) -> Job:
    """One job. Raises CatalogError when there is none."""
    row = session.execute(JOB.where(job.c.id == job_id)).mappings().one_or_none()
    if row is None:
        raise CatalogError(f"There is no job {job_id}.")
    return of_row(row)


def lock(session: Session, study_id: int) -> None:
    """Let nobody else move the jobs of a study in this transaction. After `studies.lock`, before changing the study."""
    query = select(job.c.id).where(job.c.study_id == study_id, job.c.state.in_(ACTIVE)).order_by(job.c.id)
    session.execute(query.with_for_update(key_share=True))


def standing(session: Session, study_id: int) -> list[Job]:
    """The jobs of a study that did not give way, oldest first: one, and dead or cancelled ones before it.

    No shadow readings: they say nothing of how a study ends.
    """
    query = JOB.where(job.c.study_id == study_id, job.c.state.in_(ACTIVE), runs(shadow=False)).order_by(job.c.id)
    return [of_row(row) for row in session.execute(query).mappings()]


def current(session: Session, study_id: int) -> Job | None:
    """The job that stands for a study now: the newest that did not give way."""
    return next(reversed(standing(session, study_id)), None)


@dataclass(frozen=True)
class Dead:
    """A dead job, as a person hears of it."""

    id: int
    kind: JobKind
    failure: str
    failure_text: str
    study_instance_uid: str


def dead(session: Session, *, shadow: bool = False) -> list[Dead]:
    """The dead jobs that need a person, oldest first.

    None of a study whose files somebody removed all the same: until they come again, nothing can be done for it.
    """
    needed = (job.c.state == JobState.DEAD) & study.c.purged_at.is_(None) & runs(shadow)
    query = select(job.c.id, job.c.kind, job.c.failure, job.c.failure_text, study.c.study_instance_uid)
    rows = session.execute(query.join(study, study.c.id == job.c.study_id).where(needed).order_by(job.c.id))
    return [Dead(job_id, JobKind(kind), *rest) for job_id, kind, *rest in rows]


def create(session: Session, now: datetime, **values: Any) -> int:
    """Open a new revision of a study with one queued job in it; returns its id."""
    study_id = values["study_id"]
    session.execute(update(study).where(study.c.id == study_id).values(revision=study.c.revision + 1))
    revision = session.execute(select(study.c.revision).where(study.c.id == study_id)).scalar_one()
    return add(session, now, revision=revision, **values)


def add(session: Session, now: datetime, **values: Any) -> int:
    """One more queued job in a revision that is there; returns its id. `wait`: it is not begun before that is over."""
    wait = values.pop("wait", timedelta(0))
    row = {"state": JobState.QUEUED, "created_at": now, **values}
    row |= {"not_before": now_of(session) + wait, "turn_at": turn(now, row.get("priority", 0))}
    return int(session.execute(insert(job).values(**row).returning(job.c.id)).scalar_one())


def prioritise(session: Session, of: Job, priority: int) -> None:
    """Let a job go earlier or later than it would."""
    values = {"priority": priority, "turn_at": turn(of.created_at, priority)}
    session.execute(update(job).where(job.c.id == of.id).values(**values))


def change_state(session: Session, of: Job, then: JobState, **values: Any) -> None:
    """Move a job by the table of moves. Raises IllegalMove, or CatalogError when it has moved meanwhile."""
    move(of.state, then)
    done = changed(
        session, update(job).where(job.c.id == of.id, job.c.state == of.state).values(state=then, token="", **values)
    )
    if done != 1:
        raise CatalogError(f"Job {of.id} has moved on.")


def try_again(session: Session, of: Job, failure: Failure, text: str, not_before: datetime) -> None:
    """An attempt failed; there will be another, more sparing with memory where that may help."""
    change_state(
        session,
        of,
        JobState.QUEUED,
        failure=failure,
        failure_text=text,
        economy=economy_after(failure, of.economy),
        not_before=not_before,
        published_at=None,
        stage="",
        progress=0,
    )


def bury(session: Session, of: Job, failure: Failure, text: str, now: datetime) -> None:
    """The last attempt failed."""
    change_state(session, of, JobState.DEAD, failure=failure, failure_text=text, finished_at=now, stage="dead")


def count_by_state(session: Session, *, shadow: bool = False) -> dict[str, int]:
    """How many jobs stand where."""
    rows = session.execute(select(job.c.state, func.count()).where(runs(shadow)).group_by(job.c.state))
    return dict(rows.all())


def listing(session: Session, state: str = "", limit: int = 200) -> list[dict[str, Any]]:
    """Jobs for people, newest first; names no patient."""
    columns = [column for column in job.c if column.name not in NOT_LISTED]
    query = (
        select(*columns, study.c.study_instance_uid, series.c.series_instance_uid)
        .join(study, study.c.id == job.c.study_id)
        .outerjoin(series, series.c.id == job.c.series_id)
        .order_by(job.c.id.desc())
        .limit(limit)
    )
    if state:
        query = query.where(job.c.state == state)
    return [dict(row) for row in session.execute(query).mappings()]
