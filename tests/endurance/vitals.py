"""How much memory each process of a site holds over time, and whether it stays flat."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import linear_regression, median

from tests.endurance.programs import resident_mib
from tests.endurance.site import Site

SAMPLE_EVERY_S = 1.0
GROWTH, GROWTH_MIB = 0.10, 16.0
"""More than both, from the first quarter to the last, is not flat."""

Sample = tuple[float, float]
"""Moment in seconds of the clock that nobody sets, MiB."""


@dataclass(frozen=True)
class Trend:
    """Resident memory of one process, MiB."""

    first: float
    """Median of the first quarter."""
    last: float
    slope_per_hour: float

    @property
    def flat(self) -> bool:
        """Whether it grew no more than noise."""
        return self.last - self.first <= max(GROWTH_MIB, GROWTH * self.first)

    def __str__(self) -> str:
        return f"{self.first:8.1f} to {self.last:8.1f} MiB, {self.slope_per_hour:+9.1f} MiB/h"


def trend(samples: list[Sample]) -> Trend:
    """From samples in order of time."""
    quarter = max(1, len(samples) // 4)
    times, sizes = zip(*samples, strict=True)
    slope = linear_regression(times, sizes).slope if len(samples) > 1 else 0.0
    return Trend(median(sizes[:quarter]), median(sizes[-quarter:]), slope * 3600)


@contextmanager
def watching(site: Site) -> Iterator[Mapping[str, list[Sample]]]:
    """Samples of every process until the end of the block, by what it is."""
    samples: dict[str, list[Sample]] = defaultdict(list)
    enough = threading.Event()

    def watch() -> None:
        while not enough.wait(SAMPLE_EVERY_S):
            for name, pid in _processes(site):
                if mib := resident_mib(pid):
                    samples[name].append((time.monotonic(), mib))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield samples
    finally:
        enough.set()
        watcher.join()


def _processes(site: Site) -> Iterator[tuple[str, int]]:
    yield "node", site.node_pid()
    groups = {"receiver": site.receivers(), "worker": site.worker_pids(), "pool child": site.pool_children()}
    for name, pids in groups.items():
        yield from ((f"{name} {number}", pid) for number, pid in enumerate(sorted(pids), start=1))
