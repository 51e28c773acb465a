"""HL7 messages: what a released reading says of itself, and each message as it was made, before its first attempt."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import exists, func, insert, or_, select, update
from sqlalchemy.orm import Session, aliased

from node.catalog.tables import finding, job, message, outbox, patient, result, study
from node.domain.delivery import OutboxState, ResultKind
from node.domain.message import Patient, Reading
from node.domain.outcome import Outcome


@dataclass(frozen=True)
class Kept:
    """A message as it is sent, however often."""

    control_id: str
    content: str
    sha256: str


def reading_of(session: Session, outbox_id: int) -> Reading:
    """What the message in a row of the outbox is about."""
    of_job = (
        select(job, outbox.c.destination_id).join(outbox, outbox.c.job_id == job.c.id).where(outbox.c.id == outbox_id)
    )
    row = session.execute(of_job).mappings().one()
    about = session.execute(select(study).where(study.c.id == row["study_id"])).mappings().one()
    who = session.execute(select(patient).where(patient.c.id == about["patient_id"])).mappings().one()
    sizes = select(func.count(), func.max(finding.c.mean_diameter_mm)).where(finding.c.job_id == row["id"])
    nodules, largest_mm = session.execute(sizes).one()
    return Reading(
        patient=Patient(who["patient_id"], who["issuer_of_patient_id"], who["patient_name"],
                        who["patient_birth_date"], who["patient_sex"]),
        study_instance_uid=about["study_instance_uid"],
        accession_number=about["accession_number"],
        study_at=_moment(about["study_date"], about["study_time"]),
        finished_at=row["finished_at"],
        outcome=Outcome(row["outcome"]),
        reasons=tuple(row["reasons"]),
        nodules=nodules,
        largest_mm=largest_mm,
        lung_rads=tuple((row["guidance"] or {}).get("lung_rads", ())),
        report_uid=_report_uid(session, row["id"]),
        corrects=_was_told(session, row["destination_id"], row["study_id"], row["id"]),
    )  # fmt: skip


def _moment(date: str, time: str) -> str:
    """YYYYMMDD[HHMMSS] of a DA and a TM; empty where the date is none."""
    date, time = date.strip(), time.strip().partition(".")[0]
    if len(date) != 8 or not date.isdigit():
        return ""
    return date + (time if len(time) == 6 and time.isdigit() else "")


def _report_uid(session: Session, job_id: int) -> str:
    """The report as a destination got it, or gets it first; empty where there is none."""
    of_job = (result.c.job_id == job_id) & (result.c.kind == ResultKind.SR)
    fixed = exists().where(outbox.c.job_id == job_id, outbox.c.sop_instance_uid == result.c.sop_instance_uid)
    query = select(result.c.sop_instance_uid).where(of_job, or_(fixed, result.c.rung == 0))
    return session.scalars(query.order_by(fixed.desc(), result.c.rung).limit(1)).first() or ""


def _was_told(session: Session, destination_id: int, study_id: int, job_id: int) -> bool:
    """Whether a message of an earlier reading of a study may have arrived."""
    earlier, of = aliased(outbox), aliased(job)
    query = select(earlier.c.id).join(of, of.c.id == earlier.c.job_id)
    told = query.where(earlier.c.destination_id == destination_id, of.c.study_id == study_id, earlier.c.job_id < job_id,
                       earlier.c.attempts > 0)  # fmt: skip
    return session.scalars(told.limit(1)).first() is not None


def keep(session: Session, outbox_id: int, kept: Kept, now: datetime) -> None:
    """Enter a message."""
    session.execute(insert(message).values(outbox_id=outbox_id, made_at=now, **kept.__dict__))


def kept(session: Session, outbox_id: int) -> Kept | None:
    """The message of a row of the outbox, where it was made."""
    columns = [message.c[name] for name in Kept.__dataclass_fields__]
    row = session.execute(select(*columns).where(message.c.outbox_id == outbox_id)).mappings().one_or_none()
    return Kept(**row) if row else None


def set_aside(session: Session, outbox_id: int, why: str) -> None:
    """Its receiver does not want it."""
    row = update(outbox).where(outbox.c.id == outbox_id, outbox.c.state == OutboxState.DUE, outbox.c.attempts == 0)
    session.execute(row.values(state=OutboxState.CANCELLED, error=why))
