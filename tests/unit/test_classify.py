"""Two opinions make one score, and what is not looked at is told."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.builders import Sphere, as_volume, spheres_hu
from workers.classify import (
    Judged,
    Selection,
    classify,
    combined_score,
    judge,
    network_input,
    select,
)
from workers.detect import Candidate
from workers.networks.operating import OperatingPoint
from workers.volume import Mask, Volume

SPACING = (1.25, 0.7, 0.7)
SHAPE = (40, 70, 70)


def ball(hu: float) -> tuple[Volume, Mask]:
    """A ball of 12 mm and its mask."""
    center = (25.0, 25.0, 25.0)
    volume = as_volume(spheres_hu(SHAPE, SPACING, [Sphere(center, 12.0, hu)], noise_hu=15.0), SPACING)
    axes = [np.arange(n) * s - c for n, s, c in zip(SHAPE, SPACING, center, strict=True)]
    return volume, Mask(axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2 <= 36, (0, 0, 0))


def judged() -> Judged:
    return Judged((25.0, 25.0, 25.0), 12.0, 0.5)


def test_two_equal_opinions_are_that_opinion_and_opposite_ones_are_even() -> None:
    assert combined_score(0.8, float(np.log(0.8 / 0.2))) == pytest.approx(0.8)
    assert combined_score(0.8, float(np.log(0.2 / 0.8))) == pytest.approx(0.5)


def test_the_network_sees_grey_values_what_was_scanned_and_the_size() -> None:
    patch, size = network_input(torch.full((2, 4, 4, 4), -1024.0), torch.ones(2, 4, 4, 4), [8.0, 16.0])
    assert patch.shape == (2, 2, 4, 4, 4)
    assert patch[:, 0].unique().tolist() == [-1.0]
    assert size.tolist() == pytest.approx([0.0, np.log(2)])


def test_every_candidate_is_judged_and_only_the_best_above_the_score_are_returned() -> None:
    volume, _ = ball(40.0)
    candidates = [
        Candidate((25.0, 25.0, 25.0), 12.0, 0.9),
        *(Candidate((10.0, 10.0, 9.0 + k), 6.0, 0.1) for k in range(5)),
    ]
    scores = [one.score for one in judge(volume, candidates)]
    assert len(scores) == 6
    found = classify(volume, candidates, OperatingPoint(finding_score=0.0, most_findings=3))
    assert [one.score for one in found.nodules] == sorted(scores, reverse=True)[:3]
    assert classify(volume, candidates, OperatingPoint(finding_score=1.0)) == Selection(())
    assert classify(volume, [], OperatingPoint()) == Selection(())


def opinions(*scores: float) -> list[Judged]:
    return [replace(judged(), score=score) for score in scores]


def test_more_nodules_than_are_reported_are_told() -> None:
    point = OperatingPoint(finding_score=0.3, most_findings=2)
    whole = select(opinions(0.9, 0.1, 0.4), unseen=0, point=point)
    assert ([one.score for one in whole.nodules], whole.limitations, whole.more) == ([0.9, 0.4], (), False)
    cut = select(opinions(0.4, 0.9, 0.3), unseen=0, point=point)
    assert [one.score for one in cut.nodules] == [0.9, 0.4]
    assert cut.limitations == ("More than 2 nodules were found; only the 2 most certain were assessed.",)
    assert cut.more


def test_places_that_nobody_looked_at_are_told_while_the_last_ones_seen_still_hold_nodules() -> None:
    point = OperatingPoint(finding_score=0.3, most_candidates=8)
    dry = opinions(0.9, 0.8, 0.4, 0.1, 0.1, 0.5, 0.1, 0.1)
    assert select(dry, unseen=5, point=point).limitations == ()
    running = opinions(0.9, 0.8, 0.4, 0.1, 0.1, 0.1, 0.1, 0.3)
    assert select(running, unseen=0, point=point).limitations == ()
    told = select(running, unseen=5, point=point)
    assert told.limitations == ("Very many places look like nodules; only the 8 most suspicious were assessed.",)
    assert told.more
