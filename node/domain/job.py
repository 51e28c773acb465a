"""A job: one reading of one revision of a study."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from node.errors import IllegalMove

PIPELINE = "lung-nodule"
"""What a job runs whose results are for the PACS."""
SHADOW = "shadow:"
"""Before the name of a model: what a job runs that reads beside it, to be compared with it. Nothing of it is sent."""


def in_shadow(model: str) -> str:
    """The pipeline of a model in shadow."""
    return SHADOW + model


def model_in_shadow(pipeline: str) -> str:
    """The model that a pipeline tries in shadow; empty where its results are for the PACS."""
    return pipeline.removeprefix(SHADOW) if pipeline.startswith(SHADOW) else ""


class JobKind(StrEnum):
    """What a worker does with a job."""

    ANALYSIS = "analysis"
    NOTICE = "notice"
    """Only says in the PACS that a study was not analysed, and why."""


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    """Waits for a worker, perhaps not before `not_before`."""
    RUNNING = "running"
    """A worker holds the lease."""
    DONE = "done"
    """Its results are saved."""
    DEAD = "dead"
    """Every attempt failed; an operator may retry it."""
    SUPERSEDED = "superseded"
    """A newer revision took its place."""
    CANCELLED = "cancelled"
    """An operator stopped it; an operator may retry it."""


MOVES: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.SUPERSEDED, JobState.CANCELLED}),
    JobState.RUNNING: frozenset(
        {JobState.QUEUED, JobState.DONE, JobState.DEAD, JobState.SUPERSEDED, JobState.CANCELLED}
    ),
    JobState.DONE: frozenset({JobState.SUPERSEDED}),
    JobState.DEAD: frozenset({JobState.SUPERSEDED}),
    JobState.SUPERSEDED: frozenset(),
    JobState.CANCELLED: frozenset({JobState.SUPERSEDED}),
}
ENDED_WITHOUT_READING = (JobState.DEAD, JobState.CANCELLED)
"""What an operator may retry. It stays in sight while only a notice follows."""


def move(now: JobState, then: JobState) -> JobState:
    """Return `then` when the table allows it. Raises IllegalMove."""
    if then not in MOVES[now]:
        raise IllegalMove(f"A job cannot go from {now} to {then}.")
    return then


class Failure(StrEnum):
    """Classes of error; each has its own patience."""

    OUT_OF_MEMORY = "out of memory"
    LOST_WORKER = "lost worker"
    """It was killed, crashed, or fell silent."""
    BROKEN_RESULT = "broken result"
    """A result that was encoded broke a rule of workers/results/check: it lies in quarantine."""
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Patience:
    """How often a job is tried after one class of failure, and how long it waits between."""

    attempts: int
    wait: timedelta


PATIENCE = {
    Failure.OUT_OF_MEMORY: Patience(3, timedelta(seconds=10)),
    Failure.LOST_WORKER: Patience(3, timedelta(seconds=2)),
    Failure.BROKEN_RESULT: Patience(1, timedelta(0)),  # the same images would break the same rule
    Failure.UNKNOWN: Patience(3, timedelta(seconds=5)),
}
"""Bad input is not here: it is not a failure but an outcome, "not analysed"."""


def next_attempt(failure: Failure, attempts: int) -> timedelta | None:
    """How long to wait before the next attempt after `attempts` failed ones; None when there is none left."""
    patience = PATIENCE[failure]
    if attempts >= patience.attempts:
        return None
    return patience.wait * (1 << (attempts - 1))


MOST_ECONOMICAL = 2
"""The last step of economy: 0 works as usual, 1 on less at a time, 2 on the least at a time and on the CPU."""


def economy_after(failure: Failure, economy: int) -> int:
    """How sparing with memory the next attempt is. Linux ends a process that takes too much: a lost one may have."""
    spares = failure in (Failure.OUT_OF_MEMORY, Failure.LOST_WORKER)
    return min(economy + 1, MOST_ECONOMICAL) if spares else economy


PRIORITY_STEP = timedelta(minutes=10)
"""What a step of priority is worth in waiting."""
LEAST_PRIORITY, HIGHEST_PRIORITY = -100, 100


def turn(created_at: datetime, priority: int) -> datetime:
    """When a job's turn comes; the earliest goes first.

    A job that waits gains a step of priority on new ones every PRIORITY_STEP, so none waits for ever.
    """
    return created_at - priority * PRIORITY_STEP
