"""Lung-RADS v2022 and Fleischner 2017: each threshold from just below to just above, rounded as they want it."""

import subprocess
import sys
from dataclasses import replace

import pytest

from node.domain.finding import NoduleType
from workers.guidelines import fleischner, lung_rads
from workers.guidelines.nodule import Nodule, to_tenth, to_whole

SOLID, PART_SOLID = NoduleType.SOLID, NoduleType.PART_SOLID
GLASS, CALCIFIED = NoduleType.GROUND_GLASS, NoduleType.CALCIFIED


def nodule(type_: NoduleType, mm: float, solid_part_mm: float | None = None, ordinal: int = 1) -> Nodule:
    """A round one."""
    return Nodule(ordinal, type_, mm, mm, solid_part_mm)


def around(threshold: float, below: object, above: object) -> list[tuple[float, object]]:
    """Sizes around a threshold on one decimal, and what they fall under."""
    return [
        (round(threshold - 0.1, 1), below),
        (round(threshold - 0.051, 3), below),
        (round(threshold - 0.05, 2), above),
        (threshold, above),
        (round(threshold + 0.1, 1), above),
    ]


@pytest.mark.parametrize("module", ["lung_rads", "fleischner", "brock", "growth", "apply"])
def test_the_rules_need_no_numpy(module: str) -> None:
    alone = f"import sys; sys.modules['numpy'] = None; import workers.guidelines.{module}"
    assert subprocess.run([sys.executable, "-c", alone], check=False).returncode == 0


@pytest.mark.parametrize(
    ("mm", "tenth", "whole"),
    [
        (5.94, "5.9", "6"),
        (5.95, "6.0", "6"),
        (5.45, "5.5", "5"),
        (5.5, "5.5", "6"),
        (8.4999, "8.5", "8"),
        (2.5, "2.5", "3"),
    ],
)
def test_halves_are_rounded_up_from_the_decimal_number(mm: float, tenth: str, whole: str) -> None:
    assert (str(to_tenth(mm)), str(to_whole(mm))) == (tenth, whole)


@pytest.mark.parametrize(
    ("mm", "category"), [(1.0, "2"), *around(6, "2", "3"), *around(8, "3", "4A"), *around(15, "4A", "4B"), (80, "4B")]
)
def test_a_solid_nodule_has_its_category_by_mean_diameter(mm: float, category: str) -> None:
    assert lung_rads.categories_of(nodule(SOLID, mm)) == (category,)


@pytest.mark.parametrize(("mm", "category"), [(6.0, "2"), *around(30, "2", "3"), (60, "3")])
def test_a_ground_glass_nodule_has_its_category_by_mean_diameter(mm: float, category: str) -> None:
    assert lung_rads.categories_of(nodule(GLASS, mm)) == (category,)


@pytest.mark.parametrize(("mm", "category"), around(6, "2", "3"))
def test_a_part_solid_nodule_is_small_by_its_whole_diameter(mm: float, category: str) -> None:
    assert lung_rads.categories_of(nodule(PART_SOLID, mm, 3.0)) == (category,)


@pytest.mark.parametrize(
    ("solid_mm", "category"), [(1.0, "3"), *around(6, "3", "4A"), *around(8, "4A", "4B"), (20, "4B")]
)
def test_a_larger_part_solid_nodule_has_its_category_by_its_solid_part(solid_mm: float, category: str) -> None:
    assert lung_rads.categories_of(nodule(PART_SOLID, 25.0, solid_mm)) == (category,)


@pytest.mark.parametrize(
    ("mm", "categories"), [*around(6, ("2",), ("3", "4A")), *around(8, ("3", "4A"), ("3", "4A", "4B"))]
)
def test_without_its_solid_part_every_category_that_the_whole_has_room_for_is_named(
    mm: float, categories: tuple[str, ...]
) -> None:
    assert lung_rads.categories_of(nodule(PART_SOLID, mm)) == categories


@pytest.mark.parametrize(
    ("solid_mm", "categories"),
    [
        (6.0, ("3", "4A")),
        (7.6, ("3", "4A", "4B")),
        (7.7, ("4A", "4B")),
        (9.6, ("4A", "4B")),
        (9.7, ("4B",)),
        (20.0, ("4B",)),
    ],
)
def test_a_solid_part_that_is_not_known_exactly_leaves_each_category_that_it_may_have(
    solid_mm: float, categories: tuple[str, ...]
) -> None:
    measured = replace(nodule(PART_SOLID, 25.0, solid_mm), solid_part_within_mm=1.7)
    assert lung_rads.categories_of(measured) == categories


@pytest.mark.parametrize(
    ("mm", "categories"), [*around(6, ("1", "2"), ("1", "3")), *around(15, ("1", "4A"), ("1", "4B"))]
)
def test_a_calcified_nodule_is_benign_or_a_solid_one(mm: float, categories: tuple[str, ...]) -> None:
    assert lung_rads.categories_of(nodule(CALCIFIED, mm)) == categories


def test_the_mean_of_both_axes_counts() -> None:
    assert lung_rads.categories_of(Nodule(1, SOLID, 6.0, 5.9)) == ("3",)
    assert lung_rads.categories_of(Nodule(1, SOLID, 6.0, 5.8)) == ("2",)


@pytest.mark.parametrize(
    ("nodules", "exam"),
    [
        ([], ("1",)),
        ([("2",), ("4A",), ("3",)], ("4A",)),
        ([("3", "4A", "4B"), ("2",)], ("3", "4A", "4B")),
        ([("3", "4A", "4B"), ("4A",)], ("4A", "4B")),
        ([("1", "3"), ("2",)], ("2", "3")),
        ([("1", "2"), ("1", "4A")], ("1", "2", "4A")),
        ([("3", "4A"), ("4B",)], ("4B",)),
    ],
)
def test_the_highest_category_of_the_nodules_counts_and_each_that_may_be_is_named(
    nodules: list[tuple[str, ...]], exam: tuple[str, ...]
) -> None:
    assert lung_rads.of_exam(nodules) == exam


def test_no_rule_gives_a_category_that_is_a_persons_to_give() -> None:
    rows = (lung_rads.SOLID, lung_rads.GROUND_GLASS, lung_rads.SOLID_PART)
    assert {category for each in rows for _, category in each} <= set(lung_rads.CATEGORIES)
    assert not {"0", "4X", "S"} & set(lung_rads.CATEGORIES)
    assert set(lung_rads.FOLLOW_UP) == set(lung_rads.CATEGORIES)


def advice(*nodules: Nodule, high_risk: bool | None = None) -> list[str]:
    return list(fleischner.recommendations(nodules, high_risk))


OPTIONAL = "at low risk no routine follow-up; at high risk CT at 12 months is optional"
LATER = "at low risk CT at 6 to 12 months, then consider it at 18 to 24 months; at high risk CT at 6 to 12 months"
SOONER = (
    "at low risk CT at 3 to 6 months, then consider it at 18 to 24 months; at high risk CT at 3 to 6 months, then at 18"
)
NOW = "consider CT at 3 months, PET/CT or tissue sampling"
CONFIRM = "CT at 6 to 12 months to confirm that it persists, then every 2 years until 5 years"
CONFIRM_SOON = "CT at 3 to 6 months to confirm that it persists; then, with a solid part under 6 mm, CT every year"
SEVERAL_SMALL = "CT at 3 to 6 months; if stable, consider it at 2 and 4 years"
SEVERAL_LARGE = "CT at 3 to 6 months, then by the most suspicious nodule"


@pytest.mark.parametrize(
    ("type_", "several", "mm", "wanted"),
    [
        *((SOLID, False, mm, OPTIONAL) for mm in (3.0, 5.0, 5.4, 5.49)),
        *((SOLID, False, mm, LATER) for mm in (5.5, 5.9, 6.0, 6.1, 7.9, 8.0, 8.1, 8.4, 8.49)),
        *((SOLID, False, mm, NOW) for mm in (8.5, 9.0, 30.0)),
        *((SOLID, True, mm, OPTIONAL) for mm in (3.0, 5.4)),
        *((SOLID, True, mm, SOONER) for mm in (5.5, 6.0, 8.4, 8.5, 20.0)),
        *((GLASS, False, mm, "no routine follow-up.") for mm in (3.0, 5.4)),
        *((GLASS, False, mm, CONFIRM) for mm in (5.5, 6.0, 6.1, 30.0)),
        *((PART_SOLID, False, mm, "no routine follow-up.") for mm in (3.0, 5.4)),
        *((PART_SOLID, False, mm, CONFIRM_SOON) for mm in (5.5, 6.0, 6.1, 30.0)),
        *((type_, True, mm, SEVERAL_SMALL) for mm in (3.0, 5.4) for type_ in (GLASS, PART_SOLID)),
        *((type_, True, mm, SEVERAL_LARGE) for mm in (5.5, 6.0, 6.1) for type_ in (GLASS, PART_SOLID)),
    ],
)
def test_fleischner_goes_by_type_number_and_whole_millimetres(
    type_: NoduleType, several: bool, mm: float, wanted: str
) -> None:
    others = [nodule(type_, 2.0, ordinal=2)] if several else []
    (said,) = advice(nodule(type_, mm), *others)
    assert said.partition("): ")[2].startswith(wanted)
    assert f"(N1, {type_}, {to_whole(mm)} mm, " in said
    assert ("one of several" in said) is several


def test_a_mean_between_two_tenths_is_rounded_once() -> None:
    """5.4 x 5.5 mm is 5.45 mm: 5.5 in the report, and 5 in whole millimetres."""
    (said,) = advice(Nodule(1, SOLID, 5.5, 5.4))
    assert "solid, 5 mm" in said


@pytest.mark.parametrize(("solid_mm", "small"), [(5.4, True), (5.49, True), (5.5, False), (6.0, False), (6.1, False)])
def test_a_part_solid_nodule_that_persists_goes_by_its_solid_part_where_it_is_measured(
    solid_mm: float, small: bool
) -> None:
    (said,) = advice(nodule(PART_SOLID, 12.0, solid_mm))
    assert (fleischner.SMALL_SOLID_PART in said, fleischner.LARGE_SOLID_PART in said) == (small, not small)
    (both,) = advice(nodule(PART_SOLID, 12.0))
    assert fleischner.SMALL_SOLID_PART in both
    assert both.endswith(f"{fleischner.LARGE_SOLID_PART} (not measured).")


@pytest.mark.parametrize(
    ("solid_mm", "small", "large"), [(3.7, True, False), (6.0, True, True), (7.1, True, True), (7.2, False, True)]
)
def test_a_solid_part_that_is_not_known_exactly_leaves_both_ways_open(
    solid_mm: float, small: bool, large: bool
) -> None:
    (said,) = advice(replace(nodule(PART_SOLID, 12.0, solid_mm), solid_part_within_mm=1.7))
    assert (fleischner.SMALL_SOLID_PART in said, fleischner.LARGE_SOLID_PART in said) == (small, large)
    assert said.endswith("(measured to within 1.7 mm).") is (small and large)


def test_a_risk_that_is_known_leaves_one_branch() -> None:
    assert advice(nodule(SOLID, 7.0), high_risk=False)[0].endswith(
        "): CT at 6 to 12 months, then consider it at 18 to 24 months."
    )
    assert advice(nodule(SOLID, 7.0), high_risk=True)[0].endswith("): CT at 6 to 12 months, then at 18 to 24 months.")


def test_solid_and_subsolid_nodules_are_each_told_by_their_largest() -> None:
    said = advice(nodule(SOLID, 5.0), nodule(SOLID, 7.0, ordinal=2), nodule(GLASS, 9.0, ordinal=3))
    assert [each.partition("mm, ")[0] for each in said] == [
        "Fleischner 2017 (N2, solid, 7 ",
        "Fleischner 2017 (N3, ground-glass, 9 ",
    ]
    assert all("one of several nodules" in each for each in said)


@pytest.mark.parametrize(("mm", "is_mass"), [(30.0, False), (30.4, False), (30.49, False), (30.5, True), (31.0, True)])
def test_a_mass_is_no_nodule(mm: float, is_mass: bool) -> None:
    (said,) = advice(nodule(SOLID, mm))
    assert ("N1 is a mass of more than 30 mm" in said) is is_mass


def test_a_calcified_nodule_is_left_out_and_makes_no_other_one_of_several() -> None:
    said = advice(nodule(SOLID, 7.0), nodule(CALCIFIED, 9.0, ordinal=2), nodule(CALCIFIED, 4.0, ordinal=3))
    assert "mm, single)" in said[0]
    assert said[1:] == ["Fleischner 2017: N2, N3 are calcified, in a pattern that was not assessed, and left out."]


@pytest.mark.parametrize(("years", "applies"), [(None, False), (34, False), (35, True), (36, True)])
def test_fleischner_is_for_patients_who_are_known_to_be_35_or_older(years: int | None, applies: bool) -> None:
    assert fleischner.is_for(years) is applies
