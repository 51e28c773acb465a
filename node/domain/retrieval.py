"""What a C-MOVE or C-GET names, and how its sub-operations ended (PS3.4 C.4.2, C.4.3)."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

MOST = 65535
"""Sub-operations of one retrieval: their numbers are US (PS3.7 9.3.3)."""


class Ended(StrEnum):
    """How one sub-operation ended."""

    COMPLETED = "completed"
    WARNING = "warning"
    """Stored, with a remark."""
    FAILED = "failed"


@dataclass(frozen=True)
class Holding:
    """An instance that is to be sent."""

    study_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    path: str
    """Relative to the data directory."""
    digest: str
    """SHA-256, hex, of the data set; of a result the whole file's."""
    transfer_syntax_uid: str
    is_result: bool
    """Nodus made it."""
    is_here: bool
    """Retention has not removed its file."""


@dataclass
class Tally:
    """Where the sub-operations of a retrieval stand."""

    total: int
    ended: Counter[tuple[str, Ended]] = field(default_factory=Counter)
    """By Study Instance UID and how it ended."""
    failed_uids: list[str] = field(default_factory=list)
    """SOP Instance UIDs."""

    def add(self, holding: Holding, how: Ended) -> None:
        """One more has ended."""
        self.ended[holding.study_instance_uid, how] += 1
        if how is Ended.FAILED:
            self.failed_uids.append(holding.sop_instance_uid)

    def count(self, how: Ended) -> int:
        """Sub-operations that ended so."""
        return sum(number for (_, each), number in self.ended.items() if each is how)

    @property
    def remaining(self) -> int:
        """Sub-operations that have not ended."""
        return self.total - sum(self.ended.values())
