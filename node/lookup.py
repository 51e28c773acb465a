"""What receivers ask the catalog while a caller waits for its answer; they write nothing there."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from node.catalog import announcements
from node.catalog.session import Catalog
from node.domain.announcement import StepState, Teller
from node.settings import Settings


@contextmanager
def reading(settings: Settings) -> Iterator[Session]:
    """A connection for one answer: receivers are many, and ask seldom."""
    catalog = Catalog(settings.database, b"")
    try:
        with catalog.reading() as session:
            yield session
    finally:
        catalog.close()


def state_told(settings: Settings, teller: Teller, uid: str) -> StepState | None:
    """How a step or notification stands; None where nobody told of it."""
    with reading(settings) as session:
        return announcements.state_of(session, teller, uid)
