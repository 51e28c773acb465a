"""Runs one step of the flow again and again in its own thread, and records what goes wrong, or never ends."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 5.0
HANGS_AFTER_S = 15 * 60.0
"""Without getting on: far beyond what a database takes to answer or to say that it does not, and what the files of one
study take to be read, compared or removed. Who knows of longer waits is given more; who does many things says `goes_on`
between them."""


def pause_s(every_s: float, failures: int) -> float:
    """Between two turns: as usual; after failures growing up to LONGEST_PAUSE_S, however seldom the usual turns are."""
    return min(LONGEST_PAUSE_S, every_s * 2.0 ** min(failures, 16)) if failures else every_s


class Apart:
    """Things of one turn that shall not suffer from each other: each is tried, then the first error is raised."""

    def __init__(self) -> None:
        self._first: Exception | None = None

    @contextmanager
    def one(self, *of_all: type[Exception]) -> Iterator[None]:
        """Try one of them. Errors `of_all` are raised at once: the others would meet them too."""
        try:
            yield
        except of_all:
            raise
        except Exception as error:  # noqa: BLE001 - kept for the loop, which records it
            self._first = self._first or error

    def end(self) -> None:
        """Raise the first error, if there was one: the loop counts the turn as failed."""
        if self._first is not None:
            raise self._first


class _Thread(threading.Thread):
    """The thread of a loop."""

    got_on_at: float | None = None
    """When the turn that it takes began, or said that it goes on, by a clock that nobody sets; None between turns."""


def goes_on() -> None:
    """A step that does many things says so before each of them. Outside of a loop it says nothing."""
    thread = threading.current_thread()
    if isinstance(thread, _Thread):
        thread.got_on_at = time.monotonic()


class Loop:
    """A step, its thread and its pace. A step that did something is followed by the next, here and in the loops of
    `then`; one that fails is logged, and tried again after a growing pause."""

    def __init__(
        self,
        name: str,
        step: Callable[[], object],
        every_s: float,
        then: Sequence["Loop"] = (),
        hangs_after_s: float = HANGS_AFTER_S,
    ) -> None:
        self.name = name
        self._hangs_after_s = hangs_after_s
        self._then = then
        self._step = step
        self._every_s = every_s
        self._wake = threading.Event()
        self._stopping = False
        self._thread = _Thread(target=self._run, name=name, daemon=True)
        self.failures = 0
        """Failed turns in a row; 0 when the last one worked."""

    @property
    def hangs(self) -> bool:
        """Whether the turn that it takes waits for something that never comes, such as a dead volume."""
        return self._waited_s() > self._hangs_after_s

    @property
    def trouble(self) -> str:
        """What is wrong with it; empty when all is well."""
        if self.hangs:
            return f"hangs since {self._waited_s():.0f} s"
        return f"failed {self.failures} times in a row" if self.failures else ""

    def _waited_s(self) -> float:
        got_on_at = self._thread.got_on_at
        return 0.0 if got_on_at is None else time.monotonic() - got_on_at

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Take the next turn now."""
        self._wake.set()

    def finish(self) -> None:
        """Take no turn after the one that is running."""
        self._stopping = True
        self._wake.set()

    def stop(self, timeout_s: float) -> None:
        """End after the turn that is running."""
        self.finish()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping:
            self._thread.got_on_at = time.monotonic()
            try:
                more = self._step()
                self.failures = 0
            except BaseException:  # noqa: BLE001 - the one broad except of a loop; Rust's panics are no Exception
                more = False
                self._record_failure()
            self._thread.got_on_at = None
            for loop in self._then if more else ():
                loop.wake()
            if not more:
                self._wake.wait(pause_s(self._every_s, self.failures))
                self._wake.clear()

    def _record_failure(self) -> None:
        """Log the 1st, 2nd, 4th, 8th... failure in a row: a dead database is one story, not a thousand."""
        self.failures = min(self.failures + 1, 1 << 16)
        if self.failures & (self.failures - 1) == 0:
            log.exception("a step of the flow failed", extra={"loop": self.name, "failures": self.failures})
