"""Two readings of the same images beside each other: what both found, and what only one of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from node.domain.finding import Finding


@dataclass(frozen=True)
class Comparison:
    """Findings of a first and a second reading."""

    both: tuple[tuple[Finding, Finding], ...]
    """At the same place, the nearest pairs first."""
    only_first: tuple[Finding, ...]
    only_second: tuple[Finding, ...]


def compare(first: Sequence[Finding], second: Sequence[Finding]) -> Comparison:
    """Pair findings of two readings, each at most once, the nearest first.

    Two are at the same place where the centre of one lies in the other: not farther apart, in mm, than the radius of
    the larger (the rule of LUNA16 for a finding and a nodule, Setio 2017, without saying which of them is right).
    """
    near = sorted(
        (distance, i, j)
        for i, one in enumerate(first)
        for j, other in enumerate(second)
        if (distance := math.dist(one.center_lps_mm, other.center_lps_mm)) <= max(_radius_mm(one), _radius_mm(other))
    )
    pairs: dict[int, int] = {}
    for _, i, j in near:
        if i not in pairs and j not in pairs.values():
            pairs[i] = j
    return Comparison(
        tuple((first[i], second[j]) for i, j in pairs.items()),
        tuple(one for i, one in enumerate(first) if i not in pairs),
        tuple(one for j, one in enumerate(second) if j not in pairs.values()),
    )


def _radius_mm(finding: Finding) -> float:
    return finding.measurements.mean_diameter_mm / 2
