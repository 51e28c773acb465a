"""domain/job.py and domain/lease.py: moves, patience with each class of failure, whose turn it is, who is lost."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from node.domain.job import MOVES, PATIENCE, PRIORITY_STEP, Failure, JobState, economy_after, move, next_attempt, turn
from node.domain.lease import LONGEST_LOOK_S, LeaseWatch
from node.errors import IllegalMove

ALLOWED = {
    "queued": {"running", "superseded", "cancelled"},
    "running": {"queued", "done", "dead", "superseded", "cancelled"},
    "done": {"superseded"},
    "dead": {"superseded"},
    "superseded": set(),
    "cancelled": {"superseded"},
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
        (Failure.BROKEN_RESULT, [None, None, None, None]),
    ],
)
def test_each_failure_waits_twice_as_long_and_ends_after_the_third(failure: Failure, waits_s: list[int | None]) -> None:
    waits = [next_attempt(failure, attempts) for attempts in range(1, 5)]
    assert waits == [None if wait is None else timedelta(seconds=wait) for wait in waits_s]


def test_every_class_of_failure_has_its_patience() -> None:
    assert set(PATIENCE) == set(Failure)


@pytest.mark.parametrize(
    ("failure", "steps"),
    [(Failure.OUT_OF_MEMORY, [1, 2, 2]), (Failure.LOST_WORKER, [1, 2, 2]), (Failure.UNKNOWN, [0, 1, 2])],
)
def test_what_may_have_been_too_much_is_tried_with_less(failure: Failure, steps: list[int]) -> None:
    assert [economy_after(failure, economy) for economy in range(3)] == steps


NOON = datetime(2025, 3, 4, 12, tzinfo=UTC)


def test_of_equal_priority_the_older_goes_first_and_otherwise_the_more_urgent() -> None:
    assert turn(NOON, 0) < turn(NOON + timedelta(seconds=1), 0)
    assert turn(NOON + timedelta(minutes=5), 1) < turn(NOON, 0) < turn(NOON, -1)


def test_a_job_that_waits_goes_before_urgent_ones_that_come_much_later() -> None:
    least = turn(NOON, -3)
    others = [turn(NOON + timedelta(minutes=minute), 5) for minute in range(0, 600, 10)]
    assert sum(other <= least for other in others) == 9
    assert turn(NOON + 8 * PRIORITY_STEP + timedelta(seconds=1), 5) > least


class Ticks:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def looking(watch: LeaseWatch, ticks: Ticks, seconds: float, signs: dict[int, object]) -> list[int]:
    """What is lost after looking each second for so long."""
    lost: list[int] = []
    for _ in range(round(seconds)):
        ticks.now_s += 1
        lost = watch.lost(signs)
    return lost


def test_who_gives_no_new_sign_of_life_for_longer_than_a_lease_is_lost() -> None:
    ticks = Ticks()
    watch = LeaseWatch(60, ticks)
    assert looking(watch, ticks, 61, {1: "a", 2: "x"}) == []
    assert looking(watch, ticks, 1, {1: "b", 2: "x"}) == [2]
    assert looking(watch, ticks, 60, {1: "b"}) == []
    assert looking(watch, ticks, 1, {1: "b"}) == [1]


def test_a_job_that_was_claimed_anew_is_heard_anew() -> None:
    ticks = Ticks()
    watch = LeaseWatch(60, ticks)
    looking(watch, ticks, 40, {1: "a"})
    looking(watch, ticks, 1, {})
    assert looking(watch, ticks, 40, {1: "a"}) == []


def test_time_when_nobody_could_look_is_no_silence() -> None:
    ticks = Ticks()
    watch = LeaseWatch(60, ticks)
    looking(watch, ticks, 2, {1: "a"})
    ticks.now_s += 600
    assert watch.lost({1: "a"}) == []
    assert looking(watch, ticks, round(59 - LONGEST_LOOK_S), {1: "a"}) == []
    assert looking(watch, ticks, 2, {1: "a"}) == [1]
