"""Versions of instances: which of several files counts, what waits for an operator, and what was decided."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, case, exists, func, not_, or_, select, update
from sqlalchemy.orm import Session

from node.catalog import audit
from node.catalog.session import changed
from node.catalog.tables import instance, job, outbox, series, study
from node.domain.audit import Event, EventKind
from node.domain.delivery import OutboxState
from node.domain.study import UNDECIDED, Arrival, Completeness, Version, VersionKind

CHUNK = 500
"""Values in one IN (...): SQLite takes 32,766 parameters, indexes like fewer."""


def chunks(values: Iterable[str]) -> Iterable[list[str]]:
    """Portions that one IN (...) takes."""
    ordered = sorted(set(values))
    return (ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK))


def versions_of(session: Session, sop_instance_uids: Iterable[str]) -> dict[str, list[Version]]:
    """The different contents of each known instance: the one that counts first, then as they came."""
    found: dict[str, list[Version]] = {}
    for chunk in chunks(sop_instance_uids):
        query = _VERSION.where(
            instance.c.sop_instance_uid.in_(chunk),
            instance.c.version != VersionKind.DUPLICATE,
            instance.c.purged_at.is_(None),  # a file that was removed cannot be compared
        ).order_by(instance.c.version != VersionKind.AUTHORITATIVE, instance.c.id)
        for row in session.execute(query).mappings():
            found.setdefault(row["sop_instance_uid"], []).append(_version(row))
    return found


_VERSION = select(*(instance.c[name] for name in Version.__dataclass_fields__ if name != "kind"), instance.c.version)


def _version(row: Any) -> Version:
    values = {name: value for name, value in row.items() if name != "version"}
    return Version(**values, kind=VersionKind(row["version"]))


def undecided(session: Session, study_instance_uid: str = "") -> dict[str, dict[str, list[Version]]]:
    """Study Instance UID to SOP Instance UID to versions, where one waits for an operator."""
    query = (
        select(study.c.study_instance_uid, instance.c.sop_instance_uid)
        .join(series, series.c.study_id == study.c.id)
        .join(instance, instance.c.series_id == series.c.id)
        .where(instance.c.version.in_(UNDECIDED))
    )
    if study_instance_uid:
        query = query.where(study.c.study_instance_uid == study_instance_uid)
    places = {sop_uid: study_uid for study_uid, sop_uid in session.execute(query)}
    found: dict[str, dict[str, list[Version]]] = {}
    for sop_uid, versions in versions_of(session, places).items():
        found.setdefault(places[sop_uid], {})[sop_uid] = versions
    return found


def take_the_place_of_removed(
    session: Session, arrivals: Sequence[Arrival], series_ids: Iterable[int]
) -> dict[str, str]:
    """What comes where retention has removed the version that counted is the one that counts.

    The two cannot be compared any more, and are taken for the same: other bytes alone make no second report. Returns
    SOP Instance UID to the digest of the version that the new one stands for.
    """
    names: dict[str, str] = {}
    for chunk in chunks(each.header.sop_instance_uid for each in arrivals if each.version is VersionKind.AUTHORITATIVE):
        gone = instance.c.purged_at.is_not(None) & (instance.c.version == VersionKind.AUTHORITATIVE)
        place = instance.c.sop_instance_uid.in_(chunk) & instance.c.series_id.in_(set(series_ids)) & gone
        query = select(instance.c.sop_instance_uid, name_of(instance)).where(place)
        names |= dict(session.execute(query).all())
        session.execute(update(instance).where(place).values(version=VersionKind.DUPLICATE))
    return names


def count_again(session: Session, paths: Iterable[str]) -> None:
    """A duplicate that came again counts where the version that it is a duplicate of was removed.

    Where a third version is known it may be a duplicate of that one, unless their digests say that it is not.
    """
    back, gone, third = (instance.alias(name) for name in ("back", "gone", "third"))
    was_counting = (gone.c.version == VersionKind.AUTHORITATIVE) & gone.c.purged_at.is_not(None)
    of_both = and_(third.c.sop_instance_uid == back.c.sop_instance_uid, third.c.series_id == back.c.series_id)
    known = exists().where(of_both, third.c.version.not_in((VersionKind.AUTHORITATIVE, VersionKind.DUPLICATE)))
    query = (
        select(back.c.sop_instance_uid, back.c.id, gone.c.id, name_of(gone))
        .join(gone, and_(gone.c.sop_instance_uid == back.c.sop_instance_uid, gone.c.series_id == back.c.series_id))
        .where(back.c.version == VersionKind.DUPLICATE, was_counting, or_(not_(known), name_of(back) == name_of(gone)))
    )
    for chunk in chunks(paths):
        found = {uid: row for uid, *row in session.execute(query.where(back.c.path.in_(chunk)))}
        for back_id, gone_id, name in found.values():
            session.execute(update(instance).where(instance.c.id == gone_id).values(version=VersionKind.DUPLICATE))
            counts = {"version": VersionKind.AUTHORITATIVE, "stands_for": name}
            session.execute(update(instance).where(instance.c.id == back_id).values(counts))


def name_of(of: Any) -> Any:
    """Column that names a version: its own digest, or that of the removed one whose place it took."""
    return case((of.c.stands_for != "", of.c.stands_for), else_=of.c.digest)


def give_place(session: Session, paths: Iterable[str]) -> None:
    """These files counted until now."""
    for chunk in chunks(paths):
        session.execute(update(instance).where(instance.c.path.in_(chunk)).values(version=VersionKind.REPLACED))


def lock(session: Session, study_instance_uid: str) -> None:
    """Let nobody else judge the series of a study in this transaction: `complete` too begins with them.

    Who changes several rows of a study locks series, then jobs, then the study. A row may refer to them meanwhile.
    """
    query = select(series.c.id).join(study, study.c.id == series.c.study_id).order_by(series.c.id)
    session.execute(
        query.where(study.c.study_instance_uid == study_instance_uid).with_for_update(of=series, key_share=True)
    )


def hold_back(session: Session, study_instance_uid: str) -> bool:
    """Let results of a study that no destination was offered wait again; False when one was offered: it is too late.

    Holding comes before asking: an attempt that begins meanwhile either finds nothing due, or is seen here.
    """
    lock(session, study_instance_uid)
    jobs = (
        select(job.c.id)
        .join(study, study.c.id == job.c.study_id)
        .where(study.c.study_instance_uid == study_instance_uid)
    )
    of_study = outbox.c.job_id.in_(jobs)
    waiting = (outbox.c.state == OutboxState.DUE) & (outbox.c.attempts == 0)
    held = changed(session, update(outbox).where(of_study, waiting).values(state=OutboxState.HELD))
    if held:
        event = Event(EventKind.RESULTS_HELD, study_instance_uid=study_instance_uid, detail={"results": held})
        audit.append(session, event)
    offered = or_(outbox.c.attempts > 0, outbox.c.state.in_((OutboxState.DELIVERED, OutboxState.REFUSED)))
    query = select(outbox.c.id).where(of_study, outbox.c.state != OutboxState.CANCELLED, offered).limit(1)
    return session.scalars(query).first() is None


def settle(session: Session, chosen: Version) -> set[int]:
    """Of all versions of an instance this one counts from now on; nothing of it waits for an operator any more.

    Versions whose files were removed are settled with the others. Returns the ids of their series.
    """
    others = (instance.c.sop_instance_uid == chosen.sop_instance_uid) & (instance.c.id != chosen.id)
    kept = instance.c.id == chosen.id
    counted = others & (instance.c.version == VersionKind.AUTHORITATIVE)
    session.execute(update(instance).where(counted).values(version=VersionKind.REPLACED))
    session.execute(
        update(instance).where(others, instance.c.version.in_(UNDECIDED)).values(version=VersionKind.REJECTED)
    )
    session.execute(update(instance).where(kept).values(version=VersionKind.AUTHORITATIVE))
    return set(session.scalars(select(instance.c.series_id).where(others | kept)))


def look_again(session: Session, study_instance_uid: str, series_ids: Iterable[int], now: datetime) -> None:
    """Some instances were settled: their series and the study are open again, and what waits is counted anew."""
    study_id = session.execute(select(study.c.id).where(study.c.study_instance_uid == study_instance_uid)).scalar_one()
    waiting = (
        select(func.count())
        .select_from(instance.join(series, series.c.id == instance.c.series_id))
        .where(series.c.study_id == study_id, instance.c.version.in_(UNDECIDED))
        .scalar_subquery()
    )
    opened = {"state": Completeness.RECEIVING, "first_received_at": now, "last_received_at": now}
    session.execute(update(series).where(series.c.id.in_(sorted(set(series_ids)))).values(opened))
    session.execute(update(study).where(study.c.id == study_id).values({**opened, "conflicts": waiting}))
