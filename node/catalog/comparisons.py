"""Readings and what models in shadow read from the same images, side by side."""

from typing import Any

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from node.catalog import findings
from node.catalog.tables import job, study
from node.domain.comparison import compare
from node.domain.finding import Finding, summary
from node.domain.job import PIPELINE, JobState, model_in_shadow


def of_study(session: Session, study_instance_uid: str) -> list[dict[str, Any]]:
    """One for each model that has read a study in shadow."""
    return _listing(session, study.c.study_instance_uid == study_instance_uid)


def listing(session: Session, limit: int = 200) -> list[dict[str, Any]]:
    """The same of every study, the newest first; names no patient."""
    return _listing(session, limit=limit)


def _listing(session: Session, *conditions: Any, limit: int | None = None) -> list[dict[str, Any]]:
    """Both have read the same images to the end, and stand; what was read anew since is not compared."""
    tried = job.alias()
    same_images = and_(tried.c.study_id == job.c.study_id, tried.c.series_id == job.c.series_id,
                       tried.c.digest == job.c.digest, tried.c.pipeline != PIPELINE,
                       tried.c.state == JobState.DONE)  # fmt: skip
    query = (
        select(
            study.c.study_instance_uid, job.c.id.label("job"), job.c.outcome, job.c.model_version.label("model"),
            tried.c.id.label("shadow_job"), tried.c.outcome.label("shadow_outcome"),
            tried.c.model_version.label("shadow_model"), tried.c.pipeline,
        )
        .select_from(job.join(tried, same_images).join(study, study.c.id == job.c.study_id))
        .where(job.c.pipeline == PIPELINE, job.c.state == JobState.DONE, *conditions)
        .order_by(study.c.id.desc(), tried.c.id)
        .limit(limit)
    )  # fmt: skip
    return [_beside(session, dict(row)) for row in session.execute(query).mappings().all()]


def _beside(session: Session, row: dict[str, Any]) -> dict[str, Any]:
    reading, tried = findings.of_job(session, row["job"]), findings.of_job(session, row["shadow_job"])
    found = compare(reading, tried)
    return {
        "study_instance_uid": row["study_instance_uid"],
        "shadow": model_in_shadow(row.pop("pipeline")),
        **row,
        "found": len(reading),
        "found_in_shadow": len(tried),
        "same_place": len(found.both),
        "both": [{"reading": one.label, "shadow": other.label} for one, other in found.both],
        "only_reading": [_told(each) for each in found.only_first],
        "only_shadow": [_told(each) for each in found.only_second],
    }


def _told(found: Finding) -> dict[str, str]:
    return {"finding": found.label, "summary": summary(found)}
