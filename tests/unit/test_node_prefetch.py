"""Which exam of an archive is asked for, and what a look for one may become."""

from datetime import UTC, datetime

import pytest

from node.domain.prefetch import (
    IN_TIME,
    MOVES,
    NOT_ASKED,
    NOT_FETCHED,
    OPEN,
    ArchivedStudy,
    Fetch,
    Wanted,
    move,
    notice,
)
from node.domain.prior import Person
from node.errors import IllegalMove
from node.flow.prefetch import earlier_exams

SOMEBODY = Person("4711", "SITE", "19600102", "M")
WANTED = Wanted(1, 1, "1.2", Fetch.DUE, SOMEBODY, "20250102", datetime(2025, 1, 3, tzinfo=UTC), "")


def archived(
    uid: str = "1.9",
    date: str = "20240102",
    person: Person = SOMEBODY,
    description: str = "",
    modalities: tuple[str, ...] = ("CT",),
) -> ArchivedStudy:
    return ArchivedStudy(uid, date, person, description, modalities)


@pytest.mark.parametrize(
    ("answer", "is_taken"),
    [
        (archived(), True),
        (archived(person=Person("4711", "", "", "")), True),
        (archived(modalities=()), True),
        (archived(modalities=("SR", "CT")), True),
        (archived(description="CT Thorax, neck"), True),
        (archived(person=Person("471", "SITE", "", "")), False),
        (archived(person=Person("4711", "OTHER", "", "")), False),
        (archived(person=Person("4711", "SITE", "19600103", "")), False),
        (archived(person=Person("4711", "SITE", "", "F")), False),
        (archived(date="20250102"), False),
        (archived(date="20250103"), False),
        (archived(date="20231231"), False),
        (archived(date=""), False),
        (archived(uid=""), False),
        (archived(modalities=("MR",)), False),
        (archived(description="CT head"), False),
    ],
)
def test_an_archived_exam_is_taken_or_not(answer: ArchivedStudy, is_taken: bool) -> None:
    assert bool(earlier_exams(WANTED, [answer], most_days=366)) is is_taken


def test_those_that_say_chest_go_first_then_the_newest() -> None:
    answers = [
        archived("1.1", "20240105"),
        archived("1.2", "20240103", description="CT chest"),
        archived("1.3", "20240104", description="Thorax"),
        archived("1.4", "20240104"),
    ]
    assert [each.study_instance_uid for each in earlier_exams(WANTED, answers, 366)] == ["1.3", "1.2", "1.1", "1.4"]


@pytest.mark.parametrize("now", Fetch)
@pytest.mark.parametrize("then", Fetch)
def test_a_look_moves_as_the_table_says(now: Fetch, then: Fetch) -> None:
    if then in MOVES[now]:
        assert move(now, then) is then
    else:
        with pytest.raises(IllegalMove):
            move(now, then)


def test_reports_say_where_the_archive_had_no_say() -> None:
    assert notice(None) == NOT_ASKED
    assert {notice(each) for each in OPEN} == {IN_TIME}
    assert notice(Fetch.FAILED) == NOT_FETCHED
    assert (notice(Fetch.FETCHED), notice(Fetch.NOTHING)) == ("", "")
