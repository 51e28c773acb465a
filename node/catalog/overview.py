"""What people see of the catalog: studies, where they stand and why; never a patient's name or id."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from node.catalog import audit, commitments, comparisons, findings, forwards, missing, outbox
from node.catalog.tables import destination, instance, job, series, study
from node.catalog.tables import outbox as outbox_row
from node.domain.finding import Finding, summary
from node.domain.job import PIPELINE, JobState
from node.domain.missing import Asked
from node.domain.study import VersionKind

PRIVATE_COLUMNS = frozenset({
    *("patient_id", "accession_number", "study_id", "referring_physician_name", "study_description"),
    *("study_date", "study_time", "series_description", "body_part_examined"),
})  # fmt: skip
"""Of a study and a series: what identifies a patient, and where senders put names and ids that belong elsewhere."""


def studies_by_outcome(session: Session) -> dict[str, int]:
    """How many studies ended how; "under way" where they have not."""
    rows = session.execute(select(study.c.outcome, func.count()).group_by(study.c.outcome))
    return {outcome or "under way": count for outcome, count in rows}


def conflicts(session: Session) -> int:
    """How many studies hold instances that came twice with different content."""
    query = select(func.count()).select_from(study).where(study.c.conflicts > 0)
    return int(session.execute(query).scalar_one())


def stranded(session: Session) -> int:
    """How many results and images wait for a destination that the settings name no more: nobody sends them."""
    query = (
        select(func.count())
        .select_from(outbox_row.join(destination, destination.c.id == outbox_row.c.destination_id))
        .where(outbox_row.c.state.in_(outbox.UNSENT), destination.c.enabled == 0)
    )
    return int(session.execute(query).scalar_one()) + forwards.stranded(session)


LAST_EVENTS = 10


def own_state(session: Session) -> dict[str, str | int]:
    """What the node knows of itself, for an admin who asks by C-FIND."""
    counted = select(job.c.state, func.count()).where(job.c.pipeline == PIPELINE).group_by(job.c.state)
    states: dict[str, int] = dict(session.execute(counted).all())
    lines = [
        " ".join(filter(None, (row.at[:19], row.kind, row.actor, row.address)))
        for row in audit.entries(session, newest=LAST_EVENTS)
    ]
    return {
        "QueueDepth": states.get(JobState.QUEUED, 0),
        "FailedJobs": states.get(JobState.DEAD, 0),
        "LastEvents": "\r\n".join(reversed(lines)),
    }


def studies(session: Session, limit: int = 200) -> list[dict[str, Any]]:
    """One row a study, newest first."""
    columns = [column for column in study.c if column.name not in PRIVATE_COLUMNS]
    rows = []
    for row in session.execute(select(*columns).order_by(study.c.id.desc()).limit(limit)).mappings():
        newest = _newest_job(session, row["id"])
        states = outbox.states_of_job(session, newest["id"]) if newest else {}
        rows.append({**row, "images": _images(session, study_id=row["id"]), "job": newest["state"] if newest else "",
                     "delivery": states})  # fmt: skip
    return rows


def _newest_job(session: Session, study_id: int) -> Any:
    of_study = (job.c.study_id == study_id) & (job.c.pipeline == PIPELINE)
    query = select(job.c.id, job.c.state).where(of_study).order_by(job.c.id.desc()).limit(1)
    return session.execute(query).mappings().one_or_none()


def _images(session: Session, **of: int) -> int:
    query = select(func.count()).select_from(instance).join(series)
    conditions = [series.c.study_id == of["study_id"]] if "study_id" in of else [series.c.id == of["series_id"]]
    counting = instance.c.version == VersionKind.AUTHORITATIVE  # versions beside it are the same image
    return int(session.execute(query.where(*conditions, counting)).scalar_one())


def study_of_uid(session: Session, study_instance_uid: str) -> Any:
    """The row of a study, without what identifies the patient; None when there is none."""
    columns = [column for column in study.c if column.name not in PRIVATE_COLUMNS]
    query = select(*columns).where(study.c.study_instance_uid == study_instance_uid)
    return session.execute(query).mappings().one_or_none()


def study_detail(session: Session, study_instance_uid: str) -> dict[str, Any] | None:
    """Everything about one study; None when there is none."""
    row = study_of_uid(session, study_instance_uid)
    if row is None:
        return None
    columns = [column for column in series.c if column.name not in PRIVATE_COLUMNS]
    inside = select(*columns).where(series.c.study_id == row["id"]).order_by(series.c.id)
    all_series = [
        {**each, "images": _images(session, series_id=each["id"])} for each in session.execute(inside).mappings()
    ]
    of_study = select(job).where(job.c.study_id == row["id"]).order_by(job.c.id)
    jobs = [_job(session, each) for each in session.execute(of_study).mappings().all()]
    beside = comparisons.of_study(session, study_instance_uid)
    sent = forwards.of_study(session, row["id"])
    asked = _asked(missing.of_study(session, row["id"]))
    return {**row, "series": all_series, "jobs": jobs, "comparisons": beside, "forwards": sent, "missing": asked}


def _asked(archive: Asked | None) -> dict[str, Any] | None:
    """How an archive was asked for what the study lacks."""
    if archive is None:
        return None
    images = len(archive.sop_instance_uids)
    return {"archive": archive.ae_title, "tries": archive.tries, "asked_at": archive.asked_at, "images": images,
            "said": archive.said}  # fmt: skip


def _job(session: Session, row: Any) -> dict[str, Any]:
    found = findings.of_job(session, row["id"])
    rows = outbox.listing(session, [row["id"]])
    results = [
        {name: each[name] for name in ("ae_title", "kind", "state", "attempts", "sop_instance_uid", "error")}
        for each in rows
    ]
    kept = {name: value for name, value in row.items() if name != "token"}
    return {
        **kept,
        "findings": [_finding(each) for each in found],
        "results": results,
        "files": [each.path for each in outbox.results_of_job(session, row["id"])],
        "commitments": commitments.listing(session, row["id"]),
    }


def _finding(found: Finding) -> dict[str, Any]:
    size = found.measurements
    return {
        "ordinal": found.ordinal,
        "summary": summary(found),
        "type": found.type,
        "side": found.side,
        "mean_diameter_mm": size.mean_diameter_mm,
        "volume_mm3": size.volume_mm3,
        "center_lps_mm": found.center_lps_mm,
        "confidence": found.confidence,
    }
