"""The circuit breaker of a destination: who fails again and again is left alone, then tried with one result."""

import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from node.domain.delivery import back_off
from node.errors import IllegalMove


class BreakerState(StrEnum):
    """Whether a destination is sent to."""

    CLOSED = "closed"
    """Everything that is due is sent."""
    OPEN = "open"
    """Nothing is tried until a moment."""
    HALF_OPEN = "half-open"
    """That moment has come: one result is tried, or one association where none waits."""
    PAUSED = "paused"
    """An operator stopped sending; nothing is tried until an operator resumes it."""


MOVES: dict[BreakerState, frozenset[BreakerState]] = {
    BreakerState.CLOSED: frozenset({BreakerState.CLOSED, BreakerState.OPEN, BreakerState.PAUSED}),
    BreakerState.OPEN: frozenset({BreakerState.HALF_OPEN, BreakerState.CLOSED, BreakerState.PAUSED}),
    BreakerState.HALF_OPEN: frozenset({BreakerState.CLOSED, BreakerState.OPEN, BreakerState.PAUSED}),
    BreakerState.PAUSED: frozenset({BreakerState.CLOSED}),
}

LEVELS = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2, BreakerState.PAUSED: 3}
"""As a number, for metrics."""
OPENS_AFTER = 3
"""Failures in a row: one is a cut connection and two are a restart."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=30), timedelta(minutes=10)
"""A trial costs one connection; an hour's pause would cost the first hour of a morning after a night's maintenance."""


@dataclass(frozen=True)
class Breaker:
    """Where the breaker of a destination stands."""

    state: BreakerState = BreakerState.CLOSED
    failures: int = 0
    """In a row."""
    reason: str = ""
    """Why it last failed."""
    opened_at: datetime | None = None
    """When sending stopped; stays while it is tried and fails again."""
    until: datetime | None = None
    """Nothing is tried before."""

    def failed(self, reason: str, now: datetime, jitter: random.Random) -> "Breaker":
        """The destination could not be reached, broke off, said nothing, or had no room."""
        if self.state is BreakerState.PAUSED:  # what was under way when it was paused says nothing new
            return self
        failures = self.failures + 1
        if self.state is BreakerState.CLOSED and failures < OPENS_AFTER:
            return replace(self, failures=failures, reason=reason)
        pause = back_off(failures - OPENS_AFTER + 1, jitter, FIRST_PAUSE, LONGEST_PAUSE)
        opened_at = self.opened_at or now
        return self._to(BreakerState.OPEN, failures=failures, reason=reason, opened_at=opened_at, until=now + pause)

    def answered(self) -> "Breaker":
        """The destination did answer, even if with a refusal."""
        return self if self.state is BreakerState.PAUSED else self._closed()

    def tried(self, now: datetime) -> "Breaker":
        """Half-open when its moment has come; otherwise as it is."""
        due = self.state is BreakerState.OPEN and self.until is not None and self.until <= now
        return self._to(BreakerState.HALF_OPEN) if due else self

    def paused(self, now: datetime) -> "Breaker":
        """An operator stops sending. Raises IllegalMove when it is stopped already."""
        return self._to(BreakerState.PAUSED, reason="paused by the operator", opened_at=now, until=None)

    def resumed(self) -> "Breaker":
        """An operator lets sending go on, paused or open."""
        return self._closed()

    def _closed(self) -> "Breaker":
        return self._to(BreakerState.CLOSED, failures=0, reason="", opened_at=None, until=None)

    def _to(self, then: BreakerState, **values: object) -> "Breaker":
        if then not in MOVES[self.state]:
            raise IllegalMove(f"A destination cannot go from {self.state} to {then}.")
        return replace(self, state=then, **values)  # type: ignore[arg-type]
