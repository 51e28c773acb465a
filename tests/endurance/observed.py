"""What SQL says of a running node; a database that has just been killed says nothing."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.exc import SQLAlchemyError

from node.catalog import tables
from node.domain.completeness import Evidence
from node.domain.delivery import OutboxState
from node.domain.job import JobState
from node.domain.study import Completeness
from tests.servers import Nodus

PATIENCE_OF_A_JOB = 2
"""Attempts that may be killed: the third loss of a worker means, by design, that the study is to blame."""
ACTIVE = (JobState.QUEUED, JobState.RUNNING)
UNSENT = (OutboxState.HELD, OutboxState.DUE)


def _count(node: Nodus, query: Select[tuple[int]]) -> int | None:
    try:
        with node.catalog.reading() as session:
            return int(session.execute(query).scalar_one())
    except SQLAlchemyError:
        return None


def _some(*tests: Any) -> Callable[[Nodus], bool]:
    """Whether there is a row that passes all tests."""
    return lambda node: bool(_count(node, select(func.count()).where(*tests)))


is_analysing = _some(tables.job.c.state == JobState.RUNNING)
closes_by_quiet = _some(tables.study.c.evidence == Evidence.QUIET)
holds_results = _some(tables.outbox.c.state == OutboxState.HELD)
is_delivering = _some(tables.outbox.c.state == OutboxState.DUE)
would_lose_a_job = _some(tables.job.c.state.in_(ACTIVE), tables.job.c.attempts >= PATIENCE_OF_A_JOB)


def images(node: Nodus) -> int | None:
    """How many are registered; None when the database does not answer."""
    return _count(node, select(func.count()).select_from(tables.instance))


def jobs_under_way(node: Nodus) -> int | None:
    """Readings and notices that are not done; None when the database does not answer."""
    return _count(node, select(func.count()).where(tables.job.c.state.in_(ACTIVE)))


def workers(node: Nodus) -> int | None:
    """How many say that they are there; None when the database does not answer."""
    return _count(node, select(func.count()).select_from(tables.worker))


UNDER_WAY = {
    "open series": select(func.count()).where(tables.series.c.state != Completeness.COMPLETE),
    "open studies": select(func.count()).where(tables.study.c.state != Completeness.COMPLETE),
    "jobs queued or running": select(func.count()).where(tables.job.c.state.in_(ACTIVE)),
    "results held or due": select(func.count()).where(tables.outbox.c.state.in_(UNSENT)),
}
"""What must come to an end."""


def under_way(node: Nodus) -> dict[str, int | None]:
    """How much of each is left; empty when everything came to its end."""
    left = {name: _count(node, query) for name, query in UNDER_WAY.items()}
    return {name: count for name, count in left.items() if count != 0}
