"""What needs a person: conditions that last until they end, and events that last until somebody has seen them."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from node.domain.audit import Detail


class AlertKind(StrEnum):
    """Everything that is told to a person."""

    DEAD_JOB = "dead job"
    """Every attempt at an analysis failed; the subject is the job."""
    DEAD_SHADOW = "dead shadow job"
    """Every attempt at a shadow reading failed, which changes nothing for any study; the subject is the model."""
    NO_WORKER = "no worker"
    """Jobs wait and no worker is alive."""
    OPEN_BREAKER = "open breaker"
    """A destination failed again and again; the subject is AET@HOST:PORT."""
    RESULT_REFUSED = "result refused"
    """A destination will not take results; the subject is AET@HOST:PORT, so that a thousand results are one alert."""
    RESULT_OVERDUE = "result overdue"
    """A destination has not taken results for an hour, whatever it answers; the subject is AET@HOST:PORT."""
    RESULT_UNCONFIRMED = "result unconfirmed"
    """A destination does not confirm that it has results; the subject is AET@HOST:PORT."""
    FORWARD_REFUSED = "forward refused"
    """A destination will not take images that are forwarded to it; the subject is AET@HOST:PORT."""
    FORWARD_OVERDUE = "forward overdue"
    """A destination has not taken images for an hour, whatever it answers; the subject is AET@HOST:PORT."""
    FORWARD_UNCONFIRMED = "forward unconfirmed"
    """A destination does not confirm that it has images; the subject is AET@HOST:PORT."""
    DISK_LOW = "disk low"
    """Nothing more is received."""
    DISK_FILLING = "disk filling"
    """Soon nothing more will be received."""
    CONFLICT = "conflict"
    """Images came twice with different content; the subject is the Study Instance UID."""
    DEMOGRAPHICS_CHANGED = "demographics changed"
    """Other patient or study attributes came after results were sent; the subject is the Study Instance UID."""
    DATABASE_CLOCK = "database clock"
    """The database's clock is not ours."""
    LOOP_FAILING = "loop failing"
    """A part of the node fails turn after turn, or hangs in one; the subject is its name."""
    SPOOL_DAMAGED = "spool damaged"
    """Received files without a row cannot be read: they are in no study."""
    AUDIT_REPOSITORY = "audit repository away"
    """The audit repository takes nothing; the subject is where it should be. Nothing is lost: it waits in SQL."""
    CERTIFICATE_ENDS = "certificate ends"
    """A certificate is good for less than 30 days; the subject is its file."""
    CERTIFICATE_ENDS_SOON = "certificate ends soon"
    """It is good for less than 7 days, or no more, or cannot be read; the subject is its file."""
    CLOCK_JUMPED = "clock jumped"
    """The system's clock was set while the node ran: times written before and after cannot be compared."""


DISK = frozenset({AlertKind.DISK_LOW, AlertKind.DISK_FILLING})
EVENTS = frozenset({AlertKind.CLOCK_JUMPED})
"""These have no end of their own: they last until somebody acknowledges them."""
ABOUT_STUDIES = frozenset({AlertKind.CONFLICT, AlertKind.DEMOGRAPHICS_CHANGED})
WARNINGS = frozenset({
    *(AlertKind.DEAD_SHADOW, AlertKind.DISK_FILLING, AlertKind.DATABASE_CLOCK, AlertKind.CLOCK_JUMPED),
    AlertKind.CERTIFICATE_ENDS,
})  # fmt: skip
"""Logged as warnings; the others as errors."""


@dataclass(frozen=True)
class Condition:
    """Something that is so now."""

    kind: AlertKind
    subject: str = ""
    """A job, a destination, a study; never a patient. Empty: the node itself."""
    detail: Detail = field(default_factory=dict, compare=False)

    @property
    def key(self) -> tuple[AlertKind, str]:
        """What makes it the same as one that was found before."""
        return self.kind, self.subject


@dataclass(frozen=True)
class Alert:
    """A condition or an event that was raised."""

    id: int
    condition: Condition
    raised_at: datetime
    attempts: int
    """At telling the webhook."""
    cleared_at: datetime | None = None
    acknowledged_at: datetime | None = None


def begun(standing: Collection[Alert], found: Iterable[Condition]) -> list[Condition]:
    """Conditions that were not there before."""
    known = {alert.condition.key for alert in standing}
    return [condition for condition in found if condition.key not in known]


def ended(standing: Iterable[Alert], found: Collection[Condition]) -> list[Alert]:
    """Alerts whose condition is there no more; events stay."""
    now = {condition.key for condition in found}
    return [alert for alert in standing if alert.condition.kind not in EVENTS and alert.condition.key not in now]


WARN_BELOW = 1.5
"""Times the water mark: with less free than that the disk is filling."""
ENDS_ABOVE = 1.05
"""Times the mark: a disk that hovers around it is one alert, not a hundred."""


def disk_conditions(free_bytes: float, water_mark_bytes: float, standing: Collection[Alert]) -> list[Condition]:
    """Low, or filling, or neither."""
    open_now = {alert.condition.kind for alert in standing}
    detail: Detail = {"free_gib": round(free_bytes / 2**30, 1), "water_mark_gib": round(water_mark_bytes / 2**30, 1)}
    for kind, mark in ((AlertKind.DISK_LOW, water_mark_bytes), (AlertKind.DISK_FILLING, water_mark_bytes * WARN_BELOW)):
        if free_bytes < mark * (ENDS_ABOVE if kind in open_now else 1.0):
            return [Condition(kind, detail=detail)]
    return []


OVERDUE_AFTER = timedelta(hours=1)
"""A result that could be sent for so long and has failed: its destination is more than restarting."""
LARGEST_SKEW = timedelta(seconds=30)
FAILING_AFTER = 8
"""Failed turns in a row of a loop: some 30 s, longer than a database takes to restart."""


def loop_conditions(loops: Iterable[tuple[str, int, bool]]) -> list[Condition]:
    """Loops that fail turn after turn, such as the anchors of the audit chain, or hang: (name, failures, hangs)."""
    return [
        Condition(AlertKind.LOOP_FAILING, name, {"hangs": hangs})
        for name, failures, hangs in loops
        if hangs or failures >= FAILING_AFTER
    ]


ENDS_WITHIN, ENDS_SOON_WITHIN = timedelta(days=30), timedelta(days=7)
"""Time to ask for a new certificate, and time to put it in place."""


def certificate_conditions(ends: Iterable[tuple[str, datetime | None]], now: datetime) -> list[Condition]:
    """Certificates that end: (file, its end), None where it cannot be read."""
    found = []
    for path, end in ends:
        left = end - now if end else timedelta(0)
        if left <= ENDS_WITHIN:
            kind = AlertKind.CERTIFICATE_ENDS_SOON if left <= ENDS_SOON_WITHIN else AlertKind.CERTIFICATE_ENDS
            detail: Detail = {"ends": f"{end:%Y-%m-%d %H:%M} UTC"} if end else {"error": "it cannot be read"}
            found.append(Condition(kind, path, detail))
    return found
