"""Which finding hits which nodule: the rule of LUNA16 (Setio 2017, https://doi.org/10.1016/j.media.2017.06.015)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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

    A nodule is found where a finding lies not farther from its centre than its radius; more findings there count once,
    with the best score; hits of irrelevant findings are ignored; all that hit nothing are false positives.
    """
    inside, scores = _inside(truths, found), np.array([one.score for one in found])
    best = [None if index is None else found[index].score for index in best_hits(truths, found)]
    hits = tuple(score for score, truth in zip(best, truths, strict=True) if truth.counts)
    wrong = np.sort(scores[~inside.any(axis=0)])[::-1]
    return Matched(hits, tuple(wrong.tolist()))


def best_hits(truths: Sequence[Truth], found: Sequence[Scored]) -> tuple[int | None, ...]:
    """For each truth, in order: index of the best scored finding that hits it, None where it was missed."""
    scores = np.array([one.score for one in found])
    hits = [np.flatnonzero(row) for row in _inside(truths, found)]
    return tuple(int(row[scores[row].argmax()]) if len(row) else None for row in hits)


def _inside(truths: Sequence[Truth], found: Sequence[Scored]) -> NDArray[np.bool_]:
    """Which finding hits which truth: (truths, findings)."""
    centers = np.array([truth.center_lps_mm for truth in truths]).reshape(-1, 1, 3)
    places = np.array([one.center_lps_mm for one in found]).reshape(1, -1, 3)
    radii = np.array([truth.diameter_mm / 2 for truth in truths]).reshape(-1, 1)
    return np.asarray(np.linalg.norm(centers - places, axis=2) <= radii)
