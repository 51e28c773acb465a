"""Nodules of two exams paired: each at most once, nearest first, those of one type before others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from node.domain.finding import Finding
from workers.priors.nearby import SURE_LIKENESS, Place

SURE_MM, UNSURE_MM = 10.0, 15.0
"""How far apart two may lie where the place was found again by its surroundings, and where by the lungs alone."""
OTHER_TYPE_MM = 4.0
"""What another type counts like: types are told wrongly now and then."""


@dataclass(frozen=True)
class Pairs:
    """Indices into the nodules of now and then."""

    both: dict[int, int]
    """Now to then."""
    only_then: tuple[int, ...]


def is_sure(place: Place) -> bool:
    """Whether a place was found again by what is around it."""
    return place.likeness >= SURE_LIKENESS


def pair(now: Sequence[Finding], places: Sequence[Place], then: Sequence[Finding]) -> Pairs:
    """`places`: where each nodule of now is in the earlier exam."""
    near = sorted(
        (distance + OTHER_TYPE_MM * (one.type is not other.type), i, j)
        for i, (one, place) in enumerate(zip(now, places, strict=True))
        for j, other in enumerate(then)
        if (distance := _apart_mm(place, other)) <= (SURE_MM if is_sure(place) else UNSURE_MM)
    )
    both: dict[int, int] = {}
    for _, i, j in near:
        if i not in both and j not in both.values():
            both[i] = j
    return Pairs(both, tuple(j for j in range(len(then)) if j not in both.values()))


def _apart_mm(place: Place, other: Finding) -> float:
    return float(np.linalg.norm(place.lps_mm - np.array(other.center_lps_mm)))
