"""Images forwarded as they came: which are to go where, what is due, and what came of it."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, insert, or_, select, update
from sqlalchemy.orm import Session, aliased

from node.catalog import missing
from node.catalog.session import changed
from node.catalog.tables import destination, forward, instance, result, series, study
from node.domain.commitment import Proof
from node.domain.forwarding import ForwardState, Image, move
from node.domain.study import Completeness, VersionKind

CHUNK = 500

MISSED = and_(
    forward.c.state == ForwardState.REFUSED, destination.c.enabled == 1, instance.c.purged_at.is_(None)
)  # fmt: skip
"""Of a forward with its destination and its instance: it was refused, and a person has to decide."""
UNCONFIRMED = and_(
    forward.c.state == ForwardState.DELIVERED,
    destination.c.enabled == 1,
    destination.c.commitment != Proof.OFF,
    instance.c.purged_at.is_(None),
)
"""The same: it is stored there, and the destination is to confirm that."""
EVERYTHING = forward.join(destination).join(instance, instance.c.id == forward.c.instance_id)


def plan(session: Session, study_id: int, titles: Sequence[str], now: datetime) -> int:
    """Let each image of a study that counts, and is of a complete series, go once to each of some destinations.

    Never our own results, never back to whom it came or was fetched from, nor anything that came back from where it was
    forwarded to. What counts again goes, too. What counts no more and was not sent yet goes only where its successor
    does not: who is to get an image gets one version of it. Returns how many are newly due.
    """
    named = select(destination).where(destination.c.ae_title.in_(titles), destination.c.enabled == 1)
    planned = 0
    for to in session.execute(named.order_by(destination.c.id)).mappings().all():
        again = (forward.c.destination_id == to["id"]) & forward.c.instance_id.in_(_counting(study_id))
        planned += _again(session, again & (forward.c.state == ForwardState.CANCELLED), now)
        has = missing.fetched_from(session, study_id, to["ae_title"])
        rows = [
            {"destination_id": to["id"], "study_id": study_id, "instance_id": row.id, "state": ForwardState.DUE,
             "sop_instance_uid": row.sop_instance_uid, "created_at": now, "not_before": now}
            for row in session.execute(_new(study_id, to["id"], to["ae_title"]))
            if row.sop_instance_uid not in has
        ]  # fmt: skip
        for first in range(0, len(rows), CHUNK):
            session.execute(insert(forward), rows[first : first + CHUNK])
        planned += len(rows)
    _withdraw(session, study_id)
    return planned


def _counting(study_id: int) -> Any:
    """Ids of the images of a study that count, where their series is complete and their files are here."""
    return (
        select(instance.c.id)
        .join(series, series.c.id == instance.c.series_id)
        .where(
            series.c.study_id == study_id,
            series.c.state == Completeness.COMPLETE,
            instance.c.version == VersionKind.AUTHORITATIVE,
            instance.c.purged_at.is_(None),
        )
    )


def _new(study_id: int, destination_id: int, ae_title: str) -> Any:
    """Images of a study that were never to go to a destination."""
    there = exists().where(forward.c.destination_id == destination_id, forward.c.instance_id == instance.c.id)
    same = exists().where(
        forward.c.destination_id == destination_id, forward.c.sop_instance_uid == instance.c.sop_instance_uid
    )
    known, back_from = aliased(forward), aliased(destination)
    came_back = exists().where(
        known.c.sop_instance_uid == instance.c.sop_instance_uid,
        known.c.destination_id == back_from.c.id,
        back_from.c.ae_title == instance.c.calling_ae_title,
    )
    own = exists().where(result.c.sop_instance_uid == instance.c.sop_instance_uid)
    return (
        select(instance.c.id, instance.c.sop_instance_uid)
        .where(
            instance.c.id.in_(_counting(study_id)),
            instance.c.calling_ae_title != ae_title,
            ~there,
            ~came_back,
            ~own,
            ~((instance.c.stands_for != "") & same),  # taken for the same as one that was removed after it went
        )
        .order_by(instance.c.id)
    )


def _withdraw(session: Session, study_id: int) -> None:
    move(ForwardState.DUE, ForwardState.CANCELLED)
    successor, counts = aliased(forward), instance.c.version == VersionKind.AUTHORITATIVE
    gone = (forward.c.study_id == study_id) & (forward.c.state == ForwardState.DUE)
    replaced = exists().where(
        successor.c.sop_instance_uid == forward.c.sop_instance_uid,
        successor.c.destination_id == forward.c.destination_id,
        successor.c.instance_id == instance.c.id,
        successor.c.id != forward.c.id,
        counts,
    )
    other = gone & forward.c.instance_id.not_in(select(instance.c.id).where(counts)) & replaced
    session.execute(update(forward).where(other).values(state=ForwardState.CANCELLED))


def due(session: Session, destination_id: int, now: datetime, limit: int) -> list[Image]:
    """What is to be sent to a destination now, in the order in which it became due: the index has that order."""
    columns = (forward.c.id, study.c.study_instance_uid, instance.c.sop_class_uid, instance.c.sop_instance_uid,
               instance.c.transfer_syntax_uid, instance.c.path, instance.c.digest, forward.c.failures)  # fmt: skip
    query = (
        select(*columns)
        .select_from(forward.join(instance, instance.c.id == forward.c.instance_id).join(study))
        .where(
            forward.c.destination_id == destination_id,
            forward.c.state == ForwardState.DUE,
            forward.c.not_before <= now,
        )
        .order_by(forward.c.not_before, forward.c.id)
        .limit(limit)
    )
    return [Image(*row) for row in session.execute(query)]


def delivered(session: Session, ids: Sequence[int], now: datetime) -> None:
    """The destination says that these are stored."""
    move(ForwardState.DUE, ForwardState.DELIVERED)
    values = {"state": ForwardState.DELIVERED, "attempts": forward.c.attempts + 1, "status": 0, "error": "",
              "delivered_at": now, "ask_at": now}  # fmt: skip
    session.execute(update(forward).where(_due(ids)).values(values))


def refused(session: Session, forward_id: int, status: int | None, error: str) -> None:
    """The destination will never take it."""
    move(ForwardState.DUE, ForwardState.REFUSED)
    values = {"state": ForwardState.REFUSED, "status": status, "error": error, "attempts": forward.c.attempts + 1}
    session.execute(update(forward).where(_due([forward_id])).values(values))


def postponed(session: Session, forward_id: int, status: int | None, error: str, not_before: datetime) -> None:
    """It did not work this time."""
    values = {"status": status, "error": error, "not_before": not_before, "failures": forward.c.failures + 1}
    session.execute(update(forward).where(_due([forward_id])).values(values))


def _due(ids: Sequence[int]) -> ColumnElement[bool]:
    return forward.c.id.in_(ids) & (forward.c.state == ForwardState.DUE)


def end_waits(session: Session, destination_id: int, now: datetime) -> None:
    """The destination is there again: what waits for it after a failure is due at once."""
    waits = (forward.c.destination_id == destination_id) & (forward.c.state == ForwardState.DUE)
    session.execute(update(forward).where(waits, forward.c.not_before > now).values(not_before=now))


def send_again(
    session: Session, study_id: int, states: Sequence[ForwardState], now: datetime, destination_id: int | None = None
) -> int:
    """An operator lets images of a study go again to destinations in use, where their files are here; how many."""
    for state in states:
        move(state, ForwardState.DUE)
    in_use = forward.c.destination_id.in_(select(destination.c.id).where(destination.c.enabled == 1))
    here = forward.c.instance_id.in_(_counting(study_id))
    which = (forward.c.study_id == study_id) & forward.c.state.in_(states) & in_use & here
    if destination_id is not None:
        which &= forward.c.destination_id == destination_id
    return _again(session, which, now)


def _again(session: Session, which: ColumnElement[bool], now: datetime) -> int:
    values = {"state": ForwardState.DUE, "not_before": now, "failures": 0, "status": None, "error": "",
              "delivered_at": None, "transaction_uid": None, "asks": 0, "rounds": 0, "ask_at": None}  # fmt: skip
    return changed(session, update(forward).where(which).values(values))


def give_up(session: Session, destination_id: int) -> int:
    """Nothing more will be sent to a destination; returns how many images waited for it."""
    move(ForwardState.DUE, ForwardState.CANCELLED)
    waiting = (forward.c.destination_id == destination_id) & (forward.c.state == ForwardState.DUE)
    return changed(session, update(forward).where(waiting).values(state=ForwardState.CANCELLED))


def kept_elsewhere(session: Session, sop_instance_uids: Iterable[str]) -> set[str]:
    """Which of these images some destination has promised to keep, in the version that counts here: by storage
    commitment, since who answers a C-FIND says what is there today."""
    promised = (forward.c.state == ForwardState.COMMITTED) & forward.c.transaction_uid.is_not(None)
    return _some(session, sop_instance_uids, promised)


def awaited(session: Session, sop_instance_uids: Iterable[str]) -> set[str]:
    """Which of these images some destination may yet promise to keep, in the version that counts here."""
    under_way = forward.c.state.in_((ForwardState.DUE, ForwardState.DELIVERED))
    asked = (destination.c.enabled == 1) & (destination.c.commitment == Proof.COMMITMENT)
    return _some(session, sop_instance_uids, under_way & asked)


def _some(session: Session, sop_instance_uids: Iterable[str], which: ColumnElement[bool]) -> set[str]:
    wanted, found = sorted(set(sop_instance_uids)), set[str]()
    counts = instance.c.version == VersionKind.AUTHORITATIVE
    for first in range(0, len(wanted), CHUNK):
        named = forward.c.sop_instance_uid.in_(wanted[first : first + CHUNK])
        query = select(forward.c.sop_instance_uid).select_from(EVERYTHING).where(named, counts, which)
        found.update(session.scalars(query))
    return found


def count_by_state(session: Session) -> dict[str, int]:
    """How many images stand where, over all destinations."""
    return dict(session.execute(select(forward.c.state, func.count()).group_by(forward.c.state)).all())


def of_destination(session: Session, destination_id: int) -> dict[str, int]:
    """The same for one."""
    query = select(forward.c.state, func.count()).where(forward.c.destination_id == destination_id)
    return dict(session.execute(query.group_by(forward.c.state).order_by(forward.c.state)).all())


def of_study(session: Session, study_id: int) -> dict[str, dict[str, int]]:
    """AE title of each destination that images of a study go to, to how many stand where."""
    query = (
        select(destination.c.ae_title, forward.c.state, func.count())
        .join(destination, destination.c.id == forward.c.destination_id)
        .where(forward.c.study_id == study_id)
        .group_by(destination.c.ae_title, forward.c.state)
        .order_by(destination.c.ae_title, forward.c.state)
    )
    found: dict[str, dict[str, int]] = {}
    for ae_title, state, count in session.execute(query):
        found.setdefault(ae_title, {})[state] = count
    return found


def stranded(session: Session) -> int:
    """How many images wait for a destination that the settings name no more."""
    waits = (forward.c.state == ForwardState.DUE) & (destination.c.enabled == 0)
    return int(session.execute(select(func.count()).select_from(EVERYTHING).where(waits)).scalar_one())


def missed(session: Session) -> dict[str, int]:
    """How many refused images need a person, by AET@HOST:PORT."""
    return _by_place(session, MISSED)


def overdue(session: Session, since: datetime) -> dict[str, int]:
    """How many images have failed and were there to be sent before that moment, by AET@HOST:PORT."""
    failing = and_(forward.c.state == ForwardState.DUE, forward.c.failures > 0, destination.c.enabled == 1)
    return _by_place(session, failing & (forward.c.created_at < since))


def unconfirmed(session: Session, since: datetime, rounds: int) -> dict[str, int]:
    """How many images destinations did not confirm since that moment, or lacked so often, by AET@HOST:PORT."""
    return _by_place(session, UNCONFIRMED & or_(forward.c.delivered_at < since, forward.c.rounds >= rounds))


def _by_place(session: Session, which: ColumnElement[bool]) -> dict[str, int]:
    place = (destination.c.ae_title, destination.c.host, destination.c.port)
    rows = session.execute(select(*place, func.count()).select_from(EVERYTHING).where(which).group_by(*place))
    return {f"{ae_title}@{host}:{port}": count for ae_title, host, port, count in rows}
