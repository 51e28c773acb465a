"""What can be retrieved: the files of a patient, a study, a series or an image, and results that were released."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, Select, literal, select
from sqlalchemy.orm import Session

from node.catalog.narrowing import is_shown
from node.catalog.tables import instance, job, patient, result, series, study
from node.domain.query import UNIQUE_KEYS, Query, QueryLevel
from node.domain.retrieval import Holding
from node.domain.study import VersionKind

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
"""Every result is encoded so."""


def held(session: Session, query: Query, most: int) -> list[Holding]:
    """The instances that the unique keys of a query name: by study, series, then as they came; at most `most` + 1."""
    rows: list[Any] = []
    for statement in (_received(query), _results(query)):
        rows += session.execute(statement.limit(most + 1)).mappings()
    return [Holding(**row) for row in rows[: most + 1]]


def _received(query: Query) -> Select[Any]:
    columns = {
        "sop_class_uid": instance.c.sop_class_uid,
        "sop_instance_uid": instance.c.sop_instance_uid,
        "path": instance.c.path,
        "digest": instance.c.digest,
        "transfer_syntax_uid": instance.c.transfer_syntax_uid,
        "is_result": literal(False),
        "is_here": instance.c.purged_at.is_(None),
    }
    tables = study.join(patient).join(series, series.c.study_id == study.c.id)
    places = {
        "SeriesInstanceUID": series.c.series_instance_uid,
        "SOPInstanceUID": instance.c.sop_instance_uid,
    }
    statement = _labelled(columns).select_from(tables.join(instance, instance.c.series_id == series.c.id))
    counts = instance.c.version == VersionKind.AUTHORITATIVE
    return statement.where(counts, *_named(query, places)).order_by(series.c.study_id, series.c.id, instance.c.id)


def _results(query: Query) -> Select[Any]:
    columns = {
        "sop_class_uid": result.c.sop_class_uid,
        "sop_instance_uid": result.c.sop_instance_uid,
        "path": result.c.path,
        "digest": result.c.sha256,
        "transfer_syntax_uid": literal(EXPLICIT_VR_LITTLE_ENDIAN),
        "is_result": literal(True),
        "is_here": result.c.purged_at.is_(None),
    }
    tables = study.join(patient).join(job, job.c.study_id == study.c.id).join(result, result.c.job_id == job.c.id)
    places = {"SeriesInstanceUID": result.c.series_instance_uid, "SOPInstanceUID": result.c.sop_instance_uid}
    return _labelled(columns).select_from(tables).where(is_shown(), *_named(query, places)).order_by(result.c.id)


def _labelled(columns: dict[str, Any]) -> Select[Any]:
    named = [column.label(name) for name, column in columns.items()]
    return select(study.c.study_instance_uid.label("study_instance_uid"), *named)


def _named(query: Query, places: dict[str, Any]) -> Iterator[ColumnElement[bool]]:
    """By the unique keys down to the level; a level above that is not given is not asked about."""
    columns = {"PatientID": patient.c.patient_id, "StudyInstanceUID": study.c.study_instance_uid, **places}
    levels = list(QueryLevel)
    for level in levels[: levels.index(query.level) + 1]:
        if value := query.keys.get(UNIQUE_KEYS[level], ""):
            yield columns[UNIQUE_KEYS[level]].in_(value.split("\\"))
