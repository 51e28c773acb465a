"""Waits for something that may never answer, and no longer than was said."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Answer = TypeVar("Answer")


class Asking:
    """Asks in one thread of its own. While that hangs nothing more is asked, so that nothing piles up behind it."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._hanging: Future[Any] | None = None

    def ask(self, question: Callable[[], Answer], within_s: float) -> Answer:
        """The answer. Raises TimeoutError; the question is then dropped, or left alone where it was begun.

        At once while one that was left alone still hangs: five gauges of a scrape wait once for a dead database.
        """
        if self._hanging and not self._hanging.done():
            raise TimeoutError
        waiting = self._thread.submit(question)
        try:
            return waiting.result(within_s)
        except TimeoutError:
            if not waiting.cancel():
                self._hanging = waiting
            raise
