"""Readings beside those in shadow, as a person reads them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Compared = Mapping[str, Any]
"""As `node.catalog.comparisons` says it."""
COUNTS = {
    "found": "in use",
    "found_in_shadow": "shadow",
    "same_place": "same place",
    "only_reading": "only in use",
    "only_shadow": "only shadow",
}


def text(found: Sequence[Compared], *, each_finding: bool) -> str:
    """A line a study, and the sum; with `each_finding` also what one has and the other has not."""
    if not found:
        return "No study was read both by a model in use and by one in shadow."
    lines = [f"{'study':64} {'shadow':20} {' '.join(f'{name:>11}' for name in COUNTS.values())}"]
    for one in found:
        lines.append(_line(one["study_instance_uid"], one["shadow"], [_number(one[name]) for name in COUNTS]))
        lines += _findings(one) if each_finding else ()
    if not each_finding:
        lines.append(_line("all", "", [sum(_number(one[name]) for one in found) for name in COUNTS]))
    return "\n".join(lines)


def _line(study: str, shadow: str, counts: Sequence[int]) -> str:
    return f"{study:64} {shadow:20} {' '.join(f'{count:11}' for count in counts)}"


def _number(value: int | Sequence[object]) -> int:
    return value if isinstance(value, int) else len(value)


def _findings(one: Compared) -> Iterator[str]:
    yield f"  in use: job {one['job']}, {one['outcome']}, {one['model']}"
    yield f"  shadow: job {one['shadow_job']}, {one['shadow_outcome']}, {one['shadow_model']}"
    for pair in one["both"]:
        yield f"  at the same place: {pair['reading']} in use, {pair['shadow']} in shadow"
    for which, name in (("only_reading", "only in use"), ("only_shadow", "only in shadow")):
        for each in one[which]:
            yield f"  {name}: {each['finding']} {each['summary']}"
