"""How the reading of a study ends: exactly one outcome that a person can see."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """The four ends of a study."""

    FINDINGS = "findings"
    """All algorithms ran; nodules were found."""
    NO_FINDINGS = "no findings"
    """All algorithms ran on the whole lungs; nothing was found."""
    PARTIAL = "partial"
    """Something was read, with or without nodules, but not all of the lungs or not at full quality."""
    NOT_ANALYSED = "not analysed"
    """Nothing was read; never to be mistaken for "no findings"."""


@dataclass(frozen=True)
class Conclusion:
    """An outcome and what a reader must know about it."""

    outcome: Outcome
    limitations: tuple[str, ...] = ()
    """One sentence each: what was not assessed and why; for NOT_ANALYSED the reason."""
