"""When nothing more is expected of a series or a study: evidence decides, and the evidence that fired is stored."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from node.domain.announcement import Count, Tally
from node.domain.peers import Sender, standing_of

PACE = 2
"""Quiet that is no longer than so many of the pauses between images says nothing: some scanners open an association
for each image."""


class Evidence(StrEnum):
    """Why something counts as complete."""

    COUNTED = "independent count"
    GAPLESS = "gapless stack, clean release"
    QUIET = "quiet"
    HARD_CAP = "hard cap"


@dataclass(frozen=True)
class Patience:
    """How long to wait, per sender."""

    gapless_quiet: timedelta = timedelta(seconds=3)
    quiet: timedelta = timedelta(seconds=15)
    hard_cap: timedelta = timedelta(minutes=15)


def patience_of(senders: Iterable[Sender], ae_title: str, address: str) -> Patience:
    """How long to wait for more of a caller."""
    sender = standing_of(senders, ae_title, address) if address else None
    if sender is None:
        return Patience()
    return Patience(timedelta(seconds=sender.gapless_quiet_s), timedelta(seconds=sender.quiet_s))


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
    usual_pause: timedelta = timedelta(0)
    """Between two images so far, the median."""
    tally: Tally = Tally.UNKNOWN
    """What an independent count says."""


def evidence(activity: Activity, patience: Patience, now: datetime) -> Evidence | None:
    """The evidence that it is complete, or None while more may come."""
    if activity.tally is Tally.REACHED:
        return Evidence.COUNTED
    late = now - activity.first_received_at >= patience.hard_cap
    if activity.tally is Tally.SHORT:  # more must come, whatever the images look like
        return Evidence.HARD_CAP if late else None
    quiet = now - activity.last_received_at
    enough = max(patience.gapless_quiet, PACE * activity.usual_pause)
    if activity.gapless and activity.released and quiet >= enough:
        return Evidence.GAPLESS
    if quiet >= patience.quiet:
        return Evidence.QUIET
    return Evidence.HARD_CAP if late else None


@dataclass(frozen=True)
class Grounds:
    """What evidence rested on, as it is stored beside it."""

    images: int
    gap: str
    """Why it is no gapless stack; empty where it is one."""
    association: str
    """How the last association ended: released, aborted, lost; open while its sender has one; unknown after a
    restart."""
    quiet_s: float
    """Seconds from the last image to the decision."""
    lasted_s: float
    """Seconds from the first image to the decision."""
    gapless_quiet_s: float
    enough_quiet_s: float
    hard_cap_s: float
    expected: int = 0
    """What was told that there would be; 0 where nobody told."""
    told_by: str = ""

    def because(self, why: Evidence) -> str:
        """The evidence in a sentence."""
        so_far = f"{self.images} images, association {self.association}"
        if why is Evidence.COUNTED:
            return f"Complete: all {self.images} images that {self.told_by} told of are here."
        if self.images < self.expected:
            return (
                f"Incomplete: {self.images} of {self.expected} images that {self.told_by} told of; no more came within "
                f"{self.hard_cap_s:g} s."
            )
        if why is Evidence.GAPLESS:
            stack = f"{so_far}, a gapless stack"
            return f"Complete: {stack}, then {self.quiet_s:.1f} s of quiet ({self.gapless_quiet_s:g} s are enough)."
        if why is Evidence.QUIET:
            return (
                f"Complete: {so_far}, then {self.quiet_s:.1f} s of quiet ({self.enough_quiet_s:g} s are enough"
                f"{f'; not sooner, because {self.gap}' if self.gap else ''})."
            )
        return f"Complete: {so_far}; it came for {self.lasted_s:.0f} s without a pause ({self.hard_cap_s:g} s at most)."


def waits_for_rest(images: int, count: Count, patience: Patience, first: datetime) -> str:
    """What something open waits for of which more was told, in a sentence."""
    until = first + patience.hard_cap
    return (
        f"Open: {images} of {count.expected} images that {count.told_by} told of. It waits for the rest, at the latest "
        f"until {until:%H:%M:%S} UTC."
    )


def waits_for(images: int, gap: str, patience: Patience, first: datetime, last: datetime) -> str:
    """What something open waits for, in a sentence. Whoever asks does not know how its association stands."""
    short = f"{patience.gapless_quiet.total_seconds():g} s of quiet after a released association, else "
    when = f"{'' if gap else short}{patience.quiet.total_seconds():g} s of quiet"
    until = max(first + patience.hard_cap, last)
    shape = gap or "so far a gapless stack"
    return f"Open: {images} images, {shape}. It waits for {when}, at the latest until {until:%H:%M:%S} UTC."
