"""workers/giving_way.py: a shadow reading ends in the middle as soon as it is wanted elsewhere, and never later."""

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from sqlalchemy.exc import OperationalError

from node.errors import GiveWay
from tests.servers import eventually
from workers import giving_way
from workers.giving_way import SIGNAL


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Looks often, and leaves the signal as it was."""
    monkeypatch.setattr(giving_way, "LOOK_EVERY_S", 0.01)
    before = signal.getsignal(SIGNAL)
    yield
    assert signal.getsignal(SIGNAL) is before


def busy(within_s: float = 20.0) -> None:
    """Work that catches every error."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with suppress(Exception):
            sum(range(1000))


def test_what_is_wanted_at_once_is_not_begun() -> None:
    begun = []
    with pytest.raises(GiveWay), giving_way.giving_way(lambda: True):
        begun.append(True)
    assert begun == []


def test_work_in_the_main_thread_ends_in_the_middle_even_where_it_catches_every_error() -> None:
    wanted = threading.Event()
    begun = time.monotonic()
    with pytest.raises(GiveWay), giving_way.giving_way(wanted.is_set):
        wanted.set()
        busy()
    assert time.monotonic() - begun < 15


class Swallowing(Sequence[float]):
    """NumPy asks it for its length, and makes a ValueError of whatever that raises."""

    def __len__(self) -> int:
        busy()
        return 2

    def __getitem__(self, index: Any) -> Any:
        raise IndexError


def test_code_in_c_that_makes_another_error_of_it_changes_nothing() -> None:
    wanted = threading.Event()
    with pytest.raises(GiveWay), giving_way.giving_way(wanted.is_set):
        wanted.set()
        with pytest.raises(ValueError, match="setting an array element"):
            np.array(Swallowing(), dtype=float)


def test_what_is_wanted_when_the_work_is_over_ends_nothing() -> None:
    asked = []

    def wanted() -> bool:
        asked.append(True)
        return over

    over = False
    with giving_way.giving_way(wanted):
        eventually(lambda: len(asked) > 2, what="it looks")
    over = True
    count = len(asked)
    busy(0.2)
    assert len(asked) <= count + 1


def test_a_database_that_is_away_ends_nothing_and_is_asked_again() -> None:
    asked = []

    def away() -> bool:
        asked.append(True)
        raise OperationalError("", {}, Exception())

    with giving_way.giving_way(away):
        eventually(lambda: len(asked) > 3, what="it asks again")


def test_in_another_thread_work_goes_on_to_its_end() -> None:
    done = []

    def work() -> None:
        with giving_way.giving_way(lambda: False):
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert done == [True]
