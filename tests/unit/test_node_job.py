"""domain/job.py: the table of moves and the patience with each class of failure."""

from datetime import timedelta
from itertools import product

import pytest

from node.domain.job import MOVES, Failure, JobState, move, next_attempt
from node.errors import IllegalMove

ALLOWED = {
    "queued": {"running", "superseded", "cancelled"},
    "running": {"queued", "done", "dead", "superseded", "cancelled"},
    "done": {"superseded"},
    "dead": {"superseded"},
    "superseded": set(),
    "cancelled": set(),
}


@pytest.mark.parametrize(("now", "then"), list(product(JobState, JobState)))
def test_exactly_the_moves_of_the_table_are_possible(now: JobState, then: JobState) -> None:
    if then in ALLOWED[now]:
        assert move(now, then) is then
    else:
        with pytest.raises(IllegalMove, match=f"from {now} to {then}"):
            move(now, then)


def test_every_state_stands_in_the_table() -> None:
    assert set(MOVES) == set(JobState)


@pytest.mark.parametrize(
    ("failure", "waits_s"),
    [
        (Failure.OUT_OF_MEMORY, [10, 20, None, None]),
        (Failure.LOST_WORKER, [2, 4, None, None]),
        (Failure.UNKNOWN, [5, 10, None, None]),
    ],
)
def test_each_failure_waits_twice_as_long_and_ends_after_the_third(failure: Failure, waits_s: list[int | None]) -> None:
    waits = [next_attempt(failure, attempts) for attempts in range(1, 5)]
    assert waits == [None if wait is None else timedelta(seconds=wait) for wait in waits_s]


def test_every_class_of_failure_has_its_patience() -> None:
    assert all(next_attempt(failure, 1) for failure in Failure)
