"""What SQL can say of C-FIND keys: less than the domain's matching, never more, and by an index where there is one."""

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, or_, select, true

from node.catalog.tables import instance, job, outbox, patient, result, series, study
from node.domain.delivery import OutboxState
from node.domain.job import PIPELINE
from node.domain.matching import bounds, folded
from node.domain.query import Query, QueryLevel
from node.domain.study import Completeness

STUDY = {
    "StudyInstanceUID": study.c.study_instance_uid,
    "StudyDate": study.c.study_date,
    "StudyTime": study.c.study_time,
    "AccessionNumber": study.c.accession_number,
    "StudyID": study.c.study_id,
    "StudyDescription": study.c.study_description,
    "ReferringPhysicianName": study.c.referring_physician_name,
}
PATIENT = {
    "PatientName": patient.c.patient_name,
    "PatientID": patient.c.patient_id,
    "IssuerOfPatientID": patient.c.issuer_of_patient_id,
    "PatientBirthDate": patient.c.patient_birth_date,
    "PatientSex": patient.c.patient_sex,
}
_TEXTS = ("PatientID", "IssuerOfPatientID", "PatientSex", "AccessionNumber", "StudyID", "StudyDescription")
WILD = set("*?\\")


def narrowing(query: Query, dialect: str) -> Iterator[ColumnElement[bool]]:
    """Conditions on patients and studies that everything which matches meets."""
    for keyword, value in query.keys.items():
        if value:
            yield _condition(keyword, value, dialect)
    if state := query.job_keys.get("JobState"):
        yield _in_state(state)


def _condition(keyword: str, value: str, dialect: str) -> ColumnElement[bool]:
    if keyword == "StudyInstanceUID":
        return study.c.study_instance_uid.in_(value.split("\\"))
    if keyword in _TEXTS:
        return begins(({**PATIENT, **STUDY})[keyword], value, dialect)
    special = _SPECIAL.get(keyword)
    return special(value, dialect) if special else true()


def begins(column: Any, key: str, dialect: str) -> ColumnElement[bool]:
    """Equal to a key, or as it begins before its first wild card. PostgreSQL's order of text is that of a language,
    and only LIKE looks an index of `text_pattern_ops` up; SQLite's is that of code points."""
    if not set(key) & WILD:
        return column == key  # type: ignore[no-any-return]
    if "\\" in key:
        return or_(*(begins(column, each, dialect) for each in key.split("\\") if each)) if key.strip("\\") else true()
    start = key[: min(key.find(sign) for sign in "*?" if sign in key)]
    if not start:
        return true()
    if dialect == "postgresql":
        return column.startswith(start, autoescape=True)  # type: ignore[no-any-return]
    return and_(column >= start, column < start[:-1] + chr(min(ord(start[-1]) + 1, 0x10FFFF)))


NAME_GROUPS = ("name_alphabetic", "name_ideographic", "name_phonetic")
LONGEST_GROUP = 64
"""Characters of a folded group that have a column."""


def name_columns(name: str) -> dict[str, str]:
    """What a patient's row holds to be found by name."""
    groups = [group.rstrip("^") for group in folded(name).split("=")] + [""] * len(NAME_GROUPS)
    return {column: group[:LONGEST_GROUP] for column, group in zip(NAME_GROUPS, groups, strict=False)}


def _name(value: str, dialect: str) -> ColumnElement[bool]:
    """Person names: folded, by any component group, or by the first where the key has several. Looked up apart: beside
    an order by date SQLite would rather go through all studies than through three indices."""
    groups = [group.rstrip("^") for group in folded(value).split("=")]
    key = groups[0] if len(groups[0]) < LONGEST_GROUP else groups[0][: LONGEST_GROUP - 1] + "*"
    columns = NAME_GROUPS if len(groups) == 1 else NAME_GROUPS[:1]
    if not key or key.startswith(("*", "?")):
        return true()
    named = select(patient.c.id).where(or_(*(begins(patient.c[column], key, dialect) for column in columns)))
    return study.c.patient_id.in_(named)


def _dates(value: str, _: str) -> ColumnElement[bool]:
    low, high = bounds(value)
    after = study.c.study_date >= low if low else study.c.study_date != ""
    return and_(after, study.c.study_date <= high.ljust(8, "9")) if high else after


def _modality(value: str, _: str) -> ColumnElement[bool]:
    """Of a series that came; results of ours are only told apart by the domain."""
    if set(value) & set("*?"):
        return true()
    of_study = series.c.study_id == study.c.id
    return or_(exists().where(of_study, series.c.modality.in_(value.split("\\"))), has_results())


def has_results() -> ColumnElement[bool]:
    """Whether results of a study may be shown."""
    return exists().where(job.c.study_id == study.c.id, result.c.job_id == job.c.id, is_shown())


def is_shown() -> ColumnElement[bool]:
    """Whether a result may be seen by who asks: a destination has it, so it was released, and did not come back here,
    where it is an image as others are."""
    released = outbox.c.state.in_((OutboxState.DELIVERED, OutboxState.COMMITTED))
    there = exists().where(
        outbox.c.job_id == result.c.job_id, outbox.c.sop_instance_uid == result.c.sop_instance_uid, released
    )
    return and_(there, ~exists().where(instance.c.sop_instance_uid == result.c.sop_instance_uid))


def _in_state(value: str) -> ColumnElement[bool]:
    """Studies of which any reading is in such a state, or which are themselves; the newest reading decides later."""
    state = value.lower()
    if set(value) & WILD:
        return true()
    if state in set(Completeness):
        return study.c.state == state
    read = select(job.c.study_id).where(job.c.state == state, job.c.pipeline == PIPELINE)
    return study.c.id.in_(read)


_SPECIAL: dict[str, Callable[[str, str], ColumnElement[bool]]] = {
    "PatientName": _name,
    "StudyDate": _dates,
    "ModalitiesInStudy": _modality,
}


def narrowing_series(query: Query) -> Iterator[ColumnElement[bool]]:
    """Conditions on series that came."""
    yield from _exactly(query, {"SeriesInstanceUID": series.c.series_instance_uid, "Modality": series.c.modality})


def narrowing_images(query: Query) -> Iterator[ColumnElement[bool]]:
    """Conditions on instances that came."""
    if query.level is QueryLevel.IMAGE:
        columns = {"SOPInstanceUID": instance.c.sop_instance_uid, "SOPClassUID": instance.c.sop_class_uid}
        yield from _exactly(query, columns)


def narrowing_results(query: Query) -> Iterator[ColumnElement[bool]]:
    """Conditions on results of ours."""
    columns: dict[str, Any] = {"SeriesInstanceUID": result.c.series_instance_uid}
    if query.level is QueryLevel.IMAGE:
        columns |= {"SOPInstanceUID": result.c.sop_instance_uid, "SOPClassUID": result.c.sop_class_uid}
    yield from _exactly(query, columns)


def _exactly(query: Query, columns: dict[str, Any]) -> Iterator[ColumnElement[bool]]:
    for keyword, column in columns.items():
        value = query.keys.get(keyword, "")
        if value and not set(value) & set("*?"):
            yield column.in_(value.split("\\"))
