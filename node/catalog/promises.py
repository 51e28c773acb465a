"""What senders asked us to keep, and whether they were told."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from node.catalog import forwards
from node.catalog.tables import instance, promise, series
from node.domain.promise import Kept, Promise, PromiseState, Wanted, moved
from node.domain.reception import PromiseAsked
from node.domain.study import Completeness, VersionKind

AT_ONCE = 500
"""SOP Instance UIDs in one query."""


def asked(session: Session, event: PromiseAsked) -> None:
    """Keep a request. The same one again, from the same caller, is answered again."""
    same = (promise.c.transaction_uid == event.transaction_uid) & (promise.c.calling_ae_title == event.calling_ae_title)
    known = session.execute(select(promise.c.id, promise.c.state).where(same)).one_or_none()
    values = {
        "address": event.address,
        "wanted": [list(each) for each in event.wanted],
        "state": PromiseState.ASKED,
        "attempts": 0,
        "asked_at": event.at,
        "not_before": event.at,
    }
    if known is None:
        key = {"transaction_uid": event.transaction_uid, "calling_ae_title": event.calling_ae_title}
        session.execute(insert(promise).values(**key, **values))
        return
    if known.state != PromiseState.ASKED:
        values["state"] = moved(PromiseState(known.state), PromiseState.ASKED)
    session.execute(update(promise).where(promise.c.id == known.id).values(**values))


def due(session: Session, now: datetime, until: datetime, limit: int) -> list[Promise]:
    """Requests to answer now, the oldest first: those that came up to a moment up to which the catalog is whole."""
    query = (
        select(promise)
        .where(promise.c.state == PromiseState.ASKED, promise.c.not_before <= now, promise.c.asked_at <= until)
        .order_by(promise.c.not_before, promise.c.id)
        .limit(limit)
    )
    return [_promise(row) for row in session.execute(query).mappings()]


def _promise(row: Any) -> Promise:
    return Promise(
        row["id"],
        row["transaction_uid"],
        row["calling_ae_title"],
        row["address"],
        tuple(Wanted(*each) for each in row["wanted"]),
        row["attempts"],
        row["asked_at"],
    )


def kept(session: Session, wanted: Sequence[Wanted], *, stay: bool) -> dict[str, Kept]:
    """SOP Instance UID to what is kept of it: the version that counts, its file here, or committed to by a destination
    that it was forwarded to. `stay`: what is here is never removed."""
    found = dict[str, Kept]()
    uids = [each.sop_instance_uid for each in wanted]
    elsewhere = forwards.kept_elsewhere(session, uids)
    for start in range(0, len(uids), AT_ONCE):
        query = (
            select(instance.c.sop_instance_uid, instance.c.sop_class_uid, instance.c.purged_at, series.c.state)
            .join(series, series.c.id == instance.c.series_id)
            .where(
                instance.c.sop_instance_uid.in_(uids[start : start + AT_ONCE]),
                instance.c.version == VersionKind.AUTHORITATIVE,
            )
        )
        for uid, sop_class, purged_at, state in session.execute(query):
            if uid in elsewhere or purged_at is None:
                stays = stay or uid in elsewhere
                undecided = state == Completeness.RECEIVING  # where it goes is decided when its series closes
                found[uid] = Kept(sop_class, stays, awaited=undecided and not stays)
    under_way = forwards.awaited(session, [uid for uid, each in found.items() if not each.stays])
    return {uid: replace(each, awaited=True) if uid in under_way else each for uid, each in found.items()}


def waits(session: Session, one: Promise, not_before: datetime) -> None:
    """What it asks for may yet be committed to elsewhere: it is looked at again."""
    session.execute(update(promise).where(promise.c.id == one.id).values(not_before=not_before))


def postponed(session: Session, one: Promise, reason: str, not_before: datetime) -> None:
    """Its caller did not take the answer; it gets it later."""
    values = {"attempts": one.attempts + 1, "error": reason, "not_before": not_before}
    session.execute(update(promise).where(promise.c.id == one.id).values(**values))


def ended(session: Session, one: Promise, state: PromiseState, now: datetime) -> None:
    """It was told, or is given up."""
    values = {"state": moved(PromiseState.ASKED, state), "attempts": one.attempts + 1, "answered_at": now}
    session.execute(update(promise).where(promise.c.id == one.id).values(**values))
