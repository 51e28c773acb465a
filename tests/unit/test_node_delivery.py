"""domain/delivery.py: what a status means, how long to wait, which rung to send."""

import random
from datetime import timedelta
from itertools import product

import pytest

from node.domain.delivery import (
    SENDING_ORDER,
    Answer,
    OutboxState,
    ResultKind,
    Rung,
    Shipment,
    answer_of,
    back_off,
    is_out_of_resources,
    move,
)
from node.errors import IllegalMove

RUNGS = (Rung("class 3D", "1.1", "a"), Rung("class plain", "1.2", "b"), Rung("class enhanced", "1.3", "c"))


def shipment(fixed: str | None = None) -> Shipment:
    return Shipment(1, ResultKind.SR, "1.2.3", 7, 0, fixed, RUNGS)


@pytest.mark.parametrize("status", [0x0000, 0x0111, 0xB000, 0xB006, 0xB007])
def test_success_warnings_and_an_old_copy_are_stored(status: int) -> None:
    assert answer_of(status) is Answer.STORED


@pytest.mark.parametrize("status", [0x0110, 0x0124, 0x0213, 0xA700, 0xA701, 0xA7FF, 0xFE00, 0xB001, 0x0001])
def test_a_busy_or_unsure_destination_is_asked_again(status: int) -> None:
    assert answer_of(status) is Answer.TRY_AGAIN


@pytest.mark.parametrize("status", [0x0122, 0xA800, 0xA900, 0xA9FF, 0xC000, 0xC123, 0xCFFF])
def test_what_will_never_fit_is_not_sent_again(status: int) -> None:
    assert answer_of(status) is Answer.NEVER


def test_only_a7xx_speaks_of_the_destination_and_not_of_the_result() -> None:
    spoken = [status for status in range(0x10000) if is_out_of_resources(status)]
    assert spoken == list(range(0xA700, 0xA800))


@pytest.mark.parametrize(("status", "answer"), [(0xA7FF, Answer.TRY_AGAIN), (0xAA00, Answer.TRY_AGAIN),
                                                (0xBFFF, Answer.TRY_AGAIN), (0xD000, Answer.TRY_AGAIN)])  # fmt: skip
def test_the_permanent_ranges_end_where_the_standard_ends_them(status: int, answer: Answer) -> None:
    assert answer_of(status) is answer


def test_waits_double_from_two_seconds_to_an_hour() -> None:
    class Middle(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return (a + b) / 2

    waits = [back_off(failures, Middle()) for failures in range(1, 14)]
    assert waits[:4] == [timedelta(seconds=2 * 2**n) for n in range(4)]
    assert waits[10] == timedelta(seconds=2048)
    assert waits[11] == waits[12] == timedelta(hours=1)
    assert back_off(10_000, Middle()) == timedelta(hours=1)


def test_waits_differ_by_a_quarter_so_that_peers_do_not_come_at_once() -> None:
    jitter = random.Random(3)
    waits = [back_off(1, jitter).total_seconds() for _ in range(200)]
    assert min(waits) >= 1.5
    assert max(waits) <= 2.5
    assert max(waits) - min(waits) > 0.8


def test_the_first_rung_that_the_destination_takes_is_chosen() -> None:
    assert shipment().choose(frozenset({"class enhanced", "class plain"})) == RUNGS[1]
    assert shipment().choose(frozenset({"class 3D", "class enhanced"})) == RUNGS[0]
    assert shipment().choose(frozenset({"another"})) is None


def test_a_fixed_rung_is_never_left_again() -> None:
    assert shipment(fixed="1.2").choose(frozenset({"class 3D", "class plain"})) == RUNGS[1]
    assert shipment(fixed="1.2").choose(frozenset({"class 3D"})) is None


def test_a_rung_that_refers_to_what_the_destination_lacks_is_passed_over() -> None:
    rungs = (
        Rung("key objects", "2.1", "a", frozenset({"seg", "report"})),
        Rung("key objects", "2.2", "b", frozenset({"report"})),
        Rung("key objects", "2.3", "c"),
    )
    takes = frozenset({"key objects"})
    for stored, chosen in (({"seg", "report"}, 0), ({"report", "more"}, 1), ({"seg"}, 2), (set(), 2)):
        one = Shipment(1, ResultKind.KOS, "1.2.3", 7, 0, None, rungs, frozenset(stored))
        assert one.choose(takes) == rungs[chosen]
    again = Shipment(1, ResultKind.KOS, "1.2.3", 7, 1, "2.1", rungs)
    assert again.choose(takes) == rungs[0]  # it may be there: never another
    assert Shipment(1, ResultKind.KOS, "1.2.3", 7, 0, None, rungs[:1]).choose(takes) is None


def test_the_segmentation_goes_before_the_report_that_refers_to_it() -> None:
    assert SENDING_ORDER[:3] == (ResultKind.SEG, ResultKind.SR, ResultKind.KOS)
    assert len(SENDING_ORDER) == len(ResultKind)
    assert set(SENDING_ORDER) == set(ResultKind)


@pytest.mark.parametrize(("now", "then"), list(product(OutboxState, OutboxState)))
def test_a_cancelled_result_never_moves_again_and_a_delivered_one_only_to_be_sent_again(
    now: OutboxState, then: OutboxState
) -> None:
    allowed = {
        "held": {"due", "cancelled"},
        "due": {"due", "delivered", "refused", "cancelled"},
        "refused": {"due"},
        "delivered": {"due", "committed"},
        "committed": {"due"},
        "cancelled": set(),
    }
    if then in allowed[now]:
        assert move(now, then) is then
    else:
        with pytest.raises(IllegalMove):
            move(now, then)
