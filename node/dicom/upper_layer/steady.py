"""The timers of an association, by a steady clock."""

import time

from pynetdicom.timer import Timer


class SteadyTimer(Timer):
    """pynetdicom's asks the clock on the wall: set ahead, it would end every association that is open."""

    _timeout: float | None
    _start_time: float | None
    _end_time: float | None

    @property
    def remaining(self) -> float:
        """Seconds until it expires; 1 where it never does."""
        if self._timeout is None:
            return 1.0
        if self._start_time is None:
            return self._timeout
        until = time.monotonic() if self._end_time is None else self._end_time
        return self._timeout - (until - self._start_time)

    def start(self) -> None:
        """Begin anew."""
        self._start_time, self._end_time = time.monotonic(), None

    def stop(self) -> None:
        """Stay at what remains."""
        self._end_time = time.monotonic()
