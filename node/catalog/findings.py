"""Findings of a job."""

from collections.abc import Mapping, Sequence

from pydantic import TypeAdapter
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from node.catalog.tables import finding
from node.domain.finding import Finding

_FINDING: TypeAdapter[Finding] = TypeAdapter(Finding)


def save(session: Session, job_id: int, findings: Sequence[Finding], tracking_uids: Mapping[int, str]) -> None:
    """Keep what a job found. `tracking_uids`: by ordinal, under which each is reported."""
    rows = [
        {
            "job_id": job_id,
            "ordinal": each.ordinal,
            "confidence": each.confidence,
            "type": each.type,
            "side": each.side,
            "mean_diameter_mm": each.measurements.mean_diameter_mm,
            "volume_mm3": each.measurements.volume_mm3,
            "tracking_uid": tracking_uids.get(each.ordinal, ""),
            "content": _FINDING.dump_python(each, mode="json"),
        }
        for each in findings
    ]
    if rows:
        session.execute(insert(finding), rows)


def of_job(session: Session, job_id: int) -> list[Finding]:
    """What a job found, most suspicious first."""
    query = select(finding.c.content).where(finding.c.job_id == job_id).order_by(finding.c.ordinal)
    return [_FINDING.validate_python(content) for content in session.scalars(query).all()]


def tracked(session: Session, job_id: int) -> list[tuple[Finding, str]]:
    """The same, each with the UID under which it was reported; empty where that was not kept."""
    query = select(finding.c.content, finding.c.tracking_uid).where(finding.c.job_id == job_id)
    rows = session.execute(query.order_by(finding.c.ordinal)).all()
    return [(_FINDING.validate_python(content), uid) for content, uid in rows]
