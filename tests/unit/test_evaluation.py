"""Matching, FROC and their company against numbers worked out by hand."""

import numpy as np
import pytest

from workers.evaluation.froc import LUNA16_RATES, cpm, cpm_interval, froc, sensitivity_at
from workers.evaluation.intervals import bootstrap_mean, wilson
from workers.evaluation.matching import Matched, Scored, Truth, match
from workers.evaluation.overlap import dice
from workers.evaluation.roc import auc

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
