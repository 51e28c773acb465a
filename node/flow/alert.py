"""What needs a person to alerts, and alerts to a webhook."""

import logging
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from node.catalog import alerts, jobs
from node.catalog.instant import now_of
from node.catalog.session import Catalog
from node.domain.alert import (
    DISK,
    LARGEST_SKEW,
    Alert,
    AlertKind,
    Condition,
    begun,
    certificate_conditions,
    disk_conditions,
    ended,
    loop_conditions,
)
from node.domain.clock import Clocks
from node.domain.delivery import back_off
from node.errors import PeerFailed
from node.flow.clock import steady_s

log = logging.getLogger(__name__)

NO_WORKER_AFTER = timedelta(minutes=5)
"""A worker that is restarted, or a host that boots, is back before."""


def read_clocks() -> Clocks:
    """Both clocks now."""
    return Clocks(datetime.now(UTC), steady_s())


@dataclass
class Watch:
    """Looks at everything that can need a person."""

    catalog: Catalog
    disk: Callable[[], tuple[float, float]]
    """Free bytes, and the water mark in bytes. Raises TimeoutError where the disk does not answer."""
    loops: Callable[[], Iterable[tuple[str, int, bool]]]
    """Each loop of the node, its failures in a row, and whether it hangs."""
    clocks: Callable[[], Clocks] = read_clocks
    damaged: Callable[[], int] = lambda: 0
    """Files of the spool that cannot be read."""
    certificates: Callable[[], Iterable[tuple[str, datetime | None]]] = tuple
    """Files of certificates, and when each ends."""
    last: Clocks = field(init=False)

    def __post_init__(self) -> None:
        self.last = self.clocks()

    def step(self) -> bool:
        """Raise what has begun, clear what has ended. True when there is something new to tell."""
        clocks = self.clocks()
        with self.catalog.reading() as session:
            standing = alerts.standing(session)
            found = [*self._found(session, standing), *self._jumped(clocks)]
        new, over = begun(standing, found), ended(standing, found)
        if new or over:
            with self.catalog.writing() as session:
                for condition in new:
                    alerts.raise_(session, condition, clocks.wall)
                for each in over:
                    alerts.clear(session, each, clocks.wall)
        self.last = clocks  # not before it is written down: a jump that a dead database missed is told later
        return bool(new)

    def _found(self, session: Session, standing: list[Alert]) -> list[Condition]:
        return [
            *alerts.conditions(session),
            *_without_worker(session),
            *self._database_clock(session),
            *self._disk(standing),
            *loop_conditions(self.loops()),
            *_damaged_files(self.damaged()),
            *certificate_conditions(self.certificates(), self.clocks().wall),
        ]

    def _disk(self, standing: list[Alert]) -> list[Condition]:
        """Of a disk that does not answer nothing new is known; the loops that wait for it are told."""
        try:
            return disk_conditions(*self.disk(), standing)
        except TimeoutError:
            return [alert.condition for alert in standing if alert.condition.kind in DISK]

    def _jumped(self, clocks: Clocks) -> list[Condition]:
        jump = self.last.jump_to(clocks)
        detail = {"jump_s": round(jump.total_seconds(), 1)}
        return [Condition(AlertKind.CLOCK_JUMPED, detail=detail)] if abs(jump) > LARGEST_SKEW else []

    def _database_clock(self, session: Session) -> list[Condition]:
        skew = now_of(session) - self.clocks().wall
        detail = {"ahead_s": round(skew.total_seconds(), 1)}
        return [Condition(AlertKind.DATABASE_CLOCK, detail=detail)] if abs(skew) > LARGEST_SKEW else []


def _damaged_files(count: int) -> list[Condition]:
    return [Condition(AlertKind.SPOOL_DAMAGED, detail={"files": count})] if count else []


def _without_worker(session: Session) -> list[Condition]:
    now, waiting = now_of(session), alerts.waiting_since(session)
    late = waiting is not None and waiting < now - NO_WORKER_AFTER
    alive = jobs.slots(session, now - jobs.WORKER_SILENT_AFTER)
    return [Condition(AlertKind.NO_WORKER)] if late and not alive else []


@dataclass(frozen=True)
class Telling:
    """Tells a webhook of each alert, in their order, until it has heard."""

    catalog: Catalog
    post: Callable[[Mapping[str, Any]], None]
    """Raises PeerFailed."""
    node: str
    """Our AE title."""
    jitter: random.Random
    now: Callable[[], datetime]

    def step(self) -> bool:
        """Tell of one alert. True when it was heard."""
        now = self.now()
        with self.catalog.reading() as session:
            alert = alerts.next_to_tell(session, now)
        if alert is None:
            return False
        try:
            self.post(self._content(alert))
        except PeerFailed as error:
            wait = back_off(alert.attempts + 1, self.jitter)
            log.warning("an alert could not be told", extra={"alert": alert.id, "reason": str(error)})
            with self.catalog.writing() as session:
                alerts.not_told(session, alert.id, now + wait)
            return False
        with self.catalog.writing() as session:
            alerts.told(session, alert.id, now)
        return True

    def _content(self, alert: Alert) -> dict[str, Any]:
        """Names no patient: kinds are an enum, subjects are jobs, places and Study Instance UIDs."""
        return {
            "id": alert.id,
            "kind": alert.condition.kind,
            "subject": alert.condition.subject,
            "raised_at": alert.raised_at.isoformat(),
            "cleared_at": alert.cleared_at and alert.cleared_at.isoformat(),
            "node": self.node,
            "detail": dict(alert.condition.detail),
        }
