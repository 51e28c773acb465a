"""What is known of the images of a series or a study, and where their files are."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

from pydantic import TypeAdapter
from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from node.catalog import missing
from node.catalog.studies.versions import name_of
from node.catalog.tables import instance, series
from node.domain.instance import InstanceHeader
from node.domain.study import VersionKind

_HEADER: TypeAdapter[InstanceHeader] = TypeAdapter(InstanceHeader)


def headers_of_series(session: Session, series_id: int) -> list[InstanceHeader]:
    """Headers of the CT images of a series: the version that counts of each, named where it is not the first.

    One that took the place of a removed version has the name of that one: it is taken for the same.
    """
    of_series = instance.c.series_id == series_id
    replaced = set(
        session.scalars(
            select(instance.c.sop_instance_uid).where(of_series, instance.c.version == VersionKind.REPLACED)
        )
    )
    query = select(instance.c.header, name_of(instance)).where(
        of_series, instance.c.version == VersionKind.AUTHORITATIVE, instance.c.header.is_not(None)
    )
    rows = session.execute(query).all()  # before one that is spoiled stops us: SQLite would hold its read lock
    found = [(_HEADER.validate_python(header), name) for header, name in rows if header]
    return [replace(header, version=name) if header.sop_instance_uid in replaced else header for header, name in found]


def files_of_series(session: Session, series_id: int, sop_instance_uids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """SOP Instance UID to (path, digest of the data set), of the version that counts."""
    wanted = set(sop_instance_uids)
    query = select(instance.c.sop_instance_uid, instance.c.path, instance.c.digest).where(
        instance.c.series_id == series_id, instance.c.version == VersionKind.AUTHORITATIVE
    )
    return {uid: (path, digest) for uid, path, digest in session.execute(query) if uid in wanted}


def senders_of_series(session: Session, series_id: int) -> list[str]:
    """AE titles that brought the images of a series that count, each once; not who brought what we fetched, unless that
    is all there is."""
    query = select(instance.c.sop_instance_uid, instance.c.calling_ae_title).where(
        instance.c.series_id == series_id,
        instance.c.version == VersionKind.AUTHORITATIVE,
        instance.c.header.is_not(None),
    )
    callers = dict(session.execute(query).all())
    study_ids = session.scalars(select(series.c.study_id).where(series.c.id == series_id)).all()
    sent = callers.keys() - missing.fetched(session, study_ids)
    return sorted({callers[uid] for uid in sent or callers})


def has_removed(session: Session, series_id: int) -> bool:
    """Whether retention has removed images of a series that would be read."""
    query = select(instance.c.id).where(
        instance.c.series_id == series_id,
        instance.c.version == VersionKind.AUTHORITATIVE,
        instance.c.header.is_not(None),
        instance.c.purged_at.is_not(None),
    )
    return session.scalars(query.limit(1)).first() is not None


def count_images(session: Session, study_id: int, series_id: int | None = None) -> int:
    """How many instances a study has, or one series of it; each once, whatever versions of it came."""
    of = series.c.study_id == study_id if series_id is None else series.c.id == series_id
    query = select(func.count()).select_from(instance.join(series, series.c.id == instance.c.series_id))
    return int(session.execute(query.where(of, instance.c.version == VersionKind.AUTHORITATIVE)).scalar_one())


def count_by_series(session: Session, study_id: int) -> dict[str, int]:
    """Series Instance UID to how many instances of it a study has, each once."""
    query = (
        select(series.c.series_instance_uid, func.count())
        .join(instance, instance.c.series_id == series.c.id)
        .where(series.c.study_id == study_id, instance.c.version == VersionKind.AUTHORITATIVE)
        .group_by(series.c.series_instance_uid)
    )
    return {uid: int(number) for uid, number in session.execute(query)}


def usual_pause(session: Session, series_id: int, since: datetime) -> timedelta:
    """The median time between two images of a series that came from some moment on."""
    query = (
        select(instance.c.received_at)
        .where(instance.c.series_id == series_id, instance.c.received_at >= since)
        .order_by(instance.c.received_at)
    )
    times = session.scalars(query).all()
    pauses = sorted(then - before for before, then in pairwise(times))
    return pauses[len(pauses) // 2] if pauses else timedelta(0)


def ct_series_ids(session: Session, study_id: int) -> list[int]:
    """Series that hold at least one CT image."""
    query = (
        select(series.c.id)
        .join(instance, and_(instance.c.series_id == series.c.id, instance.c.header.is_not(None)))
        .where(series.c.study_id == study_id)
        .distinct()
    )
    return list(session.scalars(query))


def ct_files_of_study(session: Session, study_id: int, series_id: int | None = None) -> dict[str, tuple[str, str]]:
    """SOP Instance UID to (path, digest of the data set) of every CT image that was not removed: of a study, or of one
    series of it."""
    query = (
        select(instance.c.sop_instance_uid, instance.c.path, instance.c.digest)
        .join(series, series.c.id == instance.c.series_id)
        .where(
            series.c.study_id == study_id,
            instance.c.header.is_not(None),
            instance.c.version == VersionKind.AUTHORITATIVE,
            instance.c.purged_at.is_(None),
        )
    )
    if series_id is not None:
        query = query.where(series.c.id == series_id)
    return {uid: (path, digest) for uid, path, digest in session.execute(query)}
