"""Which finding hits which nodule: the rule of LUNA16 (Setio 2017, https://doi.org/10.1016/j.media.2017.06.015)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Truth:
    """A nodule that readers marked."""

    center_lps_mm: Point
    diameter_mm: float
    counts: bool = True
    """False: an irrelevant finding, whose hits are neither right nor wrong."""


@dataclass(frozen=True)
class Scored:
    """What a reader or a model reports."""

    center_lps_mm: Point
    score: float


@dataclass(frozen=True)
class Matched:
    """One scan after matching."""

    hits: tuple[float | None, ...]
    """For each truth that counts, in order: the best score of its hits, None where it was missed."""
    false_positives: tuple[float, ...]
    """Scores of the findings that hit nothing, best first."""


def match(truths: Sequence[Truth], found: Sequence[Scored]) -> Matched:
    """Match one scan.

    A finding hits the nearest nodule whose centre is not farther than its radius; more hits of one nodule count once;
    hits of irrelevant findings are ignored; all others are false positives.
    """
    best: dict[int, float] = {}
    wrong = []
    for one in found:
        index = _nearest_hit(truths, one)
        if index is None:
            wrong.append(one.score)
        else:
            best[index] = max(one.score, best.get(index, one.score))
    hits = tuple(best.get(index) for index, truth in enumerate(truths) if truth.counts)
    return Matched(hits, tuple(sorted(wrong, reverse=True)))


def _nearest_hit(truths: Sequence[Truth], found: Scored) -> int | None:
    """Index of the nearest truth that is hit; those that count come first."""
    inside = []
    for index, truth in enumerate(truths):
        distance = float(np.linalg.norm(np.subtract(truth.center_lps_mm, found.center_lps_mm)))
        if distance <= truth.diameter_mm / 2:
            inside.append((not truth.counts, distance, index))
    return min(inside)[2] if inside else None
