"""Shares within groups: by size, type, scanner; too few are not told."""

from collections.abc import Sequence
from dataclasses import dataclass

from workers.evaluation.intervals import wilson

LEAST_N = 10
"""A share of fewer says nothing, and invites to read something into it."""
SIZES_MM = (6.0, 8.0, 15.0, 30.0)
SIZE_BANDS = ("<6 mm", "6-8 mm", "8-15 mm", "15-30 mm", ">30 mm")


@dataclass(frozen=True)
class Share:
    """A share of a group with its 95 % interval (Wilson); both None where the group is too small."""

    n: int
    value: float | None
    interval: tuple[float, float] | None


def share(right: Sequence[bool]) -> Share:
    """The share that is right, not told for fewer than 10."""
    n = len(right)
    return Share(n, sum(right) / n, wilson(sum(right), n)) if n >= LEAST_N else Share(n, None, None)


def size_band(diameter_mm: float) -> str:
    """The band of a diameter: 30 mm belongs to the fourth, the other limits to the band above them."""
    above = sum(diameter_mm >= limit for limit in SIZES_MM[:-1]) + (diameter_mm > SIZES_MM[-1])
    return SIZE_BANDS[above]
