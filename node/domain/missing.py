"""Images that were told of and did not come: of which series, and when an archive is asked for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from node.domain.announcement import Count, Tally
from node.domain.study import OpenStudy

MOST_TRIES = 3
"""While a study is open: who has no more after that is not asked again before something else comes."""
AGAIN_AFTER = timedelta(minutes=1)
"""The first time; then four times as long. All of it ends long before the hard cap, which settles the study."""


@dataclass(frozen=True)
class Asked:
    """How an archive was asked for what a study lacks."""

    ae_title: str
    """Its own."""
    sop_instance_uids: tuple[str, ...]
    """Every image that it was ever asked for."""
    tries: int
    opened_at: datetime
    """When the first image of the study came: who opens it again has it asked anew."""
    asked_at: datetime
    said: str
    """What came of the last try."""


def lacking(told: Mapping[str, Count], here: Mapping[str, int]) -> list[str]:
    """Series of which fewer images are here than were told of; both by Series Instance UID."""
    return sorted(uid for uid, count in told.items() if count.tally(here.get(uid, 0)) is Tally.SHORT)


def is_due(study: OpenStudy, asked: Asked | None, quiet: timedelta, now: datetime) -> bool:
    """Whether an archive is asked now for what a study lacks: only when its sender has been quiet for long enough."""
    if now - study.last_received_at < quiet:
        return False
    if asked is None or asked.opened_at != study.first_received_at:
        return True
    return asked.tries < MOST_TRIES and now - asked.asked_at >= AGAIN_AFTER * 4 ** (asked.tries - 1)
