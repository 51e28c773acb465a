"""When it is, for arrows that wait for quiet: time by which somebody set the clock is no time that passed."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from node.catalog import ahead
from node.catalog.session import Catalog
from node.domain.clock import Clocks

log = logging.getLogger(__name__)

LONG_AGO = datetime.min.replace(tzinfo=UTC)
NOTICED = timedelta(seconds=2)
"""A busy host may pause us for a second between our looks at the two clocks. To notice too much only costs quiet."""


def steady_s() -> float:
    """Seconds by a clock that nobody sets; it goes on while the host sleeps, where there is one that does (Linux)."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass
class Clock:
    """When it is, up to when the catalog knows everything that came, and since when it can come at all."""

    now: Callable[[], datetime]
    registered_until: Callable[[datetime], datetime] = lambda now: now
    listening_since: datetime = LONG_AGO
    steady_s: Callable[[], float] | None = None
    """Seconds by a clock that nobody sets, and that stands while the host sleeps. None: nobody sets `now` either."""
    _last: Clocks | None = field(default=None, init=False)

    def follow(self, catalog: Catalog) -> None:
        """Look at the clock before anything is judged by it. Since it was set, or we slept, quiet starts anew."""
        if self.steady_s is None:
            return
        clocks, last = Clocks(self.now(), self.steady_s()), self._last
        jump = last.jump_to(clocks) if last else timedelta(0)
        if last is not None and abs(jump) > NOTICED:
            log.warning("the clock was set", extra={"jump_s": round(jump.total_seconds(), 1)})
            if jump < timedelta(0):
                with catalog.writing() as session:
                    ahead.bring_back(session, last.set_at(clocks), longest_wait=timedelta(0))
            self.listening_since = clocks.wall
        self._last = clocks  # not before it is written down: a dead database is told later
