"""A campaign: modalities send, one process after the other is killed, and in the end nothing is lost, doubled or stuck.

Each round waits for a moment of one stage (moments.py), kills one victim with SIGKILL and lets it come back
(victims.py). When all rounds are over, the modalities finish what they began, everything comes to its end, and what
must hold is checked (checks.py).
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from tests.endurance import observed
from tests.endurance.checks import nobody_is_left_behind, wrongs
from tests.endurance.exams import Chest, chests, heads
from tests.endurance.modalities import Ledger, Modality
from tests.endurance.moments import Stage, wait_for
from tests.endurance.site import Setup, Site, site
from tests.endurance.victims import Victim, strike, victims_of
from tests.servers import eventually

SETTLES_WITHIN_S = 300.0
"""Lost messages, leases that expire, back-offs of deliveries, on a busy machine."""
JOBS_AT_ONCE = 3
"""More must not pile up while workers are being killed."""
FULL_KILLS = 100
"""Fewer say nothing about how many of them hit."""
HITS = 0.5
"""Part of the blows that must fall within their stage: a campaign that only kills who is idle proves nothing."""
HEADS = 2
"""Modalities whose studies need no job."""


@dataclass
class Report:
    """What a campaign did and found."""

    setup: Setup
    seed: int
    rounds: int = 0
    kills: Counter[tuple[Victim, Stage]] = field(default_factory=Counter)
    """Blows that fell while the stage was still going on."""
    between: int = 0
    """Blows that fell just after it."""
    studies: int = 0
    readings: int = 0
    images: int = 0
    cut: int = 0
    duration_s: float = 0.0
    wrongs: list[str] = field(default_factory=list)
    folder: Path | None = None
    """Kept when something is wrong."""

    def lines(self) -> Iterator[str]:
        """For people."""
        yield (
            f"{self.setup}, seed {self.seed}: {self.rounds} kills in {self.duration_s:.0f} s; {self.images} images of "
            f"{self.studies} studies acknowledged, {self.readings} of them analysed, {self.cut} associations cut"
        )
        yield f"{'':12}" + "".join(f"{stage:>14}" for stage in Stage)
        for victim in victims_of(self.setup):
            yield f"{victim:12}" + "".join(f"{self.kills[victim, stage]:>14}" for stage in Stage)
        verdict = (
            f"no verdict under {FULL_KILLS} kills"
            if self.rounds < FULL_KILLS
            else "TOO FEW"
            if self._missed
            else "well"
        )
        yield f"{self._hits}: {verdict}"
        yield from (f"WRONG: {wrong}" for wrong in self.wrongs)
        yield f"{len(self.wrongs)} things are wrong: {self.folder}" if self.wrongs else "nothing lost, doubled or stuck"

    def misses(self) -> list[str]:
        """What is wrong with where the blows of a full campaign fell."""
        return [f"too few kills hit: {self._hits}"] if self.rounds >= FULL_KILLS and self._missed else []

    @property
    def _missed(self) -> bool:
        return self.rounds - self.between < HITS * self.rounds

    @property
    def _hits(self) -> str:
        return f"{self.rounds - self.between} of {self.rounds} kills fell within their stage, {self.between} just after"


def rounds(setup: Setup, rng: random.Random) -> Iterator[tuple[Victim, Stage]]:
    """Every victim at every stage in random order, again and again; neighbours in time differ in both."""
    while True:
        victims, stages = victims_of(setup), list(Stage)
        rng.shuffle(victims)
        rng.shuffle(stages)
        for number in range(len(victims) * len(stages)):
            yield victims[number % len(victims)], stages[number % len(stages)]


def campaign(setup: Setup, kills: int, seed: int, chest: Chest, say: Callable[[str], None]) -> Report:
    """Kill so many times; returns what was done and everything that is wrong."""
    report, rng, begun = Report(setup, seed), random.Random(seed), time.monotonic()
    with site(setup, seed) as here:
        ledger = Ledger()
        try:
            with sending(here, chest, ledger):
                for victim, stage in islice(rounds(setup, rng), kills):
                    one_round(here, ledger, victim, stage, report, rng)
                    say(_progress(report, kills, f"{victim} at {stage}", ledger, time.monotonic() - begun))
        except AssertionError as error:
            report.wrongs.append(f"after {report.rounds} kills: {error}")
        say("waiting until everything has come to its end")
        report.wrongs += settled(here) + wrongs(here, ledger)
        here.stop()
        report.wrongs += [*nobody_is_left_behind(here), *report.misses()]
        report.folder = here.folder
        if not report.wrongs:
            here.forget()
    report.cut, report.duration_s = ledger.cut, time.monotonic() - begun
    report.studies, report.images = len(ledger.exams), len(ledger.acknowledged)
    report.readings = sum(len(exam.results) > 1 for exam in ledger.exams.values())
    return report


def one_round(here: Site, ledger: Ledger, victim: Victim, stage: Stage, report: Report, rng: random.Random) -> None:
    """One blow."""
    eventually(partial(_nobody_to_spare, here), SETTLES_WITHIN_S, "a job that lost two workers is done")
    hit = wait_for(stage, here, ledger, rng)
    strike(here, victim, rng)
    report.rounds += 1
    report.kills[victim, stage] += hit
    report.between += not hit


def _nobody_to_spare(here: Site) -> bool:
    """A third blow would end a job for good, by design: its study counts as what kills workers."""
    return not observed.would_lose_a_job(here.node)


@contextmanager
def sending(here: Site, chest: Chest, ledger: Ledger) -> Iterator[None]:
    """Modalities at work until the end of the block, and then until everything that they began is acknowledged."""
    port = here.node.dicom_port
    modalities = [Modality(port, heads(f"head-{number}"), ledger) for number in range(HEADS)]
    modalities.append(Modality(port, chests(chest, "chest"), ledger, lambda: _has_room(here)))
    for each in modalities:
        each.start()
    try:
        yield
    finally:
        for each in modalities:
            each.enough()
        for each in modalities:
            each.join(SETTLES_WITHIN_S)
            assert not each.is_alive() and each.failure is None, f"a modality cannot finish: {each.failure}"


def _has_room(here: Site) -> bool:
    under_way = observed.jobs_under_way(here.node)
    return under_way is not None and under_way < JOBS_AT_ONCE


def settled(here: Site) -> list[str]:
    """Wait until nothing is under way; returns what is stuck."""
    try:
        eventually(lambda: not observed.under_way(here.node) and not here.messages(), SETTLES_WITHIN_S)
    except AssertionError:
        return [f"stuck: {observed.under_way(here.node)}, {here.messages()} messages in the broker"]
    return []


def _progress(report: Report, of: int, what: str, ledger: Ledger, seconds: float) -> str:
    return (
        f"{report.setup} {report.rounds}/{of} {what:26} {len(ledger.acknowledged)} images of {ledger.finished} studies "
        f"acknowledged, {seconds:.0f} s"
    )
