"""What an archive was asked for before a study is read, and what came of it."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from node.catalog.instant import now_of
from node.catalog.priors import PEOPLE
from node.catalog.tables import job, patient, prefetch, study
from node.domain.job import JobKind, JobState
from node.domain.prefetch import OPEN, Fetch, Wanted, move, notice
from node.domain.prior import Person
from node.domain.study import Completeness


def want(session: Session, study_id: int, until: datetime) -> bool:
    """Have the archive asked for an earlier exam of a study's patient; False where that was done, or is being done."""
    query = select(prefetch.c.id, prefetch.c.state).where(prefetch.c.study_id == study_id)
    row = session.execute(query).one_or_none()
    if row is None:
        session.execute(insert(prefetch).values(study_id=study_id, state=Fetch.DUE, until=until))
        return True
    if row.state != Fetch.FAILED:
        return False
    again = {"state": move(Fetch.FAILED, Fetch.DUE), "until": until, "reason": "", "ended_at": None}
    session.execute(update(prefetch).where(prefetch.c.id == row.id).values(again))
    return True


def open_ones(session: Session) -> list[Wanted]:
    """What is still looked for, what came first before the rest."""
    fields = (prefetch.c.id, prefetch.c.study_id, study.c.study_instance_uid, prefetch.c.state)
    more = (study.c.study_date, prefetch.c.until, prefetch.c.prior_study_instance_uid)
    query = (
        select(*PEOPLE, *fields, *more)
        .select_from(prefetch.join(study, prefetch.c.study_id == study.c.id).join(patient))
        .where(prefetch.c.state.in_(OPEN))
        .order_by(prefetch.c.id)
    )
    return [Wanted(row[4], row[5], row[6], Fetch(row[7]), Person(*row[:4]), *row[8:]) for row in session.execute(query)]


def coming(session: Session, of: Wanted, prior_study_instance_uid: str) -> None:
    """Which study was asked for: what arrives of it is a prior from now on."""
    place = prefetch.c.id == of.id
    session.execute(update(prefetch).where(place).values(prior_study_instance_uid=prior_study_instance_uid))


def advance(session: Session, of: Wanted, then: Fetch, reason: str = "") -> None:
    """Move on; at an end the reading waits no longer."""
    state = move(of.state, then)
    ended = None if state in OPEN else now_of(session)
    values = {"state": state, "reason": reason, "ended_at": ended}
    session.execute(update(prefetch).where(prefetch.c.id == of.id).values(values))
    if ended is not None:
        waiting = (job.c.study_id == of.study_id, job.c.kind == JobKind.ANALYSIS, job.c.state == JobState.QUEUED)
        session.execute(update(job).where(*waiting, job.c.not_before > ended).values(not_before=ended))


def notice_of(session: Session, study_id: int) -> str:
    """What a report on a study says of the look for earlier exams; empty where all is well."""
    state = session.scalars(select(prefetch.c.state).where(prefetch.c.study_id == study_id)).one_or_none()
    return notice(None if state is None else Fetch(state))


def is_prior(session: Session, study_id: int) -> bool:
    """Whether a study is here because we asked for it."""
    query = (
        select(prefetch.c.id)
        .join(study, study.c.study_instance_uid == prefetch.c.prior_study_instance_uid)
        .where(study.c.id == study_id, prefetch.c.prior_study_instance_uid != "")
    )
    return session.scalars(query.limit(1)).first() is not None


def here(session: Session, study_instance_uids: Collection[str]) -> set[str]:
    """Which of these studies are here with their files, complete or not."""
    query = select(study.c.study_instance_uid).where(
        study.c.study_instance_uid.in_(list(study_instance_uids)), study.c.purged_at.is_(None)
    )
    return set(session.scalars(query))


def is_complete(session: Session, study_instance_uid: str) -> bool:
    """Whether nothing more is expected of a study."""
    query = select(study.c.state).where(study.c.study_instance_uid == study_instance_uid)
    return session.scalars(query).one_or_none() == Completeness.COMPLETE
