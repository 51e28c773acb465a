"""New files become rows of patients, studies, series and instances."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import case, insert, select, update
from sqlalchemy.orm import Session

from node.catalog import missing
from node.catalog.narrowing import name_columns
from node.catalog.studies.versions import chunks, count_again, give_place, lock, take_the_place_of_removed
from node.catalog.tables import instance, patient, result, series, study
from node.domain.instance import InstanceHeader
from node.domain.study import UNDECIDED, Arrival, Completeness, VersionKind

_HEADER: TypeAdapter[InstanceHeader] = TypeAdapter(InstanceHeader)


def known_paths(session: Session, paths: Iterable[str]) -> set[str]:
    """Which of these files have a row."""
    found: set[str] = set()
    for chunk in chunks(paths):
        found.update(session.scalars(select(instance.c.path).where(instance.c.path.in_(chunk))))
    return found


def all_paths(session: Session) -> set[str]:
    """Every file that has a row and should be there."""
    return set(session.scalars(select(instance.c.path).where(instance.c.purged_at.is_(None))))


def own_results(session: Session, sop_instance_uids: Iterable[str]) -> set[str]:
    """Which of these instances we produced ourselves."""
    found: set[str] = set()
    for chunk in chunks(sop_instance_uids):
        found.update(session.scalars(select(result.c.sop_instance_uid).where(result.c.sop_instance_uid.in_(chunk))))
    return found


def register(session: Session, arrivals: Sequence[Arrival]) -> None:
    """Enter new files: rows for what is not known yet, and the study open again where something new came."""
    patients = _ids_of_patients(session, [arrival.header for arrival in arrivals])
    studies = _ids_of_studies(session, arrivals, patients)
    all_series = _ids_of_series(session, arrivals, studies)
    _lock_series(session, studies.values())
    names = take_the_place_of_removed(session, arrivals, all_series.values())
    session.execute(update(study).where(study.c.id.in_(studies.values())).values(purged_at=None))
    give_place(session, [arrival.replaces for arrival in arrivals if arrival.replaces])
    session.execute(insert(instance), [_instance_row(a, all_series[_series_key(a)], names) for a in arrivals])
    news = sorted(filter(_is_news, arrivals), key=_received_at)
    fetched = missing.fetched(session, studies.values())
    _touch(session, series, {all_series[_series_key(a)]: a for a in news}, fetched)
    _touch(session, study, newest := {studies[a.header.study_instance_uid]: a for a in news}, fetched)
    _keep_called(session, {row_id: a for row_id, a in newest.items() if a.header.sop_instance_uid not in fetched})
    for header in {_series_key(a): a.header for a in news if a.replaces}.values():
        follow(session, header)
    conflicts: dict[int, int] = defaultdict(int)
    for arrival in arrivals:
        conflicts[studies[arrival.header.study_instance_uid]] += arrival.version in UNDECIDED
    for study_id, count in conflicts.items():
        if count:
            session.execute(update(study).where(study.c.id == study_id).values(conflicts=study.c.conflicts + count))


def _is_news(arrival: Arrival) -> bool:
    return not arrival.own and arrival.version in (VersionKind.AUTHORITATIVE, VersionKind.CONFLICT)


def follow(session: Session, header: InstanceHeader) -> None:
    """What the rows of a study and a series say of themselves and of their patient is what this image says."""
    (patient_id,) = _ids_of_patients(session, [header]).values()
    described = {"series_description": header.series_description, "body_part_examined": header.body_part_examined}
    of_study = study.c.study_instance_uid == header.study_instance_uid
    study_id = session.execute(select(study.c.id).where(of_study)).scalar_one()
    place = (series.c.study_id == study_id) & (series.c.series_instance_uid == header.series_instance_uid)
    session.execute(update(series).where(place).values(described))
    session.execute(update(study).where(of_study).values(_study_values(header, patient_id)))


def come_again(session: Session, arrivals: Sequence[Arrival]) -> None:
    """Files that retention had removed are here again: what they belong to is open, until quiet says that all are."""
    by_path = {arrival.path: arrival for arrival in arrivals}
    for chunk in chunks(by_path):
        places = select(series.c.study_id).join(instance).where(instance.c.path.in_(chunk)).distinct()
        _lock_series(session, session.scalars(places).all())
    of_series, of_study = {}, {}
    for chunk in chunks(by_path):
        place = instance.c.path.in_(chunk)
        for path, series_id, study_id in session.execute(
            select(instance.c.path, series.c.id, series.c.study_id).join(series).where(place)
        ):
            of_series[series_id] = of_study[study_id] = by_path[path]
        session.execute(update(instance).where(place).values(purged_at=None))
    count_again(session, by_path)
    _touch(session, series, of_series)
    _touch(session, study, of_study)
    session.execute(update(study).where(study.c.id.in_(of_study)).values(purged_at=None))


def stay(session: Session, paths: Sequence[str], at: datetime) -> dict[str, int]:
    """Files that were said to be removed came again at that moment, and stay: as `come_again`, by their rows alone.

    Returns Study Instance UID to how many.
    """
    counts: dict[str, int] = defaultdict(int)
    of_series, of_study = set(), set()
    for chunk in chunks(paths):
        place = instance.c.path.in_(chunk) & instance.c.purged_at.is_not(None)
        query = select(study.c.study_instance_uid, series.c.study_id, instance.c.series_id)
        for uid, study_id, series_id in session.execute(
            query.select_from(instance.join(series).join(study)).where(place)
        ):
            counts[uid] += 1
            of_series.add(series_id)
            of_study.add(study_id)
        session.execute(update(instance).where(place).values(purged_at=None))
    count_again(session, paths)
    for uid in sorted(counts):
        lock(session, uid)
    opened = {"state": Completeness.RECEIVING, "first_received_at": at, "last_received_at": at}
    session.execute(update(series).where(series.c.id.in_(of_series)).values(opened))
    session.execute(update(study).where(study.c.id.in_(of_study)).values({**opened, "purged_at": None}))
    return counts


def _lock_series(session: Session, study_ids: Iterable[int]) -> None:
    """Series before jobs before studies, as everybody locks them who changes several (see `versions.lock`)."""
    query = select(series.c.id).where(series.c.study_id.in_(set(study_ids))).order_by(series.c.id)
    session.execute(query.with_for_update(key_share=True))


def _touch(session: Session, table: Any, newest: dict[int, Arrival], fetched: Collection[str] = ()) -> None:
    """More came: what it belongs to is open (again, and then for as long as the first time), and quiet starts anew.

    A file that is told late leaves the times of newer ones as they are: quiet never runs backwards. Who brings what we
    `fetched` (SOP Instance UIDs) does not become the sender: rules and patience stay those of who sent the rest.
    """
    for row_id, arrival in newest.items():
        received_at, was_complete = _received_at(arrival), table.c.state == Completeness.COMPLETE
        opened_at = case((was_complete, received_at), else_=table.c.first_received_at)
        place = table.c.id == row_id
        opened = {"state": Completeness.RECEIVING, "first_received_at": opened_at}
        session.execute(update(table).where(place).values(opened))
        not_newer = table.c.last_received_at <= received_at
        came = _arrival_values(arrival)
        if arrival.header.sop_instance_uid in fetched:
            came = {"last_received_at": received_at}
        session.execute(update(table).where(place, not_newer).values(came))


def _keep_called(session: Session, newest: Mapping[int, Arrival]) -> None:
    """At which AE title of ours a study came last."""
    for study_id, arrival in newest.items():
        called = {"called_ae_title": arrival.reception.called_ae_title}
        session.execute(update(study).where(study.c.id == study_id).values(called))


def _received_at(arrival: Arrival) -> datetime:
    """When it came; not later than now: who says so came before the clock was set back."""
    return min(datetime.fromisoformat(arrival.reception.received_at), datetime.now(UTC))


def _arrival_values(arrival: Arrival) -> dict[str, Any]:
    return {
        "last_received_at": _received_at(arrival),
        "last_association_id": arrival.reception.association_id,
        "calling_ae_title": arrival.reception.calling_ae_title,
        "address": arrival.reception.address,
    }


def _identity(header: InstanceHeader) -> str:
    fields = (
        header.patient_id,
        header.issuer_of_patient_id,
        header.patient_name,
        header.patient_birth_date,
        header.patient_sex,
    )
    return hashlib.sha256("\x1f".join(fields).encode("utf-8", "surrogatepass")).hexdigest()


def _ids_of_patients(session: Session, of: Iterable[InstanceHeader]) -> dict[str, int]:
    headers = {_identity(header): header for header in of}
    rows = {
        identity: {
            "identity": identity,
            "patient_id": header.patient_id,
            "issuer_of_patient_id": header.issuer_of_patient_id,
            "patient_name": header.patient_name,
            "patient_birth_date": header.patient_birth_date,
            "patient_sex": header.patient_sex,
            **name_columns(header.patient_name),
        }
        for identity, header in headers.items()
    }
    return _existing_or_new(session, patient, patient.c.identity, rows)


def _ids_of_studies(session: Session, arrivals: Sequence[Arrival], patients: dict[str, int]) -> dict[str, int]:
    rows: dict[str, dict[str, Any]] = {}
    for arrival in arrivals:
        header = arrival.header
        rows.setdefault(
            header.study_instance_uid,
            {
                **_study_values(header, patients[_identity(header)]),
                "study_instance_uid": header.study_instance_uid,
                "state": Completeness.RECEIVING,
                "first_received_at": _received_at(arrival),
                **_arrival_values(arrival),
            },
        )
    return _existing_or_new(session, study, study.c.study_instance_uid, rows)


def _study_values(header: InstanceHeader, patient_id: int) -> dict[str, Any]:
    return {
        "patient_id": patient_id,
        "study_date": header.study_date,
        "study_time": header.study_time,
        "accession_number": header.accession_number,
        "study_id": header.study_id,
        "study_description": header.study_description,
        "referring_physician_name": header.referring_physician_name,
    }


def _series_key(arrival: Arrival) -> tuple[str, str]:
    return arrival.header.study_instance_uid, arrival.header.series_instance_uid


def _ids_of_series(
    session: Session, arrivals: Sequence[Arrival], studies: dict[str, int]
) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for study_uid in {arrival.header.study_instance_uid for arrival in arrivals}:
        rows: dict[str, dict[str, Any]] = {}
        for arrival in arrivals:
            if arrival.header.study_instance_uid == study_uid:
                rows.setdefault(arrival.header.series_instance_uid, _series_row(arrival, studies[study_uid]))
        inside = series.c.study_id == studies[study_uid]
        ids = _existing_or_new(session, series, series.c.series_instance_uid, rows, inside)
        found.update({(study_uid, series_uid): row_id for series_uid, row_id in ids.items()})
    return found


def _series_row(arrival: Arrival, study_id: int) -> dict[str, Any]:
    header = arrival.header
    return {
        "study_id": study_id,
        "series_instance_uid": header.series_instance_uid,
        "modality": header.modality,
        "series_number": header.series_number,
        "series_description": header.series_description,
        "body_part_examined": header.body_part_examined,
        "state": Completeness.COMPLETE if arrival.own else Completeness.RECEIVING,
        "first_received_at": _received_at(arrival),
        **_arrival_values(arrival),
    }


def _existing_or_new(
    session: Session, table: Any, natural_key: Any, rows: dict[str, dict[str, Any]], *inside: Any
) -> dict[str, int]:
    """Ids of rows by their natural key, inserting what is missing. Only one process registers, so nobody is between."""
    ids: dict[str, int] = {}
    for chunk in chunks(rows):
        query = select(natural_key, table.c.id).where(natural_key.in_(chunk), *inside)
        ids.update(session.execute(query).all())
    for key, row in rows.items():
        if key not in ids:
            ids[key] = session.execute(insert(table).values(**row).returning(table.c.id)).scalar_one()
    return ids


def _instance_row(arrival: Arrival, series_id: int, names: Mapping[str, str]) -> dict[str, Any]:
    header = arrival.header
    return {
        "series_id": series_id,
        "sop_instance_uid": header.sop_instance_uid,
        "sop_class_uid": header.sop_class_uid,
        "transfer_syntax_uid": header.transfer_syntax_uid,
        "instance_number": header.instance_number,
        "rows": header.rows,
        "columns": header.columns,
        "header": _HEADER.dump_python(header, mode="json") if header.ct else None,
        "path": arrival.path,
        "digest": arrival.digest,
        "size": arrival.size,
        "version": arrival.version,
        "stands_for": names.get(header.sop_instance_uid, ""),
        "received_at": _received_at(arrival),
        "association_id": arrival.reception.association_id,
        "calling_ae_title": arrival.reception.calling_ae_title,
    }
