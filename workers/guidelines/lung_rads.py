"""Lung-RADS v2022: nodules of a screening exam to categories by type, mean diameter and what became of them."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from node.domain.finding import NoduleType
from workers.guidelines.course import Course
from workers.guidelines.nodule import ENDLESS, Nodule, to_tenth

NAME = "Lung-RADS v2022"
SOURCE = "American College of Radiology, Lung-RADS v2022, November 2022; Christensen et al., CHEST 2024;165:738-753"

CATEGORIES = ("1", "2", "3", "4A", "4B")
"""Least first. 4X is a person's to give, and so is 0: it needs somebody who knows of priors and infection."""

Rows = tuple[tuple[Decimal, str], ...]
"""Below which mean diameter in mm, rounded to one decimal, a nodule has which category; smallest first."""

PART_SOLID_MM = Decimal(6)
"""A part-solid nodule below is 2, whatever its solid part; from here on that decides."""
SOLID: Rows = ((Decimal(6), "2"), (Decimal(8), "3"), (Decimal(15), "4A"), (ENDLESS, "4B"))
GROUND_GLASS: Rows = ((Decimal(30), "2"), (ENDLESS, "3"))
SOLID_PART: Rows = ((Decimal(6), "3"), (Decimal(8), "4A"), (ENDLESS, "4B"))
NEW_SOLID: Rows = ((Decimal(4), "2"), (Decimal(6), "3"), (Decimal(8), "4A"), (ENDLESS, "4B"))
GROWING_SOLID: Rows = ((Decimal(8), "4A"), (ENDLESS, "4B"))
CHANGED_SOLID_PART: Rows = ((Decimal(4), "4A"), (ENDLESS, "4B"))
"""A solid part that is new or grows."""
LARGE_GROUND_GLASS_MM = Decimal(30)
DOWN: Mapping[str, tuple[int, str]] = {"3": (180, "2"), "4A": (90, "3")}
"""After how many days without growth (6 and 3 months) a category falls to which."""
FOLLOW_UP: Mapping[str, str] = {
    "1": "low-dose CT in 12 months",
    "2": "low-dose CT in 12 months",
    "3": "low-dose CT in 6 months",
    "4A": "low-dose CT in 3 months, PET/CT where a solid nodule or part has 8 mm or more",
    "4B": "diagnostic work-up",
}
NO_PRIOR = "prior exams (each nodule counts as one of a baseline exam)"
BEFORE_PRIOR = "exams before the earlier one (which counts as a baseline exam), growth of solid parts"
NOT_ASSESSED = (
    *("airway nodules", "cysts", "fat"),
    *("signs of infection or inflammation", "juxtapleural shape", "what makes a 4X", "other findings (S)"),
)
"""What could change a category and is not looked at."""


def not_assessed(compared: bool) -> tuple[str, ...]:
    """The same of an exam that was compared with an earlier one, or was not."""
    return (BEFORE_PRIOR if compared else NO_PRIOR, *NOT_ASSESSED)


def categories_of(nodule: Nodule) -> tuple[str, ...]:
    """Categories of one nodule that remain possible, least first: one, unless something was not measured."""
    possible = {category for course in nodule.courses for category in _of_course(nodule, course)}
    if nodule.type is NoduleType.CALCIFIED:  # benign only in certain patterns, which are not looked at
        possible.add("1")
    return tuple(sorted(possible, key=CATEGORIES.index))


def _of_course(nodule: Nodule, course: Course) -> tuple[str, ...]:
    size = to_tenth(nodule.mean_mm)
    if nodule.type is NoduleType.GROUND_GLASS:
        return _of_ground_glass(size, course)
    if course in (Course.BASELINE, Course.STABLE):
        now = _at_baseline(nodule, size)
        return _fallen(nodule, now) if course is Course.STABLE else now
    if nodule.type is NoduleType.PART_SOLID:
        return _of_changed_part_solid(nodule, size, course)
    return (_category(size, NEW_SOLID if course is Course.NEW else GROWING_SOLID),)


def _at_baseline(nodule: Nodule, size: Decimal) -> tuple[str, ...]:
    if nodule.type is NoduleType.PART_SOLID:
        return _of_part_solid(nodule, size)
    return (_category(size, SOLID),)


def _fallen(nodule: Nodule, now: tuple[str, ...]) -> tuple[str, ...]:
    """A 3 or 4A that did not grow falls after a while; what has it by crossing a limit of size since then does not."""
    if nodule.earlier_mm is None or _at_baseline(nodule, to_tenth(nodule.earlier_mm)) != now:
        return now
    least_days = {category: DOWN.get(category, (0, category)) for category in now}
    return tuple(below if nodule.days >= days else each for each, (days, below) in least_days.items())


def _of_ground_glass(size: Decimal, course: Course) -> tuple[str, ...]:
    """From 30 mm on 2 where it is stable or grows slowly: how fast is slow nobody says."""
    if size < LARGE_GROUND_GLASS_MM or course is Course.STABLE:
        return ("2",)
    return ("2", "3") if course is Course.GROWING else (_category(size, GROUND_GLASS),)


def _of_changed_part_solid(nodule: Nodule, size: Decimal, course: Course) -> tuple[str, ...]:
    """A new one by its solid part; one that grows, too, unless it is the rest of it that grows."""
    if course is Course.NEW and size < PART_SOLID_MM:
        return ("3",)
    changed = _by_solid_part(nodule, size, CHANGED_SOLID_PART)
    return changed if course is Course.NEW else (*_of_part_solid(nodule, size), *changed)


def of_exam(nodules: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Categories of an exam that remain possible, from those of its nodules: the highest counts; 1 without any."""
    possible = [[CATEGORIES.index(category) for category in each] for each in nodules] or [[0]]
    least = max(min(each) for each in possible)
    return tuple(CATEGORIES[rank] for rank in sorted({rank for each in possible for rank in each if rank >= least}))


def _of_part_solid(nodule: Nodule, size: Decimal) -> tuple[str, ...]:
    return ("2",) if size < PART_SOLID_MM else _by_solid_part(nodule, size, SOLID_PART)


def _by_solid_part(nodule: Nodule, size: Decimal, rows: Rows) -> tuple[str, ...]:
    """Each category that a solid part may have: one that was not measured is no larger than the whole."""
    least, most = map(to_tenth, nodule.solid_part_bounds_mm or (Decimal(0), size))
    from_mm = (Decimal(0), *(below for below, _ in rows))
    return tuple(category for at, (below, category) in zip(from_mm, rows, strict=False) if at <= most and least < below)


def _category(size: Decimal, rows: Rows) -> str:
    return next(category for below, category in rows if size < below)
