"""How far the analysis of studies is, for many of them at once: the values of the private keys of a C-FIND."""

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from node.catalog.tables import destination, job, outbox, result, study, workitem
from node.domain.delivery import ResultKind
from node.domain.job import PIPELINE
from node.domain.matching import Value

Values = dict[str, Value]


def job_values(session: Session, study_ids: Collection[int]) -> dict[int, Values]:
    """Values of JOB_KEYS by a study's id: of its newest job, or of itself where it has none."""
    found: dict[int, Values] = {}
    columns = (study.c.id, study.c.state, study.c.outcome, study.c.reasons)
    for study_id, state, outcome, reasons in session.execute(select(*columns).where(study.c.id.in_(study_ids))):
        found[study_id] = {"JobState": state.upper(), "Outcome": outcome, "Reason": " ".join(reasons)}
    for study_id, uid in session.execute(
        select(workitem.c.study_id, workitem.c.sop_instance_uid)
        .where(workitem.c.study_id.in_(study_ids))
        .order_by(workitem.c.id)
    ):
        found[study_id]["StepUID"] = uid  # of the newest, which comes last
    newest = (
        select(func.max(job.c.id))
        .where(job.c.study_id.in_(study_ids), job.c.pipeline == PIPELINE)
        .group_by(job.c.study_id)
    )
    jobs = session.execute(select(job).where(job.c.id.in_(newest))).mappings().all()
    uids, deliveries = _of_jobs(session, [row["id"] for row in jobs])
    for row in jobs:
        found[row["study_id"]] |= _values_of(row, uids[row["id"]], deliveries[row["id"]])
    return found


def _of_jobs(session: Session, ids: list[int]) -> tuple[dict[int, dict[str, str]], dict[int, list[str]]]:
    """Of each job the first rung of each kind of result, and where each result stands."""
    uids: dict[int, dict[str, str]] = defaultdict(dict)
    columns = (result.c.job_id, result.c.kind, result.c.sop_instance_uid)
    rungs = select(*columns).where(result.c.job_id.in_(ids)).order_by(result.c.rung.desc())
    for job_id, kind, uid in session.execute(rungs):
        uids[job_id][kind] = uid
    deliveries: dict[int, list[str]] = defaultdict(list)
    standing = (
        select(outbox.c.job_id, destination.c.ae_title, outbox.c.kind, outbox.c.state)
        .join(destination, destination.c.id == outbox.c.destination_id)
        .where(outbox.c.job_id.in_(ids))
        .order_by(outbox.c.id)
    )
    for job_id, peer, kind, state in session.execute(standing):
        deliveries[job_id].append(f"{peer} {kind} {state}")
    return uids, deliveries


def _values_of(row: Any, uids: dict[str, str], deliveries: list[str]) -> Values:
    return {
        "JobState": row["state"].upper(),
        "Progress": row["progress"],
        "Stage": row["stage"],
        "Queued": f"{row['created_at']:%Y%m%d%H%M%S}",
        "Finished": f"{row['finished_at']:%Y%m%d%H%M%S}" if row["finished_at"] else "",
        "ReportUID": uids.get(ResultKind.SR, ""),
        "SegmentationUID": uids.get(ResultKind.SEG, ""),
        "Attempts": row["attempts"],
        "Failure": row["failure"],
        "FailureText": row["failure_text"][:10240],
        "Delivery": ", ".join(deliveries)[:64],
        "ModelVersion": row["model_version"],
    }
