"""Steps as workflow sees them: rows of jobs and studies, a few hundred at a time, with where their results are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from node.catalog.tables import destination, job, outbox, patient, result, series, study, workitem
from node.catalog.workitems.rows import OPEN
from node.domain.commitment import Proof
from node.domain.delivery import OutboxState
from node.domain.job import JobKind, JobState
from node.domain.procedure import (
    REASONS,
    Delivery,
    Facts,
    Output,
    Standing,
    Step,
    StepState,
    Subject,
    standing_of,
)
from node.domain.uids import derived_uid

AT_ONCE = 200
NEW_AT_ONCE = 500
STORED = (OutboxState.DELIVERED, OutboxState.COMMITTED)
_JOB = (
    "state",
    "kind",
    "stage",
    "progress",
    "failure",
    "outcome",
    "reasons",
    "priority",
    "started_at",
    "finished_at",
    "token",
)
_SUBJECT = ("patient_name", "patient_id", "issuer_of_patient_id", "patient_birth_date", "patient_sex")
_COLUMNS = [
    *workitem.c,
    *(job.c[name].label(f"job_{name}") for name in _JOB),
    *(patient.c[name] for name in _SUBJECT),
    *(study.c[name] for name in ("study_instance_uid", "accession_number", "referring_physician_name")),
    study.c.outcome.label("study_outcome"),
    study.c.reasons.label("study_reasons"),
    series.c.series_instance_uid,
]


@dataclass(frozen=True)
class Item:
    """A step, its row, and the lock that its performer holds on it."""

    row_id: int
    study_id: int
    job_id: int | None
    step: Step
    recorded: Standing
    """As subscribers were told last."""
    transaction_uid: str
    """Of the worker that has the job, empty where none has: never to leave the node (PS3.4 CC.2.7.3)."""


def _select(*conditions: ColumnElement[bool]) -> Select[Any]:
    return (
        select(*_COLUMNS)
        .join(study, study.c.id == workitem.c.study_id)
        .join(patient, patient.c.id == study.c.patient_id)
        .outerjoin(job, job.c.id == workitem.c.job_id)
        .outerjoin(series, series.c.id == job.c.series_id)
        .where(*conditions)
        .order_by(workitem.c.id.desc())
    )


def find(session: Session, keys: Mapping[str, str]) -> Iterator[Step]:
    """Steps, newest first. `keys` (keyword to value) narrow down what SQL can tell; the caller matches them all."""
    newest: int | None = None
    while True:
        conditions = [*_narrowing(keys), *([workitem.c.id < newest] if newest is not None else [])]
        rows = session.execute(_select(*conditions).limit(AT_ONCE)).mappings().all()
        yield from (item.step for item in _items(session, rows))
        if len(rows) < AT_ONCE:
            return
        newest = rows[-1]["id"]


def _narrowing(keys: Mapping[str, str]) -> Iterator[ColumnElement[bool]]:
    uids = {"SOPInstanceUID": workitem.c.sop_instance_uid, "StudyInstanceUID": study.c.study_instance_uid}
    for keyword, column in uids.items():
        if keys.get(keyword):
            yield column.in_(keys[keyword].split("\\"))
    if keys.get("PatientID") and not set(keys["PatientID"]) & set("*?\\"):
        yield patient.c.patient_id == keys["PatientID"]
    state = keys.get("ProcedureStepState", "")
    if state in list(StepState):  # what is open may have ended since it was looked at
        yield workitem.c.state.in_({*OPEN, StepState(state)})


def step(session: Session, uid: str) -> Item | None:
    """One step by its SOP Instance UID."""
    rows = session.execute(_select(workitem.c.sop_instance_uid == uid)).mappings().all()
    return next(iter(_items(session, rows)), None)


def open_items(session: Session) -> list[Item]:
    """Every step that has not ended, oldest first."""
    rows = session.execute(_select(workitem.c.state.in_(OPEN))).mappings().all()
    return list(reversed(list(_items(session, rows))))


def changed_steps(session: Session) -> list[Item]:
    """Open steps that stand elsewhere than their subscribers were told, oldest first: of those that are new at most
    so many, since after an upgrade all are."""
    is_open, is_new = workitem.c.state.in_(OPEN), workitem.c.text == ""
    waits = and_(workitem.c.ready == 1, job.c.state == JobState.QUEUED, job.c.started_at.is_(None))
    comes = and_(workitem.c.ready == 0, workitem.c.job_id.is_(None), study.c.outcome == "")
    as_told = and_(workitem.c.state == StepState.SCHEDULED, func.coalesce(or_(waits, comes), False))
    oldest = _select(is_open, is_new).order_by(None).order_by(workitem.c.id).limit(NEW_AT_ONCE)
    rows = [*session.execute(oldest).mappings(), *session.execute(_select(is_open, ~is_new, ~as_told)).mappings()]
    items = sorted(_items(session, rows), key=lambda item: item.row_id)
    return [item for item in items if item.step.standing != item.recorded]


def _items(session: Session, rows: Sequence[Any]) -> Iterator[Item]:
    jobs = [row["job_id"] for row in rows if row["job_state"] in (JobState.DONE, JobState.SUPERSEDED)]
    deliveries, outputs = _deliveries(session, jobs), _outputs(session, jobs)
    for row in rows:
        of_job = row["job_id"] or 0
        token = row["job_token"]
        lock = derived_uid("nodus transaction", token) if token and row["job_state"] == JobState.RUNNING else ""
        recorded = _recorded(row)
        facts = _facts(row, recorded, deliveries.get(of_job, Delivery()))
        found = _step(row, standing_of(facts), outputs.get(of_job, ()))
        yield Item(row["id"], row["study_id"], row["job_id"], found, recorded, lock)


def _recorded(row: Any) -> Standing:
    reason = REASONS.get(row["reason"])
    return Standing(StepState(row["state"]), bool(row["ready"]), row["percent"], row["text"], reason, row["why"])


def _facts(row: Any, recorded: Standing, delivery: Delivery) -> Facts:
    has_job = row["job_state"] is not None
    return Facts(
        recorded,
        JobState(row["job_state"]) if has_job else None,
        JobKind(row["job_kind"]) if has_job else JobKind.ANALYSIS,
        begun=row["job_started_at"] is not None,
        stage=row["job_stage"] or "",
        progress=row["job_progress"] or 0,
        failure=row["job_failure"] or "",
        outcome=row["job_outcome"] or "",
        reasons=tuple(row["job_reasons"] or row["study_reasons"]),
        ended=bool(row["study_outcome"]),
        delivery=delivery,
    )


def _step(row: Any, standing: Standing, outputs: tuple[Output, ...]) -> Step:
    subject = Subject(
        row["study_instance_uid"],
        **{name: row[name] for name in _SUBJECT},
        accession_number=row["accession_number"],
        referring_physician_name=row["referring_physician_name"],
        series_instance_uid=row["series_instance_uid"] or "",
    )
    return Step(
        row["sop_instance_uid"],
        standing,
        subject,
        row["created_at"],
        row["changed_at"],
        priority=row["job_priority"] or 0,
        started_at=row["job_started_at"],
        finished_at=row["job_finished_at"],
        replaces=row["replaces"] or "",
        given=dict(row["given"]),
        outputs=outputs if standing.state is not StepState.CANCELED else (),
    )


def _deliveries(session: Session, job_ids: Sequence[int]) -> dict[int, Delivery]:
    in_use = destination.c.enabled == 1
    query = (
        select(outbox.c.job_id, outbox.c.state, destination.c.commitment, func.count())
        .join(destination, destination.c.id == outbox.c.destination_id)
        .where(outbox.c.job_id.in_(job_ids), or_(in_use, outbox.c.state.in_(STORED)))
        .group_by(outbox.c.job_id, outbox.c.state, destination.c.commitment)
        .order_by(outbox.c.job_id)
    )
    rows = session.execute(query).all() if job_ids else []
    return {job_id: _delivery([row[1:] for row in of_job]) for job_id, of_job in groupby(rows, lambda row: row[0])}


def _delivery(rows: Sequence[Any]) -> Delivery:
    def count(*states: OutboxState, unproven: bool = False) -> int:
        return sum(n for state, proof, n in rows if state in states and not (unproven and proof == Proof.OFF))

    return Delivery(
        held=count(OutboxState.HELD),
        due=count(OutboxState.DUE),
        unconfirmed=count(OutboxState.DELIVERED, unproven=True),
        stored=count(*STORED),
        cancelled=count(OutboxState.CANCELLED),
    )


def _outputs(session: Session, job_ids: Sequence[int]) -> dict[int, tuple[Output, ...]]:
    """Of each result of a job the encoding that was sent somewhere, else the first."""
    if not job_ids:
        return {}
    sent = set(session.scalars(select(outbox.c.sop_instance_uid).where(outbox.c.job_id.in_(job_ids))))
    query = select(result).where(result.c.job_id.in_(job_ids)).order_by(result.c.job_id, result.c.kind, result.c.rung)
    found: dict[int, tuple[Output, ...]] = {}
    for (job_id, kind), rungs in groupby(session.execute(query).mappings(), lambda row: (row["job_id"], row["kind"])):
        encodings = list(rungs)
        chosen = next((each for each in encodings if each["sop_instance_uid"] in sent), encodings[0])
        names = ("sop_class_uid", "sop_instance_uid", "series_instance_uid")
        found[job_id] = (*found.get(job_id, ()), Output(kind, *(chosen[name] for name in names)))
    return found
