"""flow/loop.py: a step is tried again and again, and what fails is recorded once, not a thousand times."""

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from node.flow.loop import Loop, goes_on
from tests.servers import eventually


@pytest.fixture
def loops() -> Iterator[list[Loop]]:
    """Loops that are stopped at the end."""
    started: list[Loop] = []
    yield started
    for loop in started:
        loop.stop(10)


class Steps:
    """A step that does as it was told, then waits to be stopped."""

    def __init__(self, *answers: object) -> None:
        self._answers = list(answers)
        self.turns = 0
        self.done = threading.Event()

    def __call__(self) -> object:
        self.turns += 1
        if not self._answers:
            self.done.set()
            return False
        answer = self._answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def run(loops: list[Loop], steps: Steps, every_s: float) -> Loop:
    loop = Loop("test", steps, every_s)
    loops.append(loop)
    loop.start()
    return loop


def test_a_step_that_has_more_is_taken_again_at_once(loops: list[Loop]) -> None:
    steps = Steps(True, True, True)
    run(loops, steps, every_s=3600)
    assert steps.done.wait(10)


def test_a_step_without_more_waits_until_it_is_woken(loops: list[Loop]) -> None:
    steps = Steps(False)
    loop = run(loops, steps, every_s=3600)
    eventually(lambda: steps.turns == 1)
    assert not steps.done.wait(0.1)
    loop.wake()
    assert steps.done.wait(10)


def test_a_step_that_fails_is_tried_again_and_counted_until_it_works(
    loops: list[Loop], caplog: pytest.LogCaptureFixture
) -> None:
    steps = Steps(*(ValueError("no") for _ in range(5)))
    loop = run(loops, steps, every_s=0.001)
    assert steps.done.wait(10)
    eventually(lambda: loop.failures == 0)
    recorded = [record.failures for record in caplog.records if record.levelno == logging.ERROR]
    assert recorded == [1, 2, 4]
    assert {record.getMessage() for record in caplog.records} == {"a step of the flow failed"}


def test_a_failing_step_waits_twice_as_long_each_time_and_never_more_than_five_seconds() -> None:
    waits: list[float | None] = []

    class Waiting(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            if len(waits) == 8:
                loop.stop(0)
            return True

    loop = Loop("test", Steps(*(ValueError("no") for _ in range(20))), 0.25)
    loop._wake = Waiting()
    loop._run()
    assert waits == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0]


def test_stop_ends_the_thread_after_the_turn_that_is_running(loops: list[Loop]) -> None:
    steps = Steps(False)
    loop = run(loops, steps, every_s=3600)
    eventually(lambda: steps.turns == 1)
    loop.stop(10)
    assert not loop._thread.is_alive()
    assert steps.turns == 1


def test_a_loop_that_never_started_can_be_stopped() -> None:
    Loop("test", Steps(), 1).stop(10)


def test_a_panic_that_is_no_exception_ends_no_loop(loops: list[Loop]) -> None:
    class Panic(BaseException):
        """As pyo3_runtime.PanicException is one."""

    steps = Steps(Panic("in Rust"), Panic("again"))
    loop = run(loops, steps, every_s=0.01)
    assert steps.done.wait(10)
    eventually(lambda: loop.failures == 0)


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    """What a step waits for that hangs; it comes at the end."""
    event = threading.Event()
    yield event
    event.set()


def hanging(loops: list[Loop], step: Callable[[], object], hangs_after_s: float) -> Loop:
    loop = Loop("test", step, 3600, hangs_after_s=hangs_after_s)
    loops.append(loop)
    loop.start()
    return loop


def test_a_turn_that_never_ends_is_seen_and_one_that_ended_is_none(loops: list[Loop], let_go: threading.Event) -> None:
    loop = hanging(loops, lambda: let_go.wait(60) and False, 0.05)
    eventually(lambda: loop.hangs)
    assert loop.trouble.startswith("hangs since ")
    assert loop.failures == 0
    let_go.set()
    eventually(lambda: not loop.hangs)
    assert loop.trouble == ""


def test_a_long_turn_that_says_that_it_goes_on_does_not_hang(loops: list[Loop], let_go: threading.Event) -> None:
    seen, done = list[bool](), threading.Event()

    def step() -> bool:
        for _ in range(3):
            loop._thread.got_on_at = -1e9  # each part takes for ever
            seen.append(loop.hangs)
            goes_on()
            seen.append(loop.hangs)
        done.set()
        return False

    loop = Loop("test", step, 3600)
    loops.append(loop)
    loop.start()
    assert done.wait(10)
    assert seen == [True, False] * 3


def test_outside_of_a_loop_nobody_needs_to_say_that_it_goes_on() -> None:
    goes_on()
