"""domain/breaker.py: who fails again and again is left alone, tried with one, and sent to again."""

import random
from datetime import timedelta
from itertools import product

import pytest

from node.domain.breaker import LEVELS, MOVES, OPENS_AFTER, Breaker, BreakerState
from node.errors import IllegalMove
from tests.studies import AT, after


class Middle(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def failed(times: int, begun: Breaker | None = None) -> Breaker:
    breaker = begun or Breaker()
    for _ in range(times):
        breaker = breaker.failed("away", AT, Middle())
    return breaker


def test_it_opens_after_three_failures_in_a_row_and_not_before() -> None:
    assert failed(OPENS_AFTER - 1).state is BreakerState.CLOSED
    opened = failed(OPENS_AFTER)
    assert (opened.state, opened.failures, opened.reason) == (BreakerState.OPEN, 3, "away")
    assert (opened.opened_at, opened.until) == (AT, after(30))


def test_one_answer_ends_the_row() -> None:
    assert failed(2).answered() == Breaker()
    assert failed(2, failed(2).answered()).state is BreakerState.CLOSED


def test_nothing_is_tried_until_its_moment_and_then_one() -> None:
    opened = failed(3)
    assert opened.tried(after(29.9)) is opened
    assert opened.tried(after(30)).state is BreakerState.HALF_OPEN
    assert Breaker().tried(after(30)) == Breaker()


def test_a_trial_that_fails_opens_it_for_longer_and_it_remembers_since_when() -> None:
    breaker, pauses = failed(3), []
    for _ in range(8):
        assert breaker.until is not None
        now = breaker.until
        breaker = breaker.tried(now).failed("still away", now, Middle())
        assert breaker.until is not None
        pauses.append(breaker.until - now)
    assert pauses[:5] == [timedelta(seconds=each) for each in (60, 120, 240, 480, 600)]
    assert pauses[5:] == [timedelta(minutes=10)] * 3
    assert breaker.opened_at == AT


def test_pauses_differ_by_a_quarter() -> None:
    jitter = random.Random(5)
    pauses = {failed(2).failed("away", AT, jitter).until for _ in range(50)}
    assert len(pauses) == 50
    assert all(after(22.5) <= until <= after(37.5) for until in pauses if until)


def test_what_was_under_way_changes_nothing_when_an_operator_paused_it() -> None:
    paused = failed(1).paused(AT)
    assert paused.failed("away", AT, Middle()) is paused
    assert paused.answered() is paused
    assert paused.tried(after(1e6)) is paused
    assert paused.resumed() == Breaker()
    with pytest.raises(IllegalMove):
        paused.paused(AT)


@pytest.mark.parametrize(("now", "then"), list(product(BreakerState, BreakerState)))
def test_every_move_is_in_the_table(now: BreakerState, then: BreakerState) -> None:
    allowed = {
        "closed": {"closed", "open", "paused"},
        "open": {"half-open", "closed", "paused"},
        "half-open": {"closed", "open", "paused"},
        "paused": {"closed"},
    }
    assert (then in MOVES[now]) == (then in allowed[now])


def test_every_state_has_a_number_of_its_own() -> None:
    assert sorted(LEVELS.values()) == list(range(len(BreakerState)))
