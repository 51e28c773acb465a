"""domain/completeness.py: evidence decides, at the second."""

from dataclasses import replace
from datetime import timedelta

import pytest

from node.domain.completeness import Activity, Evidence, Grounds, Patience, evidence, waits_for
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


@pytest.mark.parametrize(
    ("usual_pause_s", "not_yet_s", "enough_s", "expected"),
    [(1.0, 2.9, 3.0, Evidence.GAPLESS), (4.0, 7.9, 8.0, Evidence.GAPLESS), (10.0, 14.9, 15.0, Evidence.QUIET)],
)
def test_quiet_says_nothing_before_it_is_longer_than_the_pauses_of_the_sender(
    usual_pause_s: float, not_yet_s: float, enough_s: float, expected: Evidence
) -> None:
    seen = Activity(AT, AT, gapless=True, released=True, usual_pause=timedelta(seconds=usual_pause_s))
    assert evidence(seen, Patience(), after(not_yet_s)) is None
    assert evidence(seen, Patience(), after(enough_s)) is expected


GROUNDS = Grounds(64, "", "released", 3.21, 9.0, 3.0, 15.0, 900.0)


@pytest.mark.parametrize(
    ("grounds", "why", "sentence"),
    [
        (
            GROUNDS,
            Evidence.GAPLESS,
            "Complete: 64 images, association released, a gapless stack, then 3.2 s of quiet (3 s are enough).",
        ),
        (
            replace(GROUNDS, association="aborted", quiet_s=15.0),
            Evidence.QUIET,
            "Complete: 64 images, association aborted, then 15.0 s of quiet (15 s are enough).",
        ),
        (
            replace(GROUNDS, gap="images are missing or unevenly spaced", quiet_s=15.04),
            Evidence.QUIET,
            "Complete: 64 images, association released, then 15.0 s of quiet (15 s are enough; not sooner, because "
            "images are missing or unevenly spaced).",
        ),
        (
            replace(GROUNDS, association="open", lasted_s=900.4),
            Evidence.HARD_CAP,
            "Complete: 64 images, association open; it came for 900 s without a pause (900 s at most).",
        ),
    ],
)
def test_the_grounds_of_each_evidence_are_told_in_a_sentence(grounds: Grounds, why: Evidence, sentence: str) -> None:
    assert grounds.because(why) == sentence


def test_something_open_tells_what_it_waits_for() -> None:
    assert waits_for(3, "", Patience(), AT, after(2)) == (
        "Open: 3 images, so far a gapless stack. It waits for 3 s of quiet after a released association, else 15 s of "
        "quiet, at the latest until 05:21:07 UTC."
    )
    assert waits_for(1, "a single image is no stack", Patience(), AT, AT) == (
        "Open: 1 images, a single image is no stack. It waits for 15 s of quiet, at the latest until 05:21:07 UTC."
    )
