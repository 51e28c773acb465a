"""Lets a shadow reading give its worker up as soon as a reading waits for one, in the middle of whatever it does."""

import _thread
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from node.errors import GiveWay

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
SIGNAL = signal.SIGUSR2
"""Never sent: a second thread lets Python act in the main one as if it had come."""


@contextmanager
def giving_way(wanted: Callable[[], bool]) -> Iterator[None]:
    """End the block with GiveWay once this worker is wanted, at the next step of Python in it; also where code in C
    makes another error of that, or nothing.

    In the main thread, where a pool's child works; elsewhere only before the block begins.
    """
    if _is(wanted):
        raise GiveWay
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    over, given = threading.Event(), threading.Event()

    def give_way(*_: Any) -> None:
        if not over.is_set():  # once, and never after the block
            over.set()
            given.set()
            raise GiveWay

    before = signal.signal(SIGNAL, give_way)
    threading.Thread(target=_look, args=(wanted, over), daemon=True).start()
    try:
        yield
    except Exception:
        if given.is_set():
            raise GiveWay from None
        raise
    finally:
        over.set()
        signal.signal(SIGNAL, before)
    if given.is_set():
        raise GiveWay


def _look(wanted: Callable[[], bool], over: threading.Event) -> None:
    while not over.wait(LOOK_EVERY_S):
        if _is(wanted):
            _thread.interrupt_main(SIGNAL)


def _is(wanted: Callable[[], bool]) -> bool:
    """A database that is away wants nobody."""
    try:
        return wanted()
    except SQLAlchemyError as error:
        log.warning("a shadow reading does not see what waits", extra={"error": type(error).__name__})
        return False
