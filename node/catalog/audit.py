"""The audit trail in SQL: `append` is its only writer, in the transaction of the change."""

from collections.abc import Iterator

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from node.catalog.tables import audit as table
from node.catalog.tables import audit_head
from node.domain.audit import GENESIS, Anchor, Entry, Event, entry_of

_PENDING = "nodus_audit_events"


def append(session: Session, event: Event) -> None:
    """Write an event with this transaction; it gets its place in the chain when the transaction closes."""
    session.info.setdefault(_PENDING, []).append(event)


def chain(session: Session, key: bytes) -> None:
    """Link the events of a transaction to the chain. The head is locked here, last, and so for the shortest time."""
    events: list[Event] = session.info.pop(_PENDING, [])
    if not events:
        return
    last = head(session, lock=True)
    entries = []
    for event in events:
        entry = entry_of(event, last.seq + 1, last.hash, key)
        entries.append(entry.__dict__)
        last = Anchor(entry.seq, entry.hash)
    session.execute(insert(table), entries)
    session.execute(update(audit_head).values(seq=last.seq, hash=last.hash))


def head(session: Session, *, lock: bool = False) -> Anchor:
    """Where the chain ends."""
    query = select(audit_head.c.seq, audit_head.c.hash)
    row = session.execute(query.with_for_update() if lock else query).one_or_none()
    return Anchor(row.seq, row.hash) if row else Anchor(0, GENESIS)


def entries(
    session: Session, *, study_instance_uid: str = "", kind: str = "", newest: int | None = None
) -> Iterator[Entry]:
    """Entries, oldest first; of one study, of one kind, or only the newest so many."""
    query = select(table).order_by(table.c.seq)
    if study_instance_uid:
        query = query.where(table.c.study_instance_uid == study_instance_uid)
    if kind:
        query = query.where(table.c.kind == kind)
    if newest is not None:
        last = query.order_by(None).order_by(table.c.seq.desc()).limit(newest).subquery()
        query = select(last).order_by(last.c.seq)
    for row in session.execute(query.execution_options(yield_per=1000)).mappings():
        yield Entry(**row)
