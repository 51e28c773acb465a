"""domain/alert.py: what begins and ends, what lasts until it is seen, disks that hover and clocks that jump."""

from datetime import timedelta

import pytest

from node.domain.alert import EVENTS, FAILING_AFTER, Alert, AlertKind, Condition, begun, disk_conditions, ended
from node.domain.alert import loop_conditions as loops
from node.domain.clock import Clocks
from tests.studies import AT, after

DEAD, OTHER = Condition(AlertKind.DEAD_JOB, "7"), Condition(AlertKind.DEAD_JOB, "8")
GIB = 2**30


def alert(condition: Condition) -> Alert:
    return Alert(1, condition, AT, 0)


def test_what_is_new_begins_and_what_is_gone_ends() -> None:
    assert begun([alert(DEAD)], [DEAD, OTHER]) == [OTHER]
    assert ended([alert(DEAD), alert(OTHER)], [OTHER]) == [alert(DEAD)]


def test_the_same_with_other_details_is_the_same() -> None:
    worse = Condition(AlertKind.DEAD_JOB, "7", {"failure": "out of memory"})
    assert begun([alert(DEAD)], [worse]) == []
    assert ended([alert(DEAD)], [worse]) == []


@pytest.mark.parametrize("kind", sorted(EVENTS))
def test_an_event_does_not_end_by_itself(kind: AlertKind) -> None:
    assert ended([alert(Condition(kind))], []) == []


def kinds(free_gib: float, *standing: AlertKind) -> list[AlertKind]:
    there = [alert(Condition(kind)) for kind in standing]
    return [each.kind for each in disk_conditions(free_gib * GIB, 10 * GIB, there)]


def test_a_disk_is_filling_before_it_is_low() -> None:
    assert kinds(15.1) == []
    assert kinds(14.9) == [AlertKind.DISK_FILLING]
    assert kinds(9.9) == [AlertKind.DISK_LOW]


def test_a_disk_that_hovers_around_its_mark_is_one_alert() -> None:
    assert kinds(10.3, AlertKind.DISK_LOW) == [AlertKind.DISK_LOW]
    assert kinds(10.6, AlertKind.DISK_LOW) == [AlertKind.DISK_FILLING]
    assert kinds(15.5, AlertKind.DISK_FILLING) == [AlertKind.DISK_FILLING]
    assert kinds(15.8, AlertKind.DISK_FILLING) == []


def test_without_a_water_mark_no_disk_is_low() -> None:
    assert disk_conditions(0.0, 0.0, []) == []


def test_a_loop_that_fails_for_long_is_named() -> None:
    assert loops([("anchor", FAILING_AFTER, False), ("register", FAILING_AFTER - 1, False)]) == [
        Condition(AlertKind.LOOP_FAILING, "anchor")
    ]


def test_a_loop_that_hangs_is_named_though_it_never_failed() -> None:
    (found,) = loops([("retain", 0, True), ("register", 0, False)])
    assert (found.subject, found.detail) == ("retain", {"hangs": True})


@pytest.mark.parametrize(("wall_s", "jump_s"), [(5, 0), (3605, 3600), (-3595, -3600), (35.5, 30.5)])
def test_a_clock_that_was_set_is_seen_against_one_that_cannot_be(wall_s: float, jump_s: float) -> None:
    assert Clocks(AT, 100.0).jump_to(Clocks(after(wall_s), 105.0)) == timedelta(seconds=jump_s)
