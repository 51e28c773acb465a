"""How far each file of the journal is in the audit trail."""

from collections.abc import Collection

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from node.catalog.session import changed
from node.catalog.tables import journal


def position(session: Session, name: str) -> int:
    """Bytes of a file that were read; 0 for one that nobody has read."""
    return session.scalar(select(journal.c.position).where(journal.c.name == name)) or 0


def advance(session: Session, name: str, read: int) -> None:
    """A file was read so far, with this transaction."""
    if changed(session, update(journal).where(journal.c.name == name).values(position=read)) == 0:
        session.execute(insert(journal).values(name=name, position=read))


def forget_all_but(session: Session, names: Collection[str]) -> None:
    """Keep only what is known of files that are still there."""
    session.execute(delete(journal).where(journal.c.name.not_in(names)))
