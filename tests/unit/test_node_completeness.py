"""domain/completeness.py: evidence decides, at the second."""

from datetime import timedelta

import pytest

from node.domain.completeness import Activity, Evidence, Patience, evidence
from tests.studies import AT, after


def activity(*, gapless: bool = False, released: bool = False, lasted_s: float = 0.0) -> Activity:
    return Activity(AT, after(lasted_s), gapless, released)


@pytest.mark.parametrize(
    ("seen", "quiet_s", "expected"),
    [
        (activity(gapless=True, released=True), 2.999, None),
        (activity(gapless=True, released=True), 3.0, Evidence.GAPLESS),
        (activity(gapless=True, released=True), 100.0, Evidence.GAPLESS),
        (activity(gapless=True), 14.999, None),
        (activity(gapless=True), 15.0, Evidence.QUIET),
        (activity(released=True), 14.999, None),
        (activity(released=True), 15.0, Evidence.QUIET),
        (activity(), 14.999, None),
        (activity(), 15.0, Evidence.QUIET),
    ],
)
def test_a_gapless_stack_waits_three_seconds_and_all_else_fifteen(
    seen: Activity, quiet_s: float, expected: Evidence | None
) -> None:
    assert evidence(seen, Patience(), after(quiet_s)) == expected


@pytest.mark.parametrize(("now_s", "expected"), [(899.9, None), (900.0, Evidence.HARD_CAP)])
def test_a_sender_that_never_pauses_is_cut_after_fifteen_minutes(now_s: float, expected: Evidence | None) -> None:
    assert evidence(activity(lasted_s=now_s - 1), Patience(), after(now_s)) == expected


def test_quiet_counts_from_the_last_image() -> None:
    assert evidence(activity(lasted_s=100), Patience(), after(114.9)) is None
    assert evidence(activity(lasted_s=100), Patience(), after(115)) is Evidence.QUIET


def test_each_sender_has_its_own_patience() -> None:
    slow = Patience(timedelta(seconds=10), timedelta(seconds=60), timedelta(minutes=2))
    assert evidence(activity(gapless=True, released=True), slow, after(9.9)) is None
    assert evidence(activity(gapless=True, released=True), slow, after(10)) is Evidence.GAPLESS
    assert evidence(activity(), slow, after(59.9)) is None
    assert evidence(activity(), slow, after(60)) is Evidence.QUIET
    assert evidence(activity(lasted_s=119), slow, after(120)) is Evidence.HARD_CAP
