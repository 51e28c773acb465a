"""Independent counts: the most that was told counts, what is exceeded is no count, and nothing told changes nothing."""

from collections.abc import Mapping

import pytest

from node.domain.announcement import (
    NOBODY_TOLD,
    Announcement,
    Count,
    StepState,
    Tally,
    Teller,
    count_of_study,
    counts_of,
)
from tests.studies import AT

COMPLETED, DISCONTINUED, BEGUN = StepState.COMPLETED, StepState.DISCONTINUED, StepState.IN_PROGRESS


def told(series: Mapping[str, int], state: StepState = COMPLETED, teller: Teller = Teller.MPPS) -> Announcement:
    return Announcement(teller, "1", "study", state, series, AT)


def test_the_most_that_was_told_of_a_series_counts() -> None:
    counts = counts_of([told({"a": 3, "b": 1}), told({"a": 5}, teller=Teller.IAN), told({"a": 4}, teller=Teller.FIND)])
    assert counts == {"a": Count(5, "IAN"), "b": Count(1, "MPPS")}


def test_a_step_that_goes_on_tells_nothing_and_a_discontinued_one_what_it_made() -> None:
    assert counts_of([told({"a": 3}, BEGUN)]) == {}
    assert counts_of([told({"a": 3}, DISCONTINUED)]) == {"a": Count(3, "MPPS (discontinued)")}


@pytest.mark.parametrize(
    ("count", "here", "tally"),
    [
        (NOBODY_TOLD, 7, Tally.UNKNOWN),
        (Count(5), 4, Tally.SHORT),
        (Count(5), 5, Tally.REACHED),
        (Count(5), 6, Tally.UNKNOWN),
        (Count(5, whole=False), 5, Tally.UNKNOWN),
        (Count(5, whole=False), 4, Tally.SHORT),
    ],
)
def test_a_count_is_short_reached_or_none(count: Count, here: int, tally: Tally) -> None:
    assert count.tally(here) is tally


@pytest.mark.parametrize(
    ("here", "tally"),
    [
        ({"a": 5, "b": 2}, Tally.REACHED),
        ({"a": 5}, Tally.SHORT),
        ({"a": 4, "b": 2}, Tally.SHORT),
        ({"a": 4, "b": 3}, Tally.SHORT),
        ({"a": 5, "b": 2, "c": 1}, Tally.UNKNOWN),
        ({"a": 5, "c": 2}, Tally.SHORT),
        ({"a": 6, "b": 2}, Tally.UNKNOWN),
        ({"a": 6, "b": 1}, Tally.SHORT),
    ],
)
def test_a_study_is_whole_only_where_each_series_is_and_all_were_told_of(here: dict[str, int], tally: Tally) -> None:
    counts = {"a": Count(5, "MPPS"), "b": Count(2, "IAN")}
    count = count_of_study(counts, here)
    assert (count.tally(sum(here.values())), count.told_by) == (tally, "IAN, MPPS")
    assert count_of_study({}, here) == NOBODY_TOLD
