"""C-FIND over the catalog: SQL narrows down by the indexed keys, the domain's matching decides."""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from node.catalog.tables import destination, instance, job, outbox, patient, result, series, study
from node.domain.delivery import ResultKind
from node.domain.job import JobState
from node.domain.query import Query, QueryLevel, Value
from node.domain.study import VersionKind

_STUDY = {
    "StudyInstanceUID": study.c.study_instance_uid,
    "StudyDate": study.c.study_date,
    "StudyTime": study.c.study_time,
    "AccessionNumber": study.c.accession_number,
    "StudyID": study.c.study_id,
    "StudyDescription": study.c.study_description,
    "ReferringPhysicianName": study.c.referring_physician_name,
    "PatientName": patient.c.patient_name,
    "PatientID": patient.c.patient_id,
    "IssuerOfPatientID": patient.c.issuer_of_patient_id,
    "PatientBirthDate": patient.c.patient_birth_date,
    "PatientSex": patient.c.patient_sex,
}
_SERIES = {
    "SeriesInstanceUID": series.c.series_instance_uid,
    "Modality": series.c.modality,
    "SeriesNumber": series.c.series_number,
    "SeriesDescription": series.c.series_description,
    "BodyPartExamined": series.c.body_part_examined,
}
_IMAGE = {
    "SOPInstanceUID": instance.c.sop_instance_uid,
    "SOPClassUID": instance.c.sop_class_uid,
    "InstanceNumber": instance.c.instance_number,
    "Rows": instance.c.rows,
    "Columns": instance.c.columns,
}
_EXACT = ("PatientID", "AccessionNumber")


def find(session: Session, query: Query) -> Iterator[Mapping[str, Value]]:
    """Every entity of the level that matches, newest study first; its values by keyword and job key name."""
    for row in session.execute(_select(query).execution_options(yield_per=200)).mappings():
        entity = _with_counts(session, dict(row), query)
        if query.selects(entity):
            yield entity


def _select(query: Query) -> Select[Any]:
    columns = [column.label(name) for name, column in _STUDY.items()]
    columns.append(study.c.id.label("_study"))
    statement: Any = study.join(patient, patient.c.id == study.c.patient_id)
    if query.level is not QueryLevel.STUDY:
        columns += [column.label(name) for name, column in _SERIES.items()] + [series.c.id.label("_series")]
        statement = statement.join(series, series.c.study_id == study.c.id)
    if query.level is QueryLevel.IMAGE:
        columns += [column.label(name) for name, column in _IMAGE.items()]
        statement = statement.join(instance, instance.c.series_id == series.c.id)
    chosen = select(*columns).select_from(statement).where(*_narrowing(query))
    if query.level is QueryLevel.IMAGE:
        chosen = chosen.where(instance.c.version == VersionKind.AUTHORITATIVE)
    return chosen.order_by(study.c.id.desc())


def _narrowing(query: Query) -> Iterator[ColumnElement[bool]]:
    """Conditions that SQL can decide exactly as the domain would."""
    uids = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": instance}
    for keyword, value in query.keys.items():
        if not value:
            continue
        if keyword in uids and (keyword != "SOPInstanceUID" or query.level is QueryLevel.IMAGE):
            column = {**_STUDY, **_SERIES, **_IMAGE}[keyword]
            if keyword != "SeriesInstanceUID" or query.level is not QueryLevel.STUDY:
                yield column.in_(value.split("\\"))
        elif keyword in _EXACT and not set(value) & set("*?\\"):
            yield _STUDY[keyword] == value
        elif keyword == "StudyDate" and len(value) == 8:
            yield study.c.study_date == value


def _with_counts(session: Session, row: dict[str, Any], query: Query) -> dict[str, Value]:
    """Add what has to be counted or looked up, only where it is asked for."""
    of_study = series.c.study_id == row["_study"]
    images = (
        select(func.count()).select_from(instance).join(series).where(instance.c.version == VersionKind.AUTHORITATIVE)
    )
    counted: dict[str, Any] = {
        "NumberOfStudyRelatedSeries": lambda: session.scalar(select(func.count()).select_from(series).where(of_study)),
        "NumberOfStudyRelatedInstances": lambda: session.scalar(images.where(of_study)),
        "NumberOfSeriesRelatedInstances": lambda: session.scalar(images.where(series.c.id == row.get("_series"))),
        "ModalitiesInStudy": lambda: session.scalars(select(series.c.modality).where(of_study).distinct()).all(),
        "SOPClassesInStudy": lambda: session.scalars(
            select(instance.c.sop_class_uid).join(series).where(of_study).distinct()
        ).all(),
    }
    row.update({name: count() for name, count in counted.items() if name in query.keys})
    if query.job_keys:
        row.update(_job_values(session, row["_study"]))
    return row


def _job_values(session: Session, study_id: int) -> dict[str, Value]:
    """How far the analysis of a study is (values of JOB_KEYS)."""
    queued = session.scalar(select(func.count()).select_from(job).where(job.c.state == JobState.QUEUED))
    outcome = session.execute(
        select(study.c.state, study.c.outcome, study.c.reasons).where(study.c.id == study_id)
    ).one()
    values: dict[str, Value] = {
        "JobState": outcome.state.upper(),
        "Outcome": outcome.outcome,
        "Reason": " ".join(outcome.reasons),
        "QueueDepth": queued,
    }
    newest = select(job).where(job.c.study_id == study_id).order_by(job.c.id.desc()).limit(1)
    row = session.execute(newest).mappings().one_or_none()
    return values if row is None else values | _values_of(session, dict(row))


def _values_of(session: Session, row: dict[str, Any]) -> dict[str, Value]:
    results = (
        select(result.c.kind, result.c.sop_instance_uid).where(result.c.job_id == row["id"]).order_by(result.c.rung)
    )
    uids = dict(reversed(session.execute(results).all()))
    states = session.execute(
        select(destination.c.ae_title, outbox.c.kind, outbox.c.state)
        .join(destination, destination.c.id == outbox.c.destination_id)
        .where(outbox.c.job_id == row["id"])
        .order_by(outbox.c.id)
    )
    return {
        "JobState": row["state"].upper(),
        "Progress": row["progress"],
        "Stage": row["stage"],
        "Queued": f"{row['created_at']:%Y%m%d%H%M%S}",
        "Finished": f"{row['finished_at']:%Y%m%d%H%M%S}" if row["finished_at"] else "",
        "ReportUID": uids.get(ResultKind.SR, ""),
        "SegmentationUID": uids.get(ResultKind.SEG, ""),
        "Attempts": row["attempts"],
        "Delivery": ", ".join(f"{peer} {kind} {state}" for peer, kind, state in states)[:64],
        "ModelVersion": row["model_version"],
    }
