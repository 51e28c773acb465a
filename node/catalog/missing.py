"""Images that were told of and did not come: which of them an archive was asked for, and what came of it."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from node.catalog.tables import instance, missing
from node.domain.missing import Asked
from node.domain.study import OpenStudy

CHUNK = 500


def of_study(session: Session, study_id: int) -> Asked | None:
    """How it was asked for what a study lacks; None where it never was."""
    columns = (missing.c[name] for name in Asked.__dataclass_fields__)
    row = session.execute(select(*columns).where(missing.c.study_id == study_id)).one_or_none()
    return Asked(row[0], tuple(row[1]), *row[2:]) if row else None


def begin(session: Session, of: OpenStudy, ae_title: str, now: datetime) -> None:
    """An archive is to be asked: that counts as a try, whatever becomes of it."""
    known = of_study(session, of.id)
    values: dict[str, Any] = {"ae_title": ae_title, "opened_at": of.first_received_at, "asked_at": now, "said": ""}
    if known is None:
        session.execute(insert(missing).values(study_id=of.id, tries=1, **values))
        return
    values["tries"] = known.tries + 1 if known.opened_at == of.first_received_at else 1
    session.execute(update(missing).where(missing.c.study_id == of.id).values(values))


def coming(session: Session, study_id: int, sop_instance_uids: Collection[str]) -> None:
    """Which images are asked for: what arrives of them was fetched, from now on."""
    known = of_study(session, study_id)
    uids = sorted({*sop_instance_uids, *(known.sop_instance_uids if known else ())})
    session.execute(update(missing).where(missing.c.study_id == study_id).values(sop_instance_uids=uids))


def ended(session: Session, study_id: int, said: str) -> None:
    """What came of it."""
    session.execute(update(missing).where(missing.c.study_id == study_id).values(said=said))


def fetched(session: Session, study_ids: Collection[int]) -> set[str]:
    """SOP Instance UIDs of the images of some studies that an archive was asked for."""
    lists = session.scalars(select(missing.c.sop_instance_uids).where(missing.c.study_id.in_(set(study_ids))))
    return {uid for each in lists for uid in each}


def fetched_from(session: Session, study_id: int, ae_title: str) -> set[str]:
    """The same, of one study and one archive."""
    known = of_study(session, study_id)
    return set(known.sop_instance_uids) if known and known.ae_title == ae_title else set()


def here(session: Session, sop_instance_uids: Collection[str]) -> set[str]:
    """Which of these images came, whatever became of them."""
    wanted, found = sorted(sop_instance_uids), set[str]()
    for first in range(0, len(wanted), CHUNK):
        some = instance.c.sop_instance_uid.in_(wanted[first : first + CHUNK])
        found.update(session.scalars(select(instance.c.sop_instance_uid).where(some)))
    return found
