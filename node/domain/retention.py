"""When the files of a finished study go: by age, or because the disk is low."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

REMOVED = "Earlier images were removed by retention; send the whole series again."
"""Why a series cannot be read of which images came after the others had gone."""


class Why(StrEnum):
    """Why the files of a study were removed."""

    AGE = "age"
    SPACE = "free space"
    OPERATOR = "operator"


@dataclass(frozen=True)
class Retention:
    """How long files are kept. As it comes: for ever."""

    after: timedelta | None = None
    """Since the last image of the study came; None: no age is too old."""
    below_free_bytes: int = 0
    """With less free than the larger of these two marks the oldest studies go; both 0: never for want of space."""
    below_free_fraction: float = 0.0

    @property
    def keeps_all(self) -> bool:
        """Whether nothing is ever removed, but by a person."""
        return self.after is None and not self.below_free_bytes and not self.below_free_fraction

    def shortage(self, free_bytes: int, total_bytes: int) -> int:
        """Bytes that must become free; 0 or less where there is enough."""
        return max(self.below_free_bytes, int(self.below_free_fraction * total_bytes)) - free_bytes


@dataclass(frozen=True)
class Finished:
    """A study that nobody waits for any more."""

    id: int
    study_instance_uid: str
    last_received_at: datetime
    size: int
    """Bytes of its received files."""


def going(
    rule: Retention, oldest_first: Iterable[Finished], now: datetime, shortage: int
) -> Iterator[tuple[Finished, Why]]:
    """Which of these studies go now, and why; `shortage` is in bytes."""
    for each in oldest_first:
        if rule.after is not None and each.last_received_at + rule.after <= now:
            yield each, Why.AGE
        elif shortage > 0:
            yield each, Why.SPACE
        else:
            return
        shortage -= each.size
