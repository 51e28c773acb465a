"""Event to subscriber: in order, over one association, again and again until it was heard or is too old."""

import logging
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

from node.catalog import workitems
from node.catalog.session import Catalog
from node.dicom import store_scu, ups_scu
from node.domain.delivery import back_off
from node.domain.peers import Destination
from node.domain.procedure_events import LONGEST_WAIT, Notification
from node.errors import PeerFailed
from node.flow.announce import Announcing
from node.flow.destinations import doubted
from node.flow.loop import Loop, goes_on
from node.settings import Settings

log = logging.getLogger(__name__)

ANNOUNCE_EVERY_S = 0.5
AT_ONCE = 100
"""Events that share an association."""


def loops(catalog: Catalog, settings: Settings, now: Callable[[], datetime]) -> list[Loop]:
    """Jobs are followed as steps, and each who may subscribe is told."""
    connect = partial(ups_scu.connected, settings.ae_title, store_scu.Patience(answer_s=settings.answer_timeout_s))
    telling = [
        Loop(f"tell {each.ae_title}", Telling(catalog, each, connect, random.Random(), now).step, 0.5)
        for each in settings.event_receivers
    ]
    return [Loop("announce", Announcing(catalog, now).step, ANNOUNCE_EVERY_S, then=telling), *telling]


class Ear(Protocol):
    """An open association with a subscriber."""

    def tell(self, event: Notification) -> int:
        """One event; returns the status. Raises PeerFailed."""


Connect = Callable[[Destination], AbstractContextManager[Ear]]


@dataclass(frozen=True)
class Telling:
    """What telling one subscriber needs."""

    catalog: Catalog
    to: Destination
    connect: Connect
    jitter: random.Random
    now: Callable[[], datetime]

    def step(self) -> bool:
        """Tell what it has not heard. True when there may be more."""
        waiting = self._waiting()
        if not waiting:
            return False
        left = list(waiting)
        try:
            with self.connect(self.to) as ear:
                while left:
                    goes_on()
                    self._tell(ear, left[0])
                    left.pop(0)
        except PeerFailed as error:
            doubted(self.catalog, self.to, error)
            log.warning("a subscriber was not told", extra={"reason": str(error)})
            wait = back_off(left[0].attempts + 1 if left else 1, self.jitter, longest=LONGEST_WAIT)
            with self.catalog.writing() as session:
                workitems.postpone(session, [each.id for each in left], self.now() + wait)
            return False
        return len(waiting) == AT_ONCE

    def _waiting(self) -> list[Notification]:
        title = self.to.ae_title
        with self.catalog.reading() as session:
            waiting = workitems.to_tell(session, title, self.now(), AT_ONCE)
        if waiting and waiting[0].attempts:
            with self.catalog.writing() as session:
                if dropped := workitems.forget_the_old(session, title, self.now()):
                    log.error("a subscriber has missed events", extra={"subscriber": title, "events": dropped})
                waiting = workitems.to_tell(session, title, self.now(), AT_ONCE)
        return waiting

    def _tell(self, ear: Ear, event: Notification) -> None:
        """Whatever it answers, it has heard it: what it refuses once it would refuse again."""
        status = ear.tell(event)
        if status:
            log.warning("a subscriber refused an event", extra={"type": event.type.name, "status": f"0x{status:04X}"})
        with self.catalog.writing() as session:
            workitems.forget(session, event.id)
