"""Waits for something that may never answer, and no longer than was said."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Answer = TypeVar("Answer")


class Asking:
    """Asks in one thread of its own. While that hangs nothing more is asked, so that nothing piles up behind it."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    def ask(self, question: Callable[[], Answer], within_s: float) -> Answer:
        """The answer. Raises TimeoutError; the question is then dropped, or left alone where it was begun."""
        waiting = self._thread.submit(question)
        try:
            return waiting.result(within_s)
        except TimeoutError:
            waiting.cancel()
            raise
