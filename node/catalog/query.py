"""C-FIND over the catalog: SQL narrows down by the indexed keys, the domain's matching decides."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select, text
from sqlalchemy.orm import Session

from node.catalog import narrowing
from node.catalog.counting import count
from node.catalog.job_keys import job_values
from node.catalog.tables import instance, job, patient, result, series, study
from node.domain.matching import Value
from node.domain.query import Query, QueryLevel
from node.domain.study import VersionKind

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
PORTION = 200
"""Rows that are fetched, and counted for, at once."""


@dataclass(frozen=True)
class Found:
    """One entity that may match: what the catalog does not know of it stands in a file."""

    values: Mapping[str, Value]
    """By keyword and job key name; a keyword that is absent is to be read from the file."""
    path: str | None
    """Relative to the data directory; None where there is no file (any more), or none is needed."""


def find(session: Session, query: Query) -> Iterator[Found]:
    """Every entity of the level that may match, newest study first."""
    dialect = session.get_bind().dialect.name
    if dialect == "postgresql":  # all of it will be read: plans that are only quick to begin are none
        session.execute(text("SET LOCAL cursor_tuple_fraction = 1"))
    for statement in _statements(query, list(narrowing.narrowing(query, dialect))):
        rows = session.execute(statement.execution_options(yield_per=PORTION)).mappings()
        for portion in rows.partitions(PORTION):
            entities = [dict(row) for row in portion]
            count(session, entities, set(query.keys))
            jobs = job_values(session, {each["_study"] for each in entities}) if query.job_keys else {}
            for entity in entities:
                entity.update(jobs.get(entity.get("_study", 0), {}))
                path = entity.pop("_path")
                yield Found(entity, path)


def _statements(query: Query, conditions: list[ColumnElement[bool]]) -> Iterator[Select[Any]]:
    if query.level is QueryLevel.PATIENT:
        yield _patients(conditions)
        return
    yield _received(query, conditions)
    if query.level is not QueryLevel.STUDY:
        yield _results(query, conditions)


def _labelled(columns: Mapping[str, Any]) -> list[Any]:
    return [column.label(name) for name, column in columns.items()]


def _patients(conditions: list[ColumnElement[bool]]) -> Select[Any]:
    """One row for each id and issuer, whatever else is said of who has them: the newest."""
    newest = (
        select(func.max(patient.c.id))
        .join(study, study.c.patient_id == patient.c.id)
        .where(*conditions)
        .group_by(patient.c.patient_id, patient.c.issuer_of_patient_id)
    )
    columns = [*_labelled(narrowing.PATIENT), patient.c.id.label("_patient"), text("NULL AS _path")]
    return select(*columns).where(patient.c.id.in_(newest)).order_by(patient.c.id.desc())


def _received(query: Query, conditions: list[ColumnElement[bool]]) -> Select[Any]:
    """What senders brought."""
    columns, tables = _study_columns()
    path: Any = text("NULL AS _path")
    if query.level is not QueryLevel.STUDY:
        columns += [*_labelled(_SERIES), series.c.id.label("_series")]
        tables = tables.join(series, series.c.study_id == study.c.id)
        conditions = [*conditions, *narrowing.narrowing_series(query)]
        path = _one_file().label("_path") if query.in_file else path
    if query.level is QueryLevel.IMAGE:
        columns += [*_labelled(_IMAGE), instance.c.purged_at.label("_purged_at")]
        tables = tables.join(instance, instance.c.series_id == series.c.id)
        counts = instance.c.version == VersionKind.AUTHORITATIVE
        conditions = [*conditions, *narrowing.narrowing_images(query), counts]
        path = instance.c.path.label("_path")
    return _newest_first(select(*columns, path).select_from(tables).where(*conditions))


def _study_columns() -> tuple[list[Any], Any]:
    columns = _labelled({**narrowing.STUDY, **narrowing.PATIENT})
    columns += [study.c.id.label("_study"), study.c.patient_id.label("_patient")]
    return columns, study.join(patient, patient.c.id == study.c.patient_id)


def _newest_first(statement: Select[Any]) -> Select[Any]:
    return statement.order_by(study.c.study_date.desc(), study.c.id.desc())


def _one_file() -> Any:
    """The file of one image of a series, for what all of them say alike."""
    is_here = (instance.c.version == VersionKind.AUTHORITATIVE) & instance.c.purged_at.is_(None)
    of_series = instance.c.series_id == series.c.id
    return select(instance.c.path).where(of_series, is_here).order_by(instance.c.id).limit(1).scalar_subquery()


def _results(query: Query, conditions: list[ColumnElement[bool]]) -> Select[Any]:
    """What Nodus made of a study and may be shown; all but its UIDs stands in its file."""
    columns, tables = _study_columns()
    columns += [result.c.series_instance_uid.label("SeriesInstanceUID"), result.c.path.label("_path")]
    columns.append(result.c.purged_at.label("_purged_at"))
    tables = tables.join(job, job.c.study_id == study.c.id).join(result, result.c.job_id == job.c.id)
    wanted = [*conditions, *narrowing.narrowing_results(query), narrowing.is_shown()]
    if query.level is QueryLevel.IMAGE:
        columns += [result.c.sop_instance_uid.label("SOPInstanceUID"), result.c.sop_class_uid.label("SOPClassUID")]
    else:
        twin = result.alias()
        first = select(func.min(twin.c.id)).where(twin.c.series_instance_uid == result.c.series_instance_uid)
        wanted.append(result.c.id == first.scalar_subquery())
    return _newest_first(select(*columns).select_from(tables).where(*wanted))
