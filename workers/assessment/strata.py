"""Sensitivity within groups: by size and type of nodules, by scanner, dose and patient."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workers.assessment.compare import Compared, Result
from workers.assessment.figure import is_found
from workers.evaluation.froc import froc, threshold_at
from workers.evaluation.subgroups import SIZE_BANDS, Share, share, size_band

RATE = 1.0
"""False positives per scan at which groups are compared beside the shipped threshold; of all scans together."""


@dataclass(frozen=True)
class Cell:
    """One group of nodules."""

    kind: str
    group: str
    at_shipped_score: Share
    at_one_false_positive: Share


def cells_of(results: Sequence[Result]) -> tuple[Cell, ...]:
    """One cell for each group that holds a nodule."""
    strict = threshold_at(froc([one.matched for one in results]), RATE)
    grouped: dict[tuple[str, str], list[Compared]] = defaultdict(list)
    for one in results:
        for nodule in one.nodules:
            for place in _places(one, nodule):
                grouped[place].append(nodule)
    return tuple(
        Cell(kind, group, share([is_found(one) for one in ones]), share([is_found(one, strict) for one in ones]))
        for (kind, group), ones in sorted(grouped.items(), key=lambda each: _order(*each[0]))
    )


def _places(result: Result, nodule: Compared) -> Iterator[tuple[str, str]]:
    size = size_band(nodule.diameter_mm)
    yield "size", size
    if nodule.type is not None:
        yield "type", nodule.type
        yield "type and size", f"{nodule.type}, {size}"
    yield from result.groups.items()


def _order(kind: str, group: str) -> tuple[int, str, str, int, str]:
    """Size first, then type, both together, then the rest by name; sizes rise."""
    kinds = ("size", "type", "type and size")
    name, _, size = group.rpartition(", ")
    band = SIZE_BANDS.index(size) if size in SIZE_BANDS else -1
    return kinds.index(kind) if kind in kinds else len(kinds), kind, name, band, group
