"""How far the audit trail is at the audit repository, and what its rows refer to."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from node.catalog import audit
from node.catalog.session import changed
from node.catalog.tables import audit as trail
from node.catalog.tables import audit_repository, destination, outbox, patient, study
from node.domain.audit import Entry

THE_ONE = 1


@dataclass(frozen=True)
class Standing:
    """Where forwarding stands."""

    seq: int = 0
    """The last row that the repository has, for all that can be known."""
    place: str = ""
    answered_at: datetime | None = None
    """When it last took something."""
    failures: int = 0
    """In a row."""
    failing_since: datetime | None = None
    error: str = ""
    """Why it last failed."""


def standing(session: Session) -> Standing:
    """Where forwarding stands; the beginning of the trail where nothing was ever forwarded."""
    columns = [audit_repository.c[name] for name in Standing.__dataclass_fields__]
    row = session.execute(select(*columns).where(audit_repository.c.id == THE_ONE)).mappings().one_or_none()
    return Standing(**row) if row else Standing()


def backlog(session: Session) -> int:
    """Rows that the repository does not have."""
    return max(0, audit.head(session).seq - standing(session).seq)


def took(session: Session, seq: int, place: str, now: datetime) -> None:
    """The repository has everything up to a row."""
    _keep(session, seq=seq, place=place, answered_at=now, failures=0, failing_since=None, error="")


def failed(session: Session, place: str, error: str, now: datetime) -> None:
    """It could not be reached, or did not take what was sent."""
    before = standing(session)
    since = before.failing_since or now
    _keep(session, place=place, failures=before.failures + 1, failing_since=since, error=error)


def configure(session: Session, place: str) -> None:
    """Where it is now; empty: nowhere. What another one did not take is no failure of this one."""
    before = standing(session)
    if before.place != place:
        _keep(session, place=place, failures=0, failing_since=None, error="")


def waiting(session: Session) -> dict[str, int]:
    """By place of the repository, where there is one: rows that it does not have."""
    place = standing(session).place
    return {place: backlog(session)} if place else {}


def answers(session: Session, place: str, now: datetime) -> None:
    """It is there, and there is nothing to send."""
    _keep(session, place=place, answered_at=now, failures=0, failing_since=None, error="")


def _keep(session: Session, **values: object) -> None:
    row = update(audit_repository).where(audit_repository.c.id == THE_ONE)
    if changed(session, row.values(**values)) == 0:
        session.execute(insert(audit_repository).values(id=THE_ONE, **values))


def rows_after(session: Session, seq: int, most: int) -> list[Entry]:
    """The next rows of the trail, in order."""
    rows = session.execute(select(trail).where(trail.c.seq > seq).order_by(trail.c.seq).limit(most)).mappings()
    return [Entry(**row) for row in rows]


def patient_ids(session: Session, study_uids: Collection[str]) -> dict[str, str]:
    """Patient ID of each study that has one."""
    query = (
        select(study.c.study_instance_uid, func.trim(patient.c.patient_id))
        .join(patient, patient.c.id == study.c.patient_id)
        .where(study.c.study_instance_uid.in_(study_uids))
    )
    return {uid: patient_id for uid, patient_id in session.execute(query) if patient_id}


def receivers(session: Session, job_ids: Collection[int]) -> dict[int, list[tuple[str, str]]]:
    """(AE title, HOST:PORT) of who gets results of each job."""
    query = (
        select(outbox.c.job_id, destination.c.ae_title, destination.c.host, destination.c.port)
        .join(destination, destination.c.id == outbox.c.destination_id)
        .where(outbox.c.job_id.in_(job_ids))
        .distinct()
        .order_by(outbox.c.job_id, destination.c.ae_title)
    )
    found: dict[int, list[tuple[str, str]]] = {}
    for job_id, ae_title, host, port in session.execute(query):
        found.setdefault(job_id, []).append((ae_title, f"{host}:{port}"))
    return found
