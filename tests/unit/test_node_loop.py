"""flow/loop.py: a step is tried again and again, and what fails is recorded once, not a thousand times."""

import logging
import threading
from collections.abc import Iterator

import pytest

from node.flow.loop import Loop
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
