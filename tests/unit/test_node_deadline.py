"""node/deadline.py: whoever asks waits as long as was said, and not again behind a question that hangs."""

import threading
from contextlib import suppress

import pytest

from node.deadline import Asking
from tests.servers import eventually


def test_behind_a_question_that_hangs_nobody_waits_until_it_has_ended() -> None:
    asking, let_go = Asking("test"), threading.Event()
    with pytest.raises(TimeoutError):
        asking.ask(let_go.wait, 0.01)
    later = threading.Timer(2.0, let_go.set)  # who did wait would have an answer then
    later.start()
    with pytest.raises(TimeoutError):
        asking.ask(lambda: "in vain", 60)
    later.cancel()
    let_go.set()

    def answer() -> str:
        with suppress(TimeoutError):
            return asking.ask(lambda: "again", 60)
        return ""

    assert eventually(answer) == "again"


def test_an_answer_that_is_a_timeout_of_its_own_is_no_question_that_hangs() -> None:
    def fails() -> str:
        raise TimeoutError

    asking = Asking("test")
    with pytest.raises(TimeoutError):
        asking.ask(fails, 60)
    assert asking.ask(lambda: "well", 60) == "well"
