"""What is seen of open series and studies at one moment, and whether it is enough to count them as complete."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from node.domain.announcement import NOBODY_TOLD, Count, Tally
from node.domain.completeness import Activity, Evidence, Grounds, Patience, evidence, patience_of
from node.domain.instance import InstanceHeader
from node.domain.peers import Sender
from node.domain.reception import OpenAssociations
from node.domain.stack import stack_of
from node.domain.study import OpenSeries, OpenStudy
from node.flow.routing import Router

Open = OpenSeries | OpenStudy


@dataclass(frozen=True)
class Shape:
    """How the images came and how they lie."""

    gap: str
    """What keeps them from being a gapless stack; empty where they are one."""
    usual_pause: timedelta = timedelta(0)
    """Between two images, the median."""


@dataclass(frozen=True)
class Watch:
    """What evidence is judged by, at one moment."""

    senders: Sequence[Sender]
    associations: OpenAssociations
    now: datetime
    listening_since: datetime
    router: Router = field(default_factory=Router)
    prior_wait: timedelta = timedelta(0)
    """How long a reading waits for earlier exams that an archive may have; 0: none is asked."""

    def evidence(self, one: Open, shape: Callable[[], Shape], tally: Tally = Tally.UNKNOWN) -> Evidence | None:
        """Why it is complete, if it is. `shape` is asked last."""
        first, last = self._times(one)
        released = self.associations.done(one.last_association_id, one.calling_ae_title, one.address)
        activity = Activity(first, last, gapless=True, released=released, tally=tally)
        patience = self._patience(one)
        why = evidence(activity, patience, self.now)
        if why is Evidence.GAPLESS:
            seen = shape()
            activity = replace(activity, gapless=not seen.gap, usual_pause=seen.usual_pause)
            why = evidence(activity, patience, self.now)
        return why

    def grounds(self, one: Open, images: int, gap: str, count: Count = NOBODY_TOLD) -> Grounds:
        """What there is to say about the evidence."""
        first, last = self._times(one)
        patience = self._patience(one)
        return Grounds(
            images=images,
            gap=gap,
            association=self.associations.standing(one.last_association_id, one.calling_ae_title, one.address),
            quiet_s=round((self.now - last).total_seconds(), 3),
            lasted_s=round((self.now - first).total_seconds(), 3),
            gapless_quiet_s=patience.gapless_quiet.total_seconds(),
            enough_quiet_s=patience.quiet.total_seconds(),
            hard_cap_s=patience.hard_cap.total_seconds(),
            expected=count.expected,
            told_by=count.told_by,
        )

    def _times(self, one: Open) -> tuple[datetime, datetime]:
        """When the first and the last image came. Time when nobody listened is no quiet time."""
        return max(one.first_received_at, self.listening_since), max(one.last_received_at, self.listening_since)

    def _patience(self, one: Open) -> Patience:
        return patience_of(self.senders, one.calling_ae_title, one.address)


def gap_of(headers: Iterable[InstanceHeader]) -> str:
    """What keeps the CT images of a series from being a gapless stack; empty where they are one."""
    stack = stack_of([frame for header in headers if header.ct for frame in header.ct.frames])
    return "there is no CT image with its place" if stack is None else stack.gap
