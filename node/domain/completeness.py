"""When nothing more is expected of a series or a study: evidence decides, and the evidence that fired is stored."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Evidence(StrEnum):
    """Why something counts as complete."""

    GAPLESS = "gapless stack, clean release"
    QUIET = "quiet"
    HARD_CAP = "hard cap"


@dataclass(frozen=True)
class Patience:
    """How long to wait, per sender."""

    gapless_quiet: timedelta = timedelta(seconds=3)
    quiet: timedelta = timedelta(seconds=15)
    hard_cap: timedelta = timedelta(minutes=15)


@dataclass(frozen=True)
class Activity:
    """What was seen of a series, or of a study."""

    first_received_at: datetime
    last_received_at: datetime
    gapless: bool
    """Every CT series in it is a gapless, evenly spaced stack, and there is nothing else in it."""
    released: bool
    """The last association that brought something was released, and its sender has none open. An abort is never a
    release, and after a restart nobody knows."""


def evidence(activity: Activity, patience: Patience, now: datetime) -> Evidence | None:
    """The evidence that it is complete, or None while more may come."""
    quiet = now - activity.last_received_at
    if activity.gapless and activity.released and quiet >= patience.gapless_quiet:
        return Evidence.GAPLESS
    if quiet >= patience.quiet:
        return Evidence.QUIET
    if now - activity.first_received_at >= patience.hard_cap:
        return Evidence.HARD_CAP
    return None
