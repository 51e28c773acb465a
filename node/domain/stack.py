"""How the frames of a CT series lie in space."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from node.domain.instance import CtFrame, Triple

SAME_POSITION_MM = 0.01
EVEN_STEP_FRACTION, EVEN_STEP_MM = 0.05, 0.05
"""Steps within 5 % of their median are even; within 0.05 mm too, because scanners round positions."""
PARALLEL_COSINE = 1 - 1e-4
"""Two directions closer than about 0.8 degrees are one."""


@dataclass(frozen=True)
class Stack:
    """A series seen along the normal of its slices."""

    count: int
    normal: Triple
    """Unit normal of the first slice: row direction x column direction, LPS."""
    parallel: bool
    """Every frame has the orientation of the first."""
    step_mm: float
    """Median distance between neighbours along the normal; 0 for fewer than two."""
    even: bool
    """No gap, no uneven step."""
    duplicate_positions: int
    sheared: bool
    """Slices are not stacked along their normal (gantry tilt)."""

    @property
    def coverage_mm(self) -> float:
        """From the centre of the first slice to that of the last."""
        return self.step_mm * max(0, self.count - 1)

    @property
    def tilt_from_axial_deg(self) -> float:
        """Angle between the normal and the long axis of the body."""
        return math.degrees(math.acos(min(1.0, abs(self.normal[2]))))

    @property
    def gap(self) -> str:
        """What keeps it from being a whole stack, nothing missing inside it and nothing twice; empty: it is one."""
        if self.count < 2:
            return "a single image is no stack"
        if not self.parallel:
            return "its images differ in orientation"
        if self.duplicate_positions:
            return "several images lie at one position"
        return "" if self.even else "images are missing or unevenly spaced"

    @property
    def gapless(self) -> bool:
        """A whole stack."""
        return not self.gap


def _normal(orientation: Sequence[float]) -> Triple:
    (a, b, c), (d, e, f) = orientation[:3], orientation[3:]
    x, y, z = b * f - c * e, c * d - a * f, a * e - b * d
    length = math.sqrt(x * x + y * y + z * z) or 1.0
    return x / length, y / length, z / length


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def step_tolerance_mm(step_mm: float) -> float:
    """How far a step may be from the median step of its stack."""
    return max(EVEN_STEP_MM, EVEN_STEP_FRACTION * step_mm)


def stack_of(frames: Sequence[CtFrame]) -> Stack | None:
    """Describe the stack of some frames, in any order; None without frames."""
    if not frames:
        return None
    normal = _normal(frames[0].orientation)
    places = sorted((_dot(frame.position, normal), frame.position) for frame in frames)
    steps = [after[0] - before[0] for before, after in pairwise(places)]
    apart = [step for step in steps if step > SAME_POSITION_MM]
    step = median(apart) if apart else 0.0
    tolerance = step_tolerance_mm(step)
    return Stack(
        count=len(frames),
        normal=normal,
        parallel=all(_dot(_normal(frame.orientation), normal) > PARALLEL_COSINE for frame in frames),
        step_mm=step,
        even=all(abs(each - step) <= tolerance for each in apart),
        duplicate_positions=len(steps) - len(apart),
        sheared=_is_sheared(normal, places[0][1], places[-1][1]),
    )


def _is_sheared(normal: Triple, first: Triple, last: Triple) -> bool:
    way = tuple(b - a for a, b in zip(first, last, strict=True))
    length = math.sqrt(_dot(way, way))
    return length > SAME_POSITION_MM and abs(_dot(way, normal)) / length < PARALLEL_COSINE
