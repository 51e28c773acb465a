"""Lung-RADS v2022 where an earlier exam is known: each limit of size and of growth from just below to just above."""

import pytest

from node.domain.exam import Exam, Purpose
from node.domain.finding import NoduleType, Side
from node.domain.outcome import Conclusion, Outcome
from node.domain.prior import EarlierNodule, Growth, NoduleChange, Seen, Trend, Unsure
from tests.compared import comparison
from tests.unit.test_guidelines_rules import around
from workers.guidelines import lung_rads
from workers.guidelines.apply import guidance_of
from workers.guidelines.course import Course, courses_of
from workers.guidelines.growth import LEAST_CHANGE_MM, MOST_STABLE_MM, diameter_changed
from workers.guidelines.nodule import Nodule

SOLID, PART_SOLID = NoduleType.SOLID, NoduleType.PART_SOLID
GLASS, CALCIFIED = NoduleType.GROUND_GLASS, NoduleType.CALCIFIED
NEW, GROWING, STABLE = (Course.NEW,), (Course.GROWING,), (Course.STABLE,)


def categories(
    type_: NoduleType,
    mm: float,
    courses: tuple[Course, ...],
    solid_mm: float | None = None,
    before: tuple[float, int] | None = None,
) -> tuple[str, ...]:
    """Of a round nodule. `before`: its mean diameter then, and how many days ago."""
    then, days = before or (None, 0)
    return lung_rads.categories_of(Nodule(1, type_, mm, mm, solid_mm, courses=courses, earlier_mm=then, days=days))


@pytest.mark.parametrize(("mm", "category"), [*around(4, "2", "3"), *around(6, "3", "4A"), *around(8, "4A", "4B")])
def test_a_new_solid_nodule_has_rows_of_its_own(mm: float, category: str) -> None:
    assert categories(SOLID, mm, NEW) == (category,)


@pytest.mark.parametrize(("mm", "category"), [(5.0, "4A"), *around(8, "4A", "4B")])
def test_a_growing_solid_nodule_has_rows_of_its_own(mm: float, category: str) -> None:
    assert categories(SOLID, mm, GROWING) == (category,)


@pytest.mark.parametrize(("mm", "found"), [*around(6, ("3",), ("4A", "4B"))])
def test_a_new_part_solid_nodule_is_three_while_it_is_small(mm: float, found: tuple[str, ...]) -> None:
    assert categories(PART_SOLID, mm, NEW) == found


@pytest.mark.parametrize(("solid_mm", "category"), around(4, "4A", "4B"))
def test_a_new_part_solid_nodule_has_its_category_by_its_solid_part(solid_mm: float, category: str) -> None:
    assert categories(PART_SOLID, 12.0, NEW, solid_mm) == (category,)


@pytest.mark.parametrize(("mm", "found"), [(3.9, ("2", "4A")), (5.9, ("2", "4A", "4B")), (7.0, ("3", "4A", "4B"))])
def test_of_a_growing_part_solid_nodule_nobody_knows_which_part_grew(mm: float, found: tuple[str, ...]) -> None:
    assert categories(PART_SOLID, mm, GROWING) == found


@pytest.mark.parametrize(("mm", "new", "growing"), around(30, None, None) and [
    (29.9, ("2",), ("2",)), (29.95, ("3",), ("2", "3")), (30.0, ("3",), ("2", "3")),
])  # fmt: skip
def test_ground_glass_is_two_below_thirty_millimetres_and_where_it_is_stable(
    mm: float, new: tuple[str, ...], growing: tuple[str, ...]
) -> None:
    assert categories(GLASS, mm, NEW) == new
    assert categories(GLASS, mm, GROWING) == growing
    assert categories(GLASS, mm, STABLE) == ("2",)


@pytest.mark.parametrize(
    ("mm", "before", "category"),
    [
        (7.0, (7.0, 179), "3"),
        (7.0, (7.0, 180), "2"),
        (9.0, (9.0, 89), "4A"),
        (9.0, (9.0, 90), "3"),
        (16.0, (16.0, 800), "4B"),
        (5.0, (5.0, 800), "2"),
        (6.5, (5.5, 800), "3"),  # it crossed a limit of size since then
        (7.0, (8.2, 800), "3"),  # a 4A that decreased
    ],
)
def test_a_stable_nodule_falls_by_one_after_its_time(mm: float, before: tuple[float, int], category: str) -> None:
    assert categories(SOLID, mm, STABLE, before=before) == (category,)


def test_a_calcified_nodule_may_always_be_benign() -> None:
    assert categories(CALCIFIED, 9.0, NEW) == ("1", "4B")


def matched(change_mm: float) -> NoduleChange:
    earlier = EarlierNodule("", SOLID, Side.LEFT, (0.0, 0.0, 0.0), 6.0, None)
    return NoduleChange(1, Seen.MATCHED, None, earlier, Growth(Trend.STABLE, False, change_mm, None, None))


@pytest.mark.parametrize(
    ("change_mm", "days", "courses"),
    [
        (1.5, 365, STABLE),
        (1.6, 365, GROWING),
        (1.6, 366, GROWING),
        (1.6, 400, (Course.STABLE, Course.GROWING)),
        (3.0, 730, (Course.STABLE, Course.GROWING)),
        (3.1, 730, GROWING),
        (1.5, 2000, STABLE),
        (-4.0, 100, STABLE),
    ],
)
def test_growth_is_more_than_a_millimetre_and_a_half_within_a_year(
    change_mm: float, days: int, courses: tuple[Course, ...]
) -> None:
    assert courses_of(matched(change_mm), days) == courses


def test_what_the_earlier_exam_leaves_open_stays_open() -> None:
    assert courses_of(None, 0) == (Course.BASELINE,)
    assert courses_of(NoduleChange(1, Seen.NEW), 100) == NEW
    unsure = courses_of(NoduleChange(1, Seen.UNSURE, Unsure.LIMITED), 100)
    assert unsure == (Course.BASELINE, Course.NEW, Course.GROWING)
    seen = NoduleChange(1, Seen.MATCHED, None, matched(0).earlier)
    assert courses_of(seen, 100) == (Course.BASELINE, Course.GROWING)
    assert categories(SOLID, 7.0, unsure) == ("3", "4A")


@pytest.mark.parametrize(("later_mm", "by_lung_rads", "by_fleischner"), [
    (7.5, False, False), (7.6, True, False), (7.9, True, False), (8.0, True, True), (4.5, False, False),
    (4.4, True, False), (4.0, True, True),
])  # fmt: skip
def test_a_diameter_changes_by_more_than_one_and_a_half_or_by_two_millimetres(
    later_mm: float, by_lung_rads: bool, by_fleischner: bool
) -> None:
    assert diameter_changed(6.0, later_mm, MOST_STABLE_MM) is by_lung_rads
    assert diameter_changed(6.0, later_mm, LEAST_CHANGE_MM) is by_fleischner


def test_without_findings_an_exam_that_was_compared_is_one_and_says_what_it_counts_as() -> None:
    exam = Exam(Purpose.SCREENING, "it came from CT1", 64, True)
    found = guidance_of(exam, (), Conclusion(Outcome.NO_FINDINGS), comparison())
    assert found.lung_rads == ("1",)
    assert "exams before the earlier one" in found.sentences[1]
    assert "prior exams (each nodule" in guidance_of(exam, (), Conclusion(Outcome.NO_FINDINGS)).sentences[1]
