"""A soak: thousands of small studies from many modalities at once, to a steady PACS and to one that comes and goes.

In the end nothing is lost, doubled or stuck (checks.py), and in a full run the memory of the node and its receivers
(vitals.py) is flat and throughput as at the start; a short run tells both without a verdict.
"""

import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.endurance import observed
from tests.endurance.checks import nobody_is_left_behind, wrongs
from tests.endurance.exams import Chest, Exam, head, short_chest
from tests.endurance.kills import settled
from tests.endurance.modalities import Ledger, Modality
from tests.endurance.programs import Program
from tests.endurance.site import PACS, Setup, Site, site
from tests.endurance.vitals import Sample, trend, watching
from tests.servers import eventually

SENDERS = 8
WORKERS = 2
NOTICES = 0.05
"""Part of the studies that end with a report that they were not analysed."""
STEADY, FLAPPING = PACS
UP_S, DOWN_S = (2.0, 10.0), (0.5, 5.0)
"""How long the flapping PACS is there, and away."""
SLOWER = 0.9
"""Throughput of the last quarter below this part of the first is a loss."""
ANALYSED_WITHIN_S = 3600.0
FULL_STUDIES = 1000
"""Fewer say nothing about throughput and memory: start and end are too near to each other."""
NO_VERDICT = f"no verdict under {FULL_STUDIES} studies"
JUDGED = ("node", "receiver")
"""Processes whose memory must be flat; that of workers is told: it follows the sizes of what they read."""


@dataclass
class Report:
    """What a soak did and found."""

    setup: Setup
    seed: int
    studies: int
    readings: int
    duration_s: float = 0.0
    images: int = 0
    absences: int = 0
    """Times that the flapping PACS was killed."""
    first_per_s: float = 0.0
    """Studies acknowledged a second in the first quarter of those sent while all of the node was at work."""
    last_per_s: float = 0.0
    memory: Mapping[str, list[Sample]] = field(default_factory=dict)
    """Since half of the studies were sent."""
    wrongs: list[str] = field(default_factory=list)
    folder: Path | None = None
    """Kept when something is wrong."""

    def lines(self) -> Iterator[str]:
        """For people."""
        yield (
            f"{self.setup}, seed {self.seed}: {self.studies} studies ({self.images} images), {self.readings} of them "
            f"analysed, from {SENDERS} senders in {self.duration_s:.0f} s; {FLAPPING} was away {self.absences} times"
        )
        verdict = "BELOW THE START" if self._is_slower else "not below the start"
        yield f"{self._throughput}: {verdict if self._is_full else NO_VERDICT}"
        for name, samples in self.memory.items():
            verdict = "flat" if trend(samples).flat else "NOT FLAT"
            yield f"{name:14}{trend(samples)}: {verdict if self._is_full else NO_VERDICT}"
        yield from (f"WRONG: {wrong}" for wrong in self.wrongs)
        yield f"{len(self.wrongs)} things are wrong: {self.folder}" if self.wrongs else "nothing lost, doubled or stuck"

    def losses(self) -> Iterator[str]:
        """What a full run found of throughput and memory that must not be."""
        if self._is_full and not self.first_per_s:
            yield "throughput says nothing: everything was sent before all of the node was at work"
        if self._is_full and self._is_slower:
            yield f"{self._throughput}: below the start"
        for name, samples in self.memory.items():
            if self._is_full and name.startswith(JUDGED) and not trend(samples).flat:
                yield f"the memory of {name} grew: {trend(samples)}"

    @property
    def _is_full(self) -> bool:
        return self.studies >= FULL_STUDIES

    @property
    def _is_slower(self) -> bool:
        return self.last_per_s < SLOWER * self.first_per_s

    @property
    def _throughput(self) -> str:
        return f"throughput: {self.first_per_s:.1f} studies/s first, {self.last_per_s:.1f} last quarter"


def soak(report: Report, chest: Chest, say: Callable[[str], None]) -> Report:
    """Send everything; returns the report, filled in."""
    rng, begun, ledger = random.Random(report.seed), time.monotonic(), Ledger()
    with site(report.setup, report.seed, WORKERS) as here:
        eventually(lambda: observed.workers(here.node), 120.0, "a worker is there")
        with watching(here) as report.memory, flapping(here.pacs[FLAPPING], rng) as absences:
            busy_since = send_all(here, exams(report, chest, rng), ledger, say)
            say("everything is acknowledged; waiting for the last reading")
            eventually(lambda: observed.jobs_under_way(here.node) == 0, ANALYSED_WITHIN_S, "every job is done")
        report.wrongs = settled(here) + wrongs(here, ledger)
        here.stop()
        report.first_per_s, report.last_per_s = throughput(ledger.finished_at, busy_since)
        report.memory = {name: warm(samples, ledger.finished_at) for name, samples in report.memory.items()}
        report.wrongs += [*nobody_is_left_behind(here), *report.losses()]
        report.folder, report.absences = here.folder, len(absences)
        if not report.wrongs:
            here.forget()
    report.duration_s, report.images = time.monotonic() - begun, len(ledger.acknowledged)
    return report


def exams(report: Report, chest: Chest, rng: random.Random) -> Iterator[Exam]:
    """Every study, in random order; each is made when its turn comes."""
    notices = round(report.studies * NOTICES)
    makers: list[Callable[[str], Exam]] = [chest.exam] * report.readings + [short_chest] * notices
    makers += [head] * (report.studies - len(makers))
    rng.shuffle(makers)
    return (make(f"{number}") for number, make in enumerate(makers, start=1))


def send_all(here: Site, what: Iterator[Exam], ledger: Ledger, say: Callable[[str], None]) -> float:
    """From all senders at once, as fast as the node takes it; returns since when all of it is at work."""
    queue = _Shared(what)
    senders = [Modality(here.node.dicom_port, queue, ledger, pause_s=0.0) for _ in range(SENDERS)]
    begun = time.monotonic()
    for each in senders:
        each.start()
    told, busy_since = 0, math.inf
    while any(each.is_alive() for each in senders):
        ledger.wait_for(1000, within_s=0.5 if busy_since == math.inf else 5.0)
        if busy_since == math.inf and _is_busy(here):
            busy_since = time.monotonic()
        if ledger.finished >= told + 100:
            told = ledger.finished
            say(f"{told} studies acknowledged, {time.monotonic() - begun:.0f} s")
    assert not any(each.failure for each in senders), [each.failure for each in senders]
    return busy_since


def _is_busy(here: Site) -> bool:
    """Whether workers read, and studies come to their end as fast as others begin."""
    return observed.is_analysing(here.node) and observed.closes_by_quiet(here.node)


class _Shared(Iterator[Exam]):
    """One list that several modalities take from."""

    def __init__(self, exams: Iterator[Exam]) -> None:
        self._exams = exams
        self._lock = threading.Lock()

    def __next__(self) -> Exam:
        with self._lock:
            return next(self._exams)


@contextmanager
def flapping(pacs: Program, rng: random.Random) -> Iterator[list[float]]:
    """Killed and started again at random moments until the end of the block; gives how long it was away each time."""
    enough, absences = threading.Event(), list[float]()

    def flap() -> None:
        while not enough.wait(rng.uniform(*UP_S)):
            pacs.kill_all()
            absences.append(rng.uniform(*DOWN_S))
            enough.wait(absences[-1])
            pacs.start()

    thread = threading.Thread(target=flap, daemon=True)
    thread.start()
    try:
        yield absences
    finally:
        enough.set()
        thread.join()


def warm(samples: list[Sample], finished_at: list[float]) -> list[Sample]:
    """Samples since half of the studies were there: until then caches fill, and the heap grows to what a rush needs."""
    return [sample for sample in samples if sample[0] >= finished_at[len(finished_at) // 2]] or samples[-1:]


def throughput(finished_at: list[float], since: float) -> tuple[float, float]:
    """Studies a second in the first and in the last quarter of those that were finished since a moment.

    Before that moment, when all of the node is at work, reception has the processors for itself, and no end compares
    with that. Zero where hardly any came after it.
    """
    counted = [moment for moment in finished_at if moment >= since]
    quarter = len(counted) // 4
    if not quarter:
        return 0.0, 0.0
    return quarter / (counted[quarter] - counted[0]), quarter / (counted[-1] - counted[-1 - quarter])
