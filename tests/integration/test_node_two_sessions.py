"""Two sessions on PostgreSQL that want the rows of one study at one moment: each waits its turn, and none is lost.

The first stops in the middle of its transaction, at an event, until the server says that the second waits for it.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from node.catalog import studies
from node.catalog.session import Catalog
from node.flow import release
from tests.conftest import AUDIT_KEY
from tests.deliveries import with_results
from tests.servers import Postgres, eventually
from tests.studies import Series, after, arrivals, reception

WAITS = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
LATE = Series("0").headers(range(64, 66))


@pytest.fixture
def catalog(postgres_server: Postgres) -> Iterator[Catalog]:
    """A catalog on PostgreSQL; SQLite has one writer at a time."""
    with postgres_server.database() as url:
        opened = Catalog(url, AUDIT_KEY)
        yield opened
        opened.close()


@contextmanager
def beside(catalog: Catalog, other: Callable[[], object]) -> Iterator[tuple[Callable[[], None], Future[object]]]:
    """Something that runs beside this; gives what begins it and returns once it waits for a lock, and its end."""
    begin = threading.Event()

    def begun() -> object:
        assert begin.wait(30)
        return other()

    def until_it_waits() -> None:
        begin.set()
        eventually(lambda: _waiting(catalog) or running.done())

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(begun)
        try:
            yield until_it_waits, running
        finally:
            begin.set()


def _waiting(catalog: Catalog) -> int:
    with catalog.reading() as session:
        return int(session.execute(WAITS).scalar_one())


def come(session: Session) -> None:
    """More slices of the study are entered."""
    studies.register(session, arrivals(LATE, reception(after(1), "late")))


def test_results_of_a_study_that_is_being_opened_again_are_not_released(catalog: Catalog) -> None:
    delivering = with_results(catalog, released=False)
    with beside(catalog, lambda: release.step(catalog, after(2))) as (until_it_waits, released):
        with catalog.writing() as session:
            come(session)
            until_it_waits()
        assert not released.result(30)
    assert delivering.states() == ["held", "held"]
