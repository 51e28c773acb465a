"""What subscribers of Unified Procedure Steps are told (PS3.4 Table CC.2.4-1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

from node.domain.procedure import Standing, StepState

GLOBAL_SUBSCRIPTION = "1.2.840.10008.5.1.4.34.5"
FILTERED_SUBSCRIPTION = "1.2.840.10008.5.1.4.34.5.1"
"""UPS Global Subscription SOP Instance, and the one with matching keys (PS3.6 A)."""

KEPT = timedelta(hours=24)
"""A subscriber that is away longer misses what was before, and may ask by C-FIND: nothing in the standard asks more."""
MOST_KEPT = 10_000
"""Of one subscriber."""
LONGEST_WAIT = timedelta(minutes=1)
"""Between two calls to one that does not answer."""


class EventType(IntEnum):
    """Event Type IDs."""

    STATE_REPORT = 1
    CANCEL_REQUESTED = 2
    PROGRESS_REPORT = 3
    SCP_STATUS_CHANGE = 4
    ASSIGNED = 5


Content = Mapping[str, str | int | bool]


@dataclass(frozen=True)
class Notification:
    """One event on its way to one subscriber."""

    id: int
    sop_instance_uid: str
    type: EventType
    content: Content
    attempts: int = 0


def content_of(standing: Standing) -> dict[str, str | int | bool]:
    """Where a step stands, as an event carries it."""
    return {
        "state": str(standing.state),
        "ready": standing.ready,
        "percent": standing.percent,
        "text": standing.text,
        "reason": standing.reason.value if standing.reason else "",
        "why": standing.why,
    }


def events_of(before: Standing | None, now: Standing) -> list[EventType]:
    """What happened between two looks; None: nobody was told of it yet."""
    if before is None:
        return [EventType.STATE_REPORT]
    found = []
    if before.state is not now.state or before.ready is not now.ready:
        found.append(EventType.STATE_REPORT)
        if now.state is StepState.IN_PROGRESS:
            found.append(EventType.ASSIGNED)
    if now.state is StepState.IN_PROGRESS and (before.percent, before.text) != (now.percent, now.text):
        found.append(EventType.PROGRESS_REPORT)
    return found
