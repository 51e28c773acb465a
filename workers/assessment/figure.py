"""One measured number, and where findings count as found."""

from collections.abc import Sequence
from dataclasses import dataclass

from workers.assessment.compare import Compared
from workers.networks.operating import OperatingPoint

SHIPPED_SCORE = OperatingPoint().finding_score


@dataclass(frozen=True)
class Figure:
    """One number; None where there was nothing to measure it on."""

    name: str
    value: float | None
    interval: tuple[float, float] | None
    """95 %."""
    n: int


def is_found(nodule: Compared, least: float = SHIPPED_SCORE) -> bool:
    """Whether a finding of at least this score hit the nodule."""
    return nodule.score is not None and nodule.score >= least


def mean_figure(name: str, values: Sequence[float], interval: tuple[float, float] | None = None) -> Figure:
    """The mean of values that there may be none of."""
    return Figure(name, sum(values) / len(values) if values else None, interval, len(values))
