"""Independent counts: who told how many images a study has, and whether they are here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Teller(StrEnum):
    """Who tells."""

    MPPS = "MPPS"
    """The modality: Modality Performed Procedure Step (PS3.4 F.7)."""
    IAN = "IAN"
    """An archive: Instance Availability Notification (PS3.4 R)."""
    FIND = "C-FIND"
    """An archive that was asked."""


class StepState(StrEnum):
    """Performed Procedure Step Status (PS3.3 C.4.14); what is told at once is completed."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"
    """Ended early: what it refers to was made all the same."""


FINAL = frozenset({StepState.COMPLETED, StepState.DISCONTINUED})
"""No N-SET is taken after these (PS3.4 F.7.2.2.2)."""


@dataclass(frozen=True)
class Announcement:
    """What somebody told of a study. Names no patient."""

    teller: Teller
    uid: str
    """SOP Instance UID of the step or notification; of a C-FIND the Study Instance UID."""
    study_instance_uid: str
    """Empty while only the end of a step was told."""
    state: StepState
    series: Mapping[str, int]
    """Series Instance UID to instances in it."""
    told_at: datetime


class Tally(StrEnum):
    """How what was told compares with what is here."""

    UNKNOWN = "unknown"
    """Nobody told, or there is more than was told: that was no count of it."""
    SHORT = "short"
    REACHED = "reached"


@dataclass(frozen=True)
class Count:
    """An independent count of a series or a study."""

    expected: int = 0
    """0: nobody told."""
    told_by: str = ""
    whole: bool = True
    """Whether it covers everything that is here."""

    def tally(self, here: int) -> Tally:
        """Whether all is here. A count that is exceeded is none."""
        if not self.expected or here > self.expected:
            return Tally.UNKNOWN
        if here < self.expected:
            return Tally.SHORT
        return Tally.REACHED if self.whole else Tally.UNKNOWN


NOBODY_TOLD = Count()


def counts_of(announcements: Iterable[Announcement]) -> dict[str, Count]:
    """Series Instance UID to what was told of it: the most, where several tell. What is not final tells nothing."""
    counts = dict[str, Count]()
    for each in announcements:
        for uid, number in each.series.items():
            if each.state in FINAL and number > counts.get(uid, NOBODY_TOLD).expected:
                said = f"{each.teller} (discontinued)" if each.state is StepState.DISCONTINUED else str(each.teller)
                counts[uid] = Count(number, said)
    return counts


def count_of_study(counts: Mapping[str, Count], here: Mapping[str, int]) -> Count:
    """Of all series: those that nobody told of count as they are here, but then nothing says that these are whole."""
    if not counts:
        return NOBODY_TOLD
    untold = sum(number for uid, number in here.items() if uid not in counts)
    told_by = sorted({each.told_by for each in counts.values()})
    more = sum(max(0, here.get(uid, 0) - each.expected) for uid, each in counts.items())
    return Count(
        untold + more + sum(each.expected for each in counts.values()), ", ".join(told_by), not (untold or more)
    )
