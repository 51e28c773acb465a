"""Matching, FROC and their company against numbers worked out by hand."""

import numpy as np
import pytest

from workers.evaluation.agreement import agreement
from workers.evaluation.calibration import Bin, brier, expected_calibration_error, reliability, temperature, tempered
from workers.evaluation.froc import LUNA16_RATES, cpm, cpm_interval, froc, resampled, sensitivity_at, threshold_at
from workers.evaluation.intervals import bootstrap_mean, wilson
from workers.evaluation.matching import Matched, Scored, Truth, best_hits, match
from workers.evaluation.overlap import dice
from workers.evaluation.roc import auc, auc_interval
from workers.evaluation.subgroups import share, size_band

NODULE = Truth((0.0, 0.0, 0.0), 10.0)


def test_a_finding_hits_within_the_radius_and_not_beyond() -> None:
    assert match([NODULE], [Scored((5.0, 0.0, 0.0), 0.7)]) == Matched((0.7,), ())
    assert match([NODULE], [Scored((5.1, 0.0, 0.0), 0.7)]) == Matched((None,), (0.7,))


def test_more_hits_of_one_nodule_count_once_with_the_best_score() -> None:
    found = [Scored((1.0, 0.0, 0.0), 0.4), Scored((0.0, 2.0, 0.0), 0.9)]
    assert match([NODULE], found) == Matched((0.9,), ())


def test_hits_of_irrelevant_findings_are_neither_right_nor_wrong() -> None:
    scar = Truth((40.0, 0.0, 0.0), 8.0, counts=False)
    assert match([NODULE, scar], [Scored((41.0, 0.0, 0.0), 0.9)]) == Matched((None,), ())


def test_where_both_are_hit_the_nodule_that_counts_wins() -> None:
    scar = Truth((1.0, 0.0, 0.0), 8.0, counts=False)
    assert match([scar, NODULE], [Scored((1.0, 0.0, 0.0), 0.6)]) == Matched((0.6,), ())


def test_a_finding_inside_two_nodules_finds_both_as_the_official_script_has_it() -> None:
    """That script walks over the nodules, and asks of each which marks lie within its radius."""
    other = Truth((6.0, 0.0, 0.0), 10.0)
    assert match([NODULE, other], [Scored((3.0, 0.0, 0.0), 0.6)]) == Matched((0.6, 0.6), ())


def test_the_best_hit_of_every_nodule_is_named() -> None:
    found = [Scored((1.0, 0.0, 0.0), 0.4), Scored((90.0, 0.0, 0.0), 0.8), Scored((0.0, 2.0, 0.0), 0.9)]
    assert best_hits([NODULE, Truth((50.0, 0.0, 0.0), 4.0)], found) == (2, None)
    assert best_hits([NODULE], []) == (None,)
    assert match([], found) == Matched((), (0.9, 0.8, 0.4))


def test_three_scans_of_places_become_the_table_made_by_hand() -> None:
    """Scan 1: two nodules, each hit, one twice, and a place in nothing. Scan 2: a scar is hit, the nodule is missed.
    Scan 3: no nodule, two places."""
    scar = Truth((40.0, 0.0, 0.0), 8.0, counts=False)
    first = match(
        [NODULE, Truth((0.0, 50.0, 0.0), 6.0)],
        [
            *(Scored((0.0, 0.0, 4.0), 0.9), Scored((0.0, 0.0, -5.0), 0.2), Scored((0.0, 52.0, 0.0), 0.5)),
            Scored((0.0, 20.0, 0.0), 0.8),
        ],
    )
    second = match([NODULE, scar], [Scored((43.9, 0.0, 0.0), 0.95), Scored((5.2, 0.0, 0.0), 0.4)])
    third = match([], [Scored((9.0, 9.0, 9.0), 0.3), Scored((1.0, 1.0, 1.0), 0.6)])
    assert [first, second, third] == [
        Matched((0.9, 0.5), (0.8,)),
        Matched((None,), (0.4,)),
        Matched((), (0.6, 0.3)),
    ]
    curve = froc([first, second, third])
    table = zip(curve.threshold, curve.sensitivity * 3, curve.false_positives_per_scan * 3, strict=True)
    by_hand = [(0.9, 1, 0), (0.8, 1, 1), (0.6, 1, 2), (0.5, 2, 2), (0.4, 2, 3), (0.3, 2, 4)]
    assert [tuple(row) for row in table] == [pytest.approx(row) for row in by_hand]


SCANS = [Matched((0.9, 0.5), (0.8,)), Matched((None,), (0.4, 0.3)), Matched((), (0.6,))]
"""Three nodules in three scans; by falling threshold: .9 hit, .8 fp, .6 fp, .5 hit, .4 fp, .3 fp."""


def test_the_froc_of_three_scans_is_the_one_drawn_by_hand() -> None:
    curve = froc(SCANS)
    assert curve.threshold.tolist() == [0.9, 0.8, 0.6, 0.5, 0.4, 0.3]
    assert np.allclose(curve.false_positives_per_scan * 3, [0, 1, 2, 2, 3, 4])
    assert np.allclose(curve.sensitivity * 3, [1, 1, 1, 2, 2, 2])


def test_sensitivity_is_linear_between_points_and_flat_beyond_the_last() -> None:
    curve = froc(SCANS)
    assert sensitivity_at(curve, 1 / 3) == pytest.approx(1 / 3)
    assert sensitivity_at(curve, 2 / 3) == pytest.approx(2 / 3)
    assert sensitivity_at(curve, 0.5) == pytest.approx(0.5)
    assert sensitivity_at(curve, 8) == pytest.approx(2 / 3)


def test_the_first_point_is_joined_to_the_origin() -> None:
    curve = froc([Matched((0.5,), (0.9,))])
    assert sensitivity_at(curve, 0.0) == 0
    assert sensitivity_at(curve, 1.0) == 1


def test_the_cpm_is_the_mean_at_seven_rates() -> None:
    curve = froc(SCANS)
    by_hand = [1 / 3, 1 / 3, 0.5, 2 / 3, 2 / 3, 2 / 3, 2 / 3]
    assert [sensitivity_at(curve, rate) for rate in LUNA16_RATES] == pytest.approx(by_hand)
    assert cpm(curve) == pytest.approx(np.mean(by_hand))


def test_the_interval_of_the_cpm_holds_it_and_repeats_with_its_seed() -> None:
    scans = SCANS * 6
    low, high = cpm_interval(scans, seed=3, rounds=200)
    assert low <= cpm(froc(scans)) <= high
    assert cpm_interval(scans, seed=3, rounds=200) == (low, high)


def test_the_threshold_at_a_rate_is_the_loosest_that_keeps_it() -> None:
    curve = froc(SCANS)
    assert threshold_at(curve, 2 / 3) == 0.5
    assert threshold_at(curve, 0.5) == 0.8
    assert threshold_at(froc([Matched((None,), (0.9,))]), 0.5) == np.inf


def test_resamples_draw_whole_scans() -> None:
    """Of two scans, one with its nodule found and one with it missed, a resample finds none, half or all."""
    drawn = resampled([Matched((0.9,), ()), Matched((None,), ())], seed=1, rounds=50)
    assert set(drawn.ravel().tolist()) == {0.0, 0.5, 1.0}


def test_wilson_intervals_are_those_of_the_textbook() -> None:
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_bootstrap_of_a_constant_is_the_constant() -> None:
    assert bootstrap_mean([0.5] * 8, seed=1) == (0.5, 0.5)


def test_dice_of_half_overlapping_masks_is_a_half() -> None:
    a, b = np.array([True, True, False]), np.array([False, True, True])
    assert dice(a, b) == 0.5
    assert dice(a & False, b & False) == 1


def test_auc_counts_ties_half() -> None:
    assert auc([0.9, 0.5, 0.5, 0.1], [True, True, False, False]) == pytest.approx(3.5 / 4)
    assert np.isnan(auc([0.3], [True]))


def test_the_interval_of_the_auc_is_a_point_where_nothing_varies_and_absent_where_nothing_can_be_told() -> None:
    assert auc_interval([([0.9, 0.1], [True, False])] * 4, seed=1, rounds=20) == (1.0, 1.0)
    assert auc_interval([([0.9], [True])], seed=1, rounds=20) is None


def test_calibration_of_four_scores_is_the_one_worked_out_by_hand() -> None:
    """Two bins: scores .1 and .3 of which none is positive, .6 and .8 of which one is."""
    scores, truth = [0.8, 0.1, 0.6, 0.3], [True, False, False, False]
    low, high = reliability(scores, truth, bins=2)
    assert low == Bin(pytest.approx(0.2), 0.0, wilson(0, 2), 2)
    assert high == Bin(pytest.approx(0.7), 0.5, wilson(1, 2), 2)
    assert expected_calibration_error(scores, truth, bins=2) == pytest.approx(0.2)
    assert brier(scores, truth) == pytest.approx((0.04 + 0.01 + 0.36 + 0.09) / 4)
    assert reliability([], []) == () and np.isnan(expected_calibration_error([], [])) and np.isnan(brier([], []))


def test_the_temperature_of_scores_twice_as_sure_as_they_should_be_is_two() -> None:
    """Of ten scores at log odds +-2 log 4, eight are right: log odds of log 4 would be."""
    scores = [16 / 17] * 10 + [1 / 17] * 10
    truth = [True] * 8 + [False] * 2 + [True] * 2 + [False] * 8
    assert temperature(scores, truth) == pytest.approx(2)
    assert tempered(scores, 2.0)[0] == pytest.approx(0.8)
    assert expected_calibration_error(tempered(scores, 2.0), truth, bins=2) == pytest.approx(0)
    assert temperature([], []) == 1


def test_limits_of_agreement_are_bias_and_two_standard_deviations() -> None:
    told = agreement([-10.0, 0.0, 10.0, 20.0])
    assert (told.bias, told.n) == (5.0, 4)
    assert (told.low, told.high) == pytest.approx((5 - 1.96 * 12.910, 5 + 1.96 * 12.910), abs=1e-2)
    assert np.isnan(agreement([]).bias) and np.isnan(agreement([3.0]).low)


def test_shares_of_fewer_than_ten_are_not_told() -> None:
    assert share([True] * 9).value is None
    assert share([True] * 8 + [False] * 2).value == 0.8


def test_size_bands_meet_where_the_protocol_says() -> None:
    sizes = (5.9, 6.0, 7.9, 8.0, 15.0, 30.0, 30.1)
    told = ["<6 mm", "6-8 mm", "6-8 mm", "8-15 mm", "15-30 mm", "15-30 mm", ">30 mm"]
    assert [size_band(size) for size in sizes] == told
