"""Independent counts in SQL: what was told of studies, whether or not an image of them has come."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import delete, exists, insert, select, update
from sqlalchemy.orm import Session

from node.catalog.session import changed
from node.catalog.tables import announcement, study
from node.domain.announcement import FINAL, Announcement, Count, StepState, Teller, counts_of
from node.domain.study import Completeness


def state_of(session: Session, teller: Teller, uid: str) -> StepState | None:
    """How a step or notification stands; None where nobody told of it."""
    found = session.scalars(select(announcement.c.state).where(_named(teller, uid))).first()
    return StepState(found) if found is not None else None


def told(session: Session, new: Announcement, calling_ae_title: str) -> Announcement | None:
    """Keep what was told, whatever came first; returns all that is known by it, None where it changes nothing: what is
    final stays as it is."""
    query = select(announcement).where(_named(new.teller, new.uid))
    row = session.execute(query).mappings().one_or_none()
    if row is None:
        key = {"teller": new.teller, "uid": new.uid, "calling_ae_title": calling_ae_title}
        session.execute(insert(announcement).values(**key, **_values(new)))
        return new
    known = _announcement(row)
    merged = replace(
        known if known.state in FINAL and known.teller is not Teller.FIND else new,
        study_instance_uid=known.study_instance_uid or new.study_instance_uid,
        told_at=new.told_at,
    )
    if not merged.series:
        merged = replace(merged, series=known.series)
    session.execute(update(announcement).where(announcement.c.id == row["id"]).values(**_values(merged)))
    return merged if merged != replace(known, told_at=new.told_at) else None


def _values(of: Announcement) -> dict[str, Any]:
    return {
        "study_instance_uid": of.study_instance_uid,
        "state": of.state,
        "series": dict(of.series),
        "told_at": of.told_at,
    }


def _named(teller: Teller, uid: str) -> Any:
    return (announcement.c.teller == teller) & (announcement.c.uid == uid)


def counts_of_open(session: Session) -> dict[int, dict[str, Count]]:
    """Study id to what was told of its series, of studies of which more may come."""
    query = (
        select(study.c.id.label("of"), announcement)
        .join(study, study.c.study_instance_uid == announcement.c.study_instance_uid)
        .where(study.c.state == Completeness.RECEIVING)
        .order_by(announcement.c.id)
    )
    of = dict[int, list[Announcement]]()
    for row in session.execute(query).mappings():
        of.setdefault(row["of"], []).append(_announcement(row))
    return {study_id: counts_of(each) for study_id, each in of.items()}


def of_study(session: Session, study_instance_uid: str) -> list[Announcement]:
    """Everything that was told of a study."""
    query = select(announcement).where(announcement.c.study_instance_uid == study_instance_uid)
    return [_announcement(row) for row in session.execute(query.order_by(announcement.c.id)).mappings()]


def _announcement(row: Mapping[Any, Any]) -> Announcement:
    return Announcement(
        Teller(row["teller"]),
        row["uid"],
        row["study_instance_uid"],
        StepState(row["state"]),
        row["series"],
        row["told_at"],
    )


def forget_before(session: Session, moment: datetime) -> int:
    """Drop what was told of studies of which no image ever came, so long ago that none will; returns how much."""
    has_study = exists().where(study.c.study_instance_uid == announcement.c.study_instance_uid)
    return changed(session, delete(announcement).where(announcement.c.told_at < moment, ~has_study))
