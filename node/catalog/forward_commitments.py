"""What destinations were asked to confirm of the images that they got, and what they answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session, aliased

from node.catalog.forwards import EVERYTHING, UNCONFIRMED
from node.catalog.tables import destination, forward, instance, series, study
from node.domain.commitment import Asked, Proof, Reference
from node.domain.forwarding import ForwardState, move

AT_ONCE = 500
"""Images in one request."""


@dataclass(frozen=True)
class ImageClaim:
    """Images of one study that are stored at one destination, and to be proven."""

    study_instance_uid: str
    ids: tuple[int, ...]
    references: tuple[Reference, ...]
    asks: int
    """In a row without an answer."""


@dataclass(frozen=True)
class AskedImage:
    """One image that was asked about, and who was asked."""

    id: int
    destination_id: int
    sop_instance_uid: str
    study_instance_uid: str
    rounds: int
    """Answers so far by which it was missing."""
    ae_title: str
    address: str


def due(session: Session, destination_id: int, now: datetime) -> ImageClaim | None:
    """The next study of which a destination stored every image that is to go there, and that it is asked about now."""
    waiting = aliased(forward)
    first = (
        select(forward.c.study_id)
        .select_from(EVERYTHING)
        .where(
            forward.c.destination_id == destination_id,
            UNCONFIRMED,
            forward.c.ask_at <= now,
            ~exists().where(
                waiting.c.study_id == forward.c.study_id,
                waiting.c.destination_id == destination_id,
                waiting.c.state == ForwardState.DUE,
            ),
        )
        .order_by(forward.c.ask_at, forward.c.id)
        .limit(1)
    )
    study_id = session.scalars(first).first()
    if study_id is None:
        return None
    columns = (forward.c.id, instance.c.sop_class_uid, instance.c.sop_instance_uid, study.c.study_instance_uid,
               series.c.series_instance_uid, forward.c.asks)  # fmt: skip
    tables = EVERYTHING.join(series, series.c.id == instance.c.series_id).join(study, study.c.id == series.c.study_id)
    which = (forward.c.destination_id == destination_id) & (forward.c.study_id == study_id)
    query = select(*columns).select_from(tables).where(which, UNCONFIRMED, forward.c.ask_at <= now)
    rows = session.execute(query.order_by(forward.c.id).limit(AT_ONCE)).all()
    references = tuple(Reference(*row[1:5]) for row in rows)
    return ImageClaim(rows[0][3], tuple(row[0] for row in rows), references, max(row[5] for row in rows))


def asked(session: Session, claim: ImageClaim, transaction_uid: str | None, ask_at: datetime) -> None:
    """Write an asking down, before it is sent; what is not heard of until then is asked for again."""
    values = {"transaction_uid": transaction_uid, "asks": claim.asks + 1, "ask_at": ask_at}
    session.execute(update(forward).where(forward.c.id.in_(claim.ids)).values(values))


def failed(session: Session, claim: ImageClaim, error: str, ask_at: datetime) -> None:
    """It could not be asked for, or the destination does not want to be asked so."""
    waits = forward.c.id.in_(claim.ids) & (forward.c.state == ForwardState.DELIVERED)
    session.execute(update(forward).where(waits).values(error=error, asks=claim.asks + 1, ask_at=ask_at))


def who(session: Session, transaction_uid: str) -> Asked | None:
    """What a Transaction UID stands for; None where nobody asked under it."""
    rows = of_transaction(session, transaction_uid)
    return Asked(rows[0].ae_title, frozenset(each.sop_instance_uid for each in rows)) if rows else None


def of_transaction(session: Session, transaction_uid: str) -> list[AskedImage]:
    """Images that were asked about under a Transaction UID, and are still to be confirmed."""
    columns = (forward.c.id, forward.c.destination_id, forward.c.sop_instance_uid, study.c.study_instance_uid,
               forward.c.rounds, destination.c.ae_title, destination.c.host, destination.c.port)  # fmt: skip
    tables = forward.join(destination).join(study, study.c.id == forward.c.study_id)
    which = (forward.c.transaction_uid == transaction_uid) & (forward.c.state == ForwardState.DELIVERED)
    rows = session.execute(select(*columns).select_from(tables).where(which).order_by(forward.c.id))
    return [AskedImage(*row[:6], f"{row[6]}:{row[7]}") for row in rows]


def of_claim(session: Session, claim: ImageClaim) -> list[AskedImage]:
    """The same for what was asked without one."""
    columns = (forward.c.id, forward.c.destination_id, forward.c.sop_instance_uid, study.c.study_instance_uid,
               forward.c.rounds, destination.c.ae_title, destination.c.host, destination.c.port)  # fmt: skip
    tables = forward.join(destination).join(study, study.c.id == forward.c.study_id)
    rows = session.execute(select(*columns).select_from(tables).where(forward.c.id.in_(claim.ids)))
    return [AskedImage(*row[:6], f"{row[6]}:{row[7]}") for row in rows]


def committed(session: Session, ids: Sequence[int], proof: Proof) -> None:
    """The destination confirmed that it has them; only under a Transaction UID has it promised to keep them."""
    promise = {} if proof is Proof.COMMITMENT else {"transaction_uid": None}
    _move(session, ids, ForwardState.COMMITTED, error="", asks=0, **promise)


def lacking(session: Session, ids: Sequence[int], error: str, ask_at: datetime) -> None:
    """The destination does not say that it has them; it is asked again."""
    _move(session, ids, None, error=error, asks=0, rounds=forward.c.rounds + 1, ask_at=ask_at)


def lost(session: Session, ids: Sequence[int], error: str, now: datetime) -> None:
    """The destination does not have them after all: they are due again."""
    again = {"not_before": now, "failures": 0, "status": None, "delivered_at": None, "transaction_uid": None}
    _move(session, ids, ForwardState.DUE, error=error, rounds=forward.c.rounds + 1, **again)


def _move(session: Session, ids: Sequence[int], then: ForwardState | None, **values: Any) -> None:
    if then is not None:
        values["state"] = move(ForwardState.DELIVERED, then)
    waits = forward.c.id.in_(ids) & (forward.c.state == ForwardState.DELIVERED)
    session.execute(update(forward).where(waits).values(**values))
