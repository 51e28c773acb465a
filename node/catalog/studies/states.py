"""Where series and studies stand: open, complete and why, how they can be read, how they ended."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import and_, case, exists, func, not_, select, update
from sqlalchemy.orm import Session

from node.catalog.session import changed
from node.catalog.tables import instance, patient, series, study
from node.domain.completeness import Evidence, Grounds
from node.domain.eligibility import Eligibility, Level
from node.domain.study import Completeness, OpenSeries, OpenStudy, VersionKind

SUBJECT = ("study_date", "study_time", "accession_number", "study_id", "study_description", "referring_physician_name")

SOUND = (Evidence.GAPLESS, Evidence.COUNTED)
"""Evidence of series that needs no long quiet of their study."""


def open_series(session: Session) -> list[OpenSeries]:
    """Series of which more may come, the quietest first."""
    fields = OpenSeries.__dataclass_fields__
    query = select(*(series.c[name] for name in fields)).where(series.c.state == Completeness.RECEIVING)
    query = query.order_by(series.c.last_received_at, series.c.id)
    return [OpenSeries(**row) for row in session.execute(query).mappings()]


def open_studies(session: Session) -> list[OpenStudy]:
    """Studies of which more may come, the quietest first."""
    still_open = func.sum(case((series.c.state == Completeness.RECEIVING, 1), else_=0))
    not_gapless = func.sum(case((series.c.evidence.not_in(SOUND), 1), else_=0))
    fields = [name for name in OpenStudy.__dataclass_fields__ if name not in ("series_open", "gapless")]
    query = (
        select(*(study.c[name] for name in fields), still_open.label("series_open"), not_gapless.label("gapless"))
        .join(series, series.c.study_id == study.c.id)
        .where(study.c.state == Completeness.RECEIVING)
        .group_by(study.c.id)
        .order_by(study.c.last_received_at, study.c.id)
    )
    return [OpenStudy(**{**row, "gapless": not row["gapless"]}) for row in session.execute(query).mappings()]


def close_series(session: Session, one: OpenSeries, evidence: Evidence, grounds: Grounds) -> bool:
    """A series is complete; keep why. False: more came since it was looked at."""
    return _closed(session, series, one, evidence=evidence, evidence_detail=asdict(grounds))


def keep_verdict(session: Session, series_id: int, verdict: Eligibility) -> None:
    """Whether a series can be read, and why not."""
    session.execute(
        update(series)
        .where(series.c.id == series_id)
        .values(
            eligibility=verdict.level, reasons=list(verdict.reasons), score=list(verdict.score), digest=verdict.digest
        )
    )


def close_study(session: Session, one: OpenStudy, evidence: Evidence, grounds: Grounds, now: datetime) -> bool:
    """Nothing more is expected of a study; keep why. False: more came since it was looked at, maybe told late: a series
    is open then, and no time says so.
    """
    still_open = exists().where(series.c.study_id == one.id, series.c.state == Completeness.RECEIVING)
    why = {"evidence": evidence, "evidence_detail": asdict(grounds)}
    return _closed(session, study, one, not_(still_open), **why, completed_at=now)


def stays_complete(session: Session, study_instance_uid: str) -> bool:
    """Whether nothing more is expected of a study; until this transaction ends nobody opens it again."""
    complete = (study.c.study_instance_uid == study_instance_uid) & (study.c.state == Completeness.COMPLETE)
    query = select(study.c.id).where(complete).with_for_update(key_share=True)  # new series may refer to it meanwhile
    return session.scalars(query).first() is not None


def open_again(session: Session, study_id: int, series_id: int | None) -> bool:
    """Let a study and a series of it be judged again, at once: nothing came, so quiet goes on.

    False: one of them is open, and will be judged anyway.
    """
    places = (series, series_id), (study, study_id)
    complete = [
        select(table.c.id).where(table.c.id == row_id, table.c.state == Completeness.COMPLETE)
        for table, row_id in places
    ]
    if any(session.scalars(query).first() is None for query in complete):
        return False
    for table, row_id in places:
        session.execute(update(table).where(table.c.id == row_id).values(state=Completeness.RECEIVING))
    return True


def _closed(session: Session, table: Any, one: OpenSeries | OpenStudy, *conditions: Any, **values: Any) -> bool:
    unchanged = and_(
        *conditions,
        table.c.id == one.id,
        table.c.state == Completeness.RECEIVING,
        table.c.last_received_at == one.last_received_at,
    )
    return changed(session, update(table).where(unchanged).values(state=Completeness.COMPLETE, **values)) == 1


def verdicts_of_study(session: Session, study_id: int) -> dict[int, tuple[str, Eligibility]]:
    """Series id to (Series Instance UID, verdict), for the complete series of a study."""
    query = select(series).where(
        series.c.study_id == study_id,
        series.c.state == Completeness.COMPLETE,
        not_(series.c.eligibility == ""),
    )
    return {
        row["id"]: (
            row["series_instance_uid"],
            Eligibility(
                Level(row["eligibility"]),
                (),
                tuple(row["reasons"]),
                digest=row["digest"],
                score=tuple(row["score"]),
            ),
        )
        for row in session.execute(query).mappings()
    }


def set_outcome(session: Session, study_id: int, outcome: str, reasons: Sequence[str]) -> None:
    """How the reading of a study ended, or that it has not ended (empty)."""
    session.execute(update(study).where(study.c.id == study_id).values(outcome=outcome, reasons=list(reasons)))


def study_uid(session: Session, study_id: int) -> str:
    """Study Instance UID of a row."""
    uid: str = session.execute(select(study.c.study_instance_uid).where(study.c.id == study_id)).scalar_one()
    return uid


def id_of(session: Session, study_instance_uid: str) -> int | None:
    """The row of a study; None when there is none."""
    return session.scalars(select(study.c.id).where(study.c.study_instance_uid == study_instance_uid)).first()


def study_date(session: Session, study_id: int) -> str:
    """StudyDate as the images say it."""
    date: str = session.execute(select(study.c.study_date).where(study.c.id == study_id)).scalar_one()
    return date


def subject_digest(session: Session, study_id: int) -> str:
    """SHA-256 over what a study says of itself and its patient."""
    columns = [column for column in study.c if column.name in SUBJECT]
    query = select(patient.c.identity, *columns).join(study, study.c.patient_id == patient.c.id)
    said = session.execute(query.where(study.c.id == study_id)).one()
    return hashlib.sha256(repr(tuple(said)).encode("utf-8", "surrogatepass")).hexdigest()


def last_caller(session: Session, study_id: int) -> tuple[str, str]:
    """Calling AE title and address of who last sent something of a study."""
    query = select(study.c.calling_ae_title, study.c.address).where(study.c.id == study_id)
    ae_title, address = session.execute(query).one()
    return ae_title, address


def is_open(session: Session, series_id: int) -> bool:
    """Whether more may come of a series."""
    state = session.execute(select(series.c.state).where(series.c.id == series_id)).scalar_one()
    return bool(state == Completeness.RECEIVING)


def has_conflict(session: Session, series_id: int) -> bool:
    """Whether some instance of a series came again with different content, wherever that says it belongs."""
    other = instance.alias()
    query = (
        select(instance.c.id)
        .join(other, other.c.sop_instance_uid == instance.c.sop_instance_uid)
        .where(instance.c.series_id == series_id, other.c.version == VersionKind.CONFLICT)
        .limit(1)
    )
    return session.scalars(query).first() is not None
