"""How many series and images there are, of what kinds, and whether they can be retrieved: for many entities at once."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from node.catalog.narrowing import is_shown
from node.catalog.tables import instance, job, patient, result, series, study
from node.domain.delivery import MODALITIES, ResultKind
from node.domain.study import VersionKind

ONLINE, UNAVAILABLE = "ONLINE", "UNAVAILABLE"
"""Instance Availability (PS3.3 C.4.23.1.1)."""
OF_PATIENT = {
    "NumberOfPatientRelatedStudies",
    "NumberOfPatientRelatedSeries",
    "NumberOfPatientRelatedInstances",
}
OF_STUDY = {"NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "ModalitiesInStudy", "SOPClassesInStudy"}
OF_SERIES = "NumberOfSeriesRelatedInstances"
Row = dict[str, Any]


@dataclass
class Counts:
    """What there is of a study."""

    instances: dict[str, int] = field(default_factory=dict)
    """Of each series, by Series Instance UID."""
    incomplete: set[str] = field(default_factory=set)
    """Series of which retention has removed a file."""
    modalities: set[str] = field(default_factory=set)
    sop_classes: set[str] = field(default_factory=set)

    @property
    def total(self) -> int:
        """Instances."""
        return sum(self.instances.values())


def count(session: Session, rows: Sequence[Row], asked: set[str]) -> None:
    """Add what has to be counted where it is asked for, and Instance Availability."""
    if asked & OF_PATIENT:
        _of_patients(session, rows)
    is_image, is_patient = "SOPInstanceUID" in rows[0], "_study" not in rows[0]
    if not is_patient and (not is_image or asked & (OF_STUDY | {OF_SERIES})):
        counts = _of_studies(session, {row["_study"] for row in rows}, classes="SOPClassesInStudy" in asked)
        for row in rows:
            row.update(_values(counts[row["_study"]], row.get("SeriesInstanceUID")))
    for row in rows:
        is_gone = row.pop("_purged_at", None) is not None
        if is_image or is_patient or is_gone:
            row["InstanceAvailability"] = UNAVAILABLE if is_gone else ONLINE


def _values(counts: Counts, series_uid: str | None) -> Row:
    """Of a study, or of one of its series: what is not here as a whole cannot be retrieved as a whole."""
    is_gone = series_uid in counts.incomplete if series_uid else bool(counts.incomplete)
    return {
        "NumberOfStudyRelatedSeries": len(counts.instances),
        "NumberOfStudyRelatedInstances": counts.total,
        "ModalitiesInStudy": sorted(counts.modalities),
        "SOPClassesInStudy": sorted(counts.sop_classes),
        OF_SERIES: counts.instances.get(series_uid or "", 0),
        "InstanceAvailability": UNAVAILABLE if is_gone else ONLINE,
    }


def _of_studies(session: Session, ids: Iterable[int], *, classes: bool = False) -> dict[int, Counts]:
    """What came and what Nodus made of it, by the study's id."""
    found: dict[int, Counts] = defaultdict(Counts)
    of_study, counts = series.c.study_id.in_(ids), instance.c.version == VersionKind.AUTHORITATIVE
    columns = (series.c.study_id, series.c.series_instance_uid, series.c.modality)
    here = series.outerjoin(instance, (instance.c.series_id == series.c.id) & counts)
    numbers = (func.count(instance.c.version), func.count(instance.c.purged_at))
    counted = select(*columns, *numbers).select_from(here).where(of_study).group_by(series.c.id)
    for study_id, series_uid, modality, number, purged in session.execute(counted):
        of = found[study_id]
        of.instances[series_uid] = number
        of.modalities.add(modality)
        if purged:
            of.incomplete.add(series_uid)
    if classes:
        kinds = select(series.c.study_id, instance.c.sop_class_uid).join(instance).where(of_study).distinct()
        for study_id, sop_class in session.execute(kinds):
            found[study_id].sop_classes.add(sop_class)
    _add_results(session, ids, found)
    return found


def _add_results(session: Session, ids: Iterable[int], found: dict[int, Counts]) -> None:
    columns = (job.c.study_id, result.c.series_instance_uid, result.c.sop_class_uid, result.c.kind)
    shown = select(*columns).join(result).where(job.c.study_id.in_(ids), is_shown())
    for study_id, series_uid, sop_class, kind in session.execute(shown):
        of_study = found[study_id]
        of_study.instances[series_uid] = of_study.instances.get(series_uid, 0) + 1
        of_study.modalities.add(MODALITIES[ResultKind(kind)])
        of_study.sop_classes.add(sop_class)


def _of_patients(session: Session, rows: Sequence[Row]) -> None:
    """By id and issuer: of all who are called by these."""
    ids = {row["PatientID"] for row in rows}
    columns = (patient.c.patient_id, patient.c.issuer_of_patient_id, study.c.id)
    studies: dict[tuple[str, str], list[int]] = defaultdict(list)
    for patient_id, issuer, study_id in session.execute(
        select(*columns).join(study, study.c.patient_id == patient.c.id).where(patient.c.patient_id.in_(ids))
    ):
        studies[patient_id, issuer].append(study_id)
    counts = _of_studies(session, {each for some in studies.values() for each in some})
    for row in rows:
        own = [counts[each] for each in studies[row["PatientID"], row["IssuerOfPatientID"]]]
        row["NumberOfPatientRelatedStudies"] = len(own)
        row["NumberOfPatientRelatedSeries"] = sum(len(each.instances) for each in own)
        row["NumberOfPatientRelatedInstances"] = sum(each.total for each in own)
