"""The Brock risk calculator and volume doubling times, on worked examples and at each threshold."""

import math
from dataclasses import replace
from itertools import product

import pytest

from node.domain.finding import NoduleType
from workers.guidelines import growth
from workers.guidelines.brock import ADULT_AGES, WITH_SPICULATION, WITHOUT_SPICULATION, Inputs, risk
from workers.guidelines.growth import Pace

SOLID, PART_SOLID, GLASS = NoduleType.SOLID, NoduleType.PART_SOLID, NoduleType.GROUND_GLASS
ALWAYS = ("longest diameter", "type", "number of nodules")
UNKNOWN = ("age", "sex", "family history of lung cancer", "emphysema", "upper lobe", "spiculation")


@pytest.mark.parametrize(
    ("inputs", "with_spiculation", "without"),
    [
        (Inputs(4, SOLID, 4, 62, False, False, False, False, False), 0.00112, 0.00110),
        (Inputs(10, SOLID, 1, 65, True, False, True, True, True), 0.26917, 0.17452),
        (Inputs(20, PART_SOLID, 2, 70, False, True, True, True, False), 0.48468, 0.56563),
        (Inputs(8, GLASS, 3, 55, True, False, False, False, False), 0.01907, 0.01682),
    ],
)
def test_both_models_agree_with_worked_examples(inputs: Inputs, with_spiculation: float, without: float) -> None:
    for model, expected in ((WITH_SPICULATION, with_spiculation), (WITHOUT_SPICULATION, without)):
        found = risk(inputs, model)
        assert found.lower == found.upper == pytest.approx(expected, abs=5e-6)
        assert found.missing == ()


def test_the_centred_intercept_is_the_published_one_moved_to_the_reference_nodule() -> None:
    model = WITH_SPICULATION
    moved = model.intercept - model.size * 1.58113883 - 62 * model.age - 4 * model.count
    assert moved == pytest.approx(0.2761, abs=2e-4)


def test_nothing_known_of_the_patient_gives_bounds_and_every_input_by_name() -> None:
    found = risk(Inputs(10, SOLID, 1))
    assert (found.used, found.missing) == (ALWAYS, UNKNOWN)
    assert 0 < found.lower < found.upper < 1


def test_the_model_without_spiculation_does_not_ask_for_it() -> None:
    assert risk(Inputs(10, SOLID, 1), WITHOUT_SPICULATION).missing == UNKNOWN[:-1]


def test_bounds_lie_exactly_over_everything_that_the_unknown_inputs_may_be() -> None:
    known = Inputs(9.3, GLASS, 3)
    names = ("female", "family_history", "emphysema", "upper_lobe", "spiculated")
    every = [
        risk(replace(known, age_years=age, **dict(zip(names, choice, strict=True)))).lower
        for age in ADULT_AGES
        for choice in product((False, True), repeat=len(names))
    ]
    found = risk(known)
    assert (found.lower, found.upper) == (pytest.approx(min(every)), pytest.approx(max(every)))


@pytest.mark.parametrize("name", ["female", "family_history", "emphysema", "upper_lobe", "spiculated"])
def test_an_input_that_becomes_known_narrows_the_bounds_to_its_side(name: str) -> None:
    open_, no, yes = (risk(Inputs(10, SOLID, 1, 60, **{name: known})) for known in (None, False, True))
    assert no.lower == open_.lower < yes.lower
    assert no.upper < yes.upper == open_.upper
    assert len(yes.missing) == len(open_.missing) - 1
    assert set(yes.used) > set(open_.used)


def test_risk_rises_with_size_and_falls_with_the_number_of_nodules() -> None:
    by_size = [risk(Inputs(mm, SOLID, 1, 60)).upper for mm in (4, 6, 8, 15, 30)]
    by_count = [risk(Inputs(10, SOLID, count, 60)).upper for count in (8, 4, 2, 1)]
    assert (by_size, by_count) == (sorted(by_size), sorted(by_count))


def test_a_volume_doubles_in_its_doubling_time() -> None:
    assert growth.doubling_time_days(300, 523, 90) == pytest.approx(112, abs=0.5)
    assert growth.doubling_time_days(100, 200, 400) == pytest.approx(400)
    assert growth.doubling_time_by_diameter_days(8, 16, 90) == pytest.approx(30)
    assert growth.doubling_time_days(200, 100, 90) == pytest.approx(-90)
    assert growth.doubling_time_days(100, 100, 90) == math.inf


@pytest.mark.parametrize(
    ("days", "pace"),
    [
        (1, Pace.SUSPICIOUS), (399, Pace.SUSPICIOUS), (399.9, Pace.SUSPICIOUS),
        (400, Pace.INTERMEDIATE), (401, Pace.INTERMEDIATE), (599, Pace.INTERMEDIATE), (600, Pace.INTERMEDIATE),
        (600.1, Pace.LOW), (601, Pace.LOW), (math.inf, Pace.LOW), (-90, Pace.LOW),
    ],
)  # fmt: skip
def test_a_doubling_time_is_suspicious_under_400_days_and_harmless_over_600(days: float, pace: Pace) -> None:
    assert growth.pace_of(days) is pace


@pytest.mark.parametrize(
    ("later", "changed"), [(124, False), (125, True), (126, True), (76, False), (75, True), (74, True)]
)
def test_a_volume_has_changed_from_a_quarter_on(later: float, changed: bool) -> None:
    assert growth.volume_changed(100, later) is changed


@pytest.mark.parametrize(
    ("earlier", "later", "grew"),
    [(6.0, 7.4, False), (6.0, 7.5, False), (6.0, 7.6, True), (6.1, 7.6, False), (7.0, 5.0, False)],
)
def test_a_nodule_grows_by_more_than_a_millimetre_and_a_half(earlier: float, later: float, grew: bool) -> None:
    assert growth.grew_by_lung_rads(earlier, later) is grew
