"""Lungs of two exams laid over each other, and places found again in the other by what is around them."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from node.domain.prior import Hindrance, Missing, PriorComparison, Seen, Trend, Unmeasured, Unsure
from tests.exams import DAYS, EARLIER, GROWS, LATER, SHIFT, STABLE, THEN, Exam, finding
from workers.lungs import segment_lungs
from workers.priors import nearby
from workers.priors.alignment import align
from workers.priors.compare import Earlier, Read, compare, is_good
from workers.priors.nearby import Spot, find_again
from workers.priors.reconstruction import Reconstruction

MADE = Reconstruction(3.0, 3.0, "B30F")
PRIOR = PriorComparison("1.2.3", THEN, DAYS, "source")


@cache
def looked_at(exam: Exam) -> nearby.Exam:
    volume = exam.volume
    return nearby.Exam(volume, segment_lungs(volume))


def read(which: Exam, **changes: object) -> Read:
    return replace(Read(looked_at(which), which.findings(), MADE, limited=False), **changes)  # type: ignore[arg-type]


def earlier(**changes: object) -> Earlier:
    return Earlier(read(EARLIER, **changes), ("uid-1", "uid-2", "uid-3"))


def test_a_place_is_found_again_within_two_millimetres() -> None:
    here, there = looked_at(LATER), looked_at(EARLIER)
    alignment = align(here.lungs, there.lungs)
    assert is_good(alignment)
    for point in np.array([STABLE, GROWS, (-90.0, 20.0, -50.0), (60.0, -40.0, 10.0)]):
        rough = np.linalg.norm(alignment.there(point[None])[0] - (point + SHIFT))
        found = find_again(Spot(point), here, there, alignment)
        assert rough < 8
        assert np.linalg.norm(found.lps_mm - (point + SHIFT)) < 2
        assert found.likeness > 0.6
        assert np.allclose(alignment.back(alignment.there(point[None])), point)


def test_each_nodule_is_told_what_became_of_it() -> None:
    found = compare(PRIOR, read(LATER), earlier(), 1.5)
    grown, stable, new = found.changes
    assert [each.ordinal for each in found.changes] == [1, 2, 3]
    assert (grown.seen, stable.seen, new.seen) == (Seen.MATCHED, Seen.MATCHED, Seen.NEW)
    assert grown.earlier is not None
    assert stable.earlier is not None
    assert (grown.earlier.tracking_uid, stable.earlier.tracking_uid) == ("uid-2", "uid-1")
    assert grown.growth is not None
    assert (grown.growth.trend, grown.growth.diameter_mm) == (Trend.INCREASED, 3.0)
    assert stable.growth is not None
    assert stable.growth.trend is Trend.STABLE
    (gone,) = found.gone
    assert (gone.earlier.tracking_uid, gone.why) == ("uid-3", Missing.NOT_FOUND)
    assert found.is_made


def test_what_is_not_new_for_sure_is_not_called_new() -> None:
    assert compare(PRIOR, read(LATER), earlier(limited=True), 1.5).changes[2].unsure is Unsure.LIMITED
    outside = read(LATER, findings=(finding(1, (75.0, -30.0, 400.0), 8.0),))
    (change,) = compare(PRIOR, outside, earlier(), 1.5).changes
    assert (change.seen, change.unsure) == (Seen.UNSURE, Unsure.OUTSIDE)


def test_sizes_are_not_compared_on_other_slices_or_of_another_type_and_small_ones_are_not_missed() -> None:
    thick = compare(PRIOR, read(LATER), earlier(reconstruction=Reconstruction(5.0, 5.0, "B30F")), 1.5)
    assert [each.unmeasured for each in thick.changes] == [Unmeasured.THICKNESS, Unmeasured.THICKNESS, None]
    assert [each.growth for each in thick.changes] == [None, None, None]
    assert [each.why for each in compare(PRIOR, read(LATER, smallest_mm=11.0), earlier(), 1.5).gone] == [
        Missing.TOO_SMALL
    ]


def test_lungs_that_do_not_fit_are_not_compared() -> None:
    one = looked_at(EARLIER)
    labels = one.lungs.labels.copy()
    labels[:, :, : labels.shape[2] // 2] = 0  # one lung is gone
    labels[: labels.shape[0] // 2] = 0
    there = nearby.Exam(one.volume, replace(one.lungs, labels=labels))
    found = compare(PRIOR, read(LATER), earlier(exam=there), 1.5)
    assert (found.hindrance, found.changes, found.is_made) == (Hindrance.NOT_ALIGNED, (), False)


@pytest.mark.parametrize(("gap_mm", "share", "matrix", "good"), [
    (4.9, 0.9, np.eye(4), True), (5.1, 0.9, np.eye(4), False), (2.0, 0.39, np.eye(4), False),
    (2.0, 0.9, np.diag([1.0, 1.0, 1.5, 1.0]), False), (2.0, 0.9, np.diag([0.65, 1.0, 1.0, 1.0]), False),
])  # fmt: skip
def test_an_alignment_is_good_within_limits(gap_mm: float, share: float, matrix: np.ndarray, good: bool) -> None:
    found = align(looked_at(LATER).lungs, looked_at(LATER).lungs)
    assert is_good(replace(found, gap_mm=gap_mm, share_seen=share, matrix=matrix)) is good
