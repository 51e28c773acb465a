"""What became of a nodule since an earlier exam, as Lung-RADS asks for it: baseline, new, growing or stable."""

from enum import StrEnum

from node.domain.prior import NoduleChange, Seen
from workers.guidelines.growth import MOST_STABLE_MM

YEAR_DAYS = 365


class Course(StrEnum):
    """Each has rows of its own."""

    BASELINE = "baseline"
    """Nothing is known of before."""
    NEW = "new"
    GROWING = "growing"
    """By more than 1.5 mm within 12 months."""
    STABLE = "stable"
    """Not growing, or smaller."""


def courses_of(change: NoduleChange | None, days: int) -> tuple[Course, ...]:
    """Courses that remain possible: one, unless the earlier exam leaves it open. `days`: between the exams."""
    if change is None:
        return (Course.BASELINE,)
    if change.seen is Seen.NEW:
        return (Course.NEW,)
    if change.seen is Seen.UNSURE:
        return Course.BASELINE, Course.NEW, Course.GROWING
    if change.growth is None:
        return Course.BASELINE, Course.GROWING
    return _by_diameter(change.growth.diameter_mm, days)


def _by_diameter(change_mm: float, days: int) -> tuple[Course, ...]:
    """Over more than a year, growth within one of its years is sure only where the average year has as much."""
    if change_mm <= MOST_STABLE_MM:
        return (Course.STABLE,)
    if days <= YEAR_DAYS or change_mm * YEAR_DAYS / days > MOST_STABLE_MM:
        return (Course.GROWING,)
    return Course.STABLE, Course.GROWING
