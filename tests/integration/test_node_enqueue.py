"""flow/enqueue.py on both databases: as many messages as workers are idle, and again when one was lost."""

from datetime import datetime

import pytest

from node.catalog import control, jobs, peers
from node.catalog.session import Catalog
from node.domain.job import Failure
from node.domain.peers import Sender, Standing
from node.errors import Unavailable
from node.flow import enqueue
from tests.flow import Flow, queued
from tests.studies import AT, Series, after


def publish_all(catalog: Catalog, at: datetime = AT) -> list[int]:
    sent: list[int] = []
    while enqueue.step(catalog, sent.append, at):
        pass
    return sent


def worker(catalog: Catalog, name: str, slots: int, at: datetime = AT) -> None:
    with catalog.writing() as session:
        jobs.worker_seen(session, name, slots, at)


@pytest.mark.parametrize(
    ("slots", "in_flight", "room"), [(0, 0, 1), (0, 1, 0), (1, 0, 1), (4, 1, 3), (4, 4, 0), (1, 5, 0)]
)
def test_there_is_room_for_as_many_messages_as_workers_are_idle(slots: int, in_flight: int, room: int) -> None:
    assert enqueue.room(slots, in_flight) == room


def test_only_as_many_messages_are_sent_as_workers_are_idle(catalog: Catalog) -> None:
    queued(catalog, studies=5)
    worker(catalog, "one", 2)
    worker(catalog, "two", 1)
    assert publish_all(catalog) == [1, 2, 3]


def test_without_a_worker_one_message_waits_for_the_first(catalog: Catalog) -> None:
    queued(catalog, studies=3)
    assert publish_all(catalog) == [1]


def test_without_a_worker_no_second_message_joins_the_first_and_with_one_it_is_as_if_it_were_lost(
    catalog: Catalog,
) -> None:
    """A broker that nobody empties does not grow."""
    queued(catalog, studies=2)
    assert publish_all(catalog) == [1]
    assert [publish_all(catalog, after(seconds)) for seconds in (31, 3600, 86400)] == [[], [], []]
    worker(catalog, "one", 1, after(86400))
    assert publish_all(catalog, after(86400)) == [1]


def test_a_worker_that_was_not_seen_for_twenty_seconds_or_said_goodbye_does_not_count(catalog: Catalog) -> None:
    queued(catalog, studies=5)
    worker(catalog, "silent", 8, after(-20.001))
    worker(catalog, "gone", 8)
    with catalog.writing() as session:
        jobs.worker_gone(session, "gone")
    worker(catalog, "seen", 2, after(-20))
    assert publish_all(catalog) == [1, 2]


def test_a_running_job_takes_its_workers_place(catalog: Catalog) -> None:
    flow = queued(catalog, studies=3)
    worker(catalog, "one", 1)
    assert publish_all(catalog) == [1]
    flow.claimed()
    assert publish_all(catalog) == []
    flow.finish(2)
    with catalog.writing() as session:
        jobs.finish(session, 1, "t", AT)
    assert publish_all(catalog) == [3]


def test_a_lost_message_is_sent_again_after_thirty_seconds(catalog: Catalog) -> None:
    queued(catalog)
    worker(catalog, "one", 1, after(30))
    assert publish_all(catalog) == [1]
    assert publish_all(catalog, after(30)) == []
    assert publish_all(catalog, after(30.001)) == [1]


def test_a_message_that_the_broker_does_not_take_is_sent_the_next_time(catalog: Catalog) -> None:
    queued(catalog)

    def refuse(_: int) -> None:
        raise Unavailable("The broker does not answer.")

    assert enqueue.step(catalog, refuse, AT)
    assert publish_all(catalog, after(0.25)) == [1]


def test_the_message_goes_out_after_the_transaction(catalog: Catalog) -> None:
    flow = queued(catalog)

    def look(job_id: int) -> None:
        assert flow.jobs()[job_id - 1]["published_at"] == AT
        flow.claimed(job_id)

    enqueue.step(catalog, look, AT)
    assert flow.jobs()[0]["state"] == "running"


def test_a_job_that_waits_after_a_failure_is_published_when_its_time_has_come(catalog: Catalog) -> None:
    flow = queued(catalog)
    publish_all(catalog)
    flow.fail(flow.claimed(), Failure.UNKNOWN, AT)
    assert publish_all(catalog, after(4.999)) == []
    assert publish_all(catalog, after(5)) == [1]


def priority(catalog: Catalog, job_id: int, value: int) -> None:
    with catalog.writing() as session:
        jobs.prioritise(session, jobs.get(session, job_id), value)


def test_the_more_urgent_job_goes_first_and_of_equals_the_older(catalog: Catalog) -> None:
    queued(catalog, studies=4)
    priority(catalog, 3, 5)
    worker(catalog, "one", 2)
    assert publish_all(catalog) == [3, 1]


def test_a_job_of_low_priority_is_not_left_behind_for_ever(catalog: Catalog) -> None:
    flow = queued(catalog)
    priority(catalog, 1, -2)
    for number, minute in enumerate((5, 15, 25), start=1):
        flow.receive(Series(str(number)).headers(), after(60 * minute - 3))
        flow.complete(after(60 * minute))
    worker(catalog, "one", 3, after(2000))
    assert publish_all(catalog, after(2000)) == [2, 3, 1]


def test_the_sender_decides_how_urgent_its_studies_are(catalog: Catalog) -> None:
    flow = Flow(catalog)
    with catalog.writing() as session:
        for ae_title, value in (("ROUTINE", 0), ("EMERGENCY", 3)):
            peers.decide(session, Sender(ae_title, "127.0.0.0/8", Standing.ALLOWED, priority=value))
    for number, calling in enumerate(("ROUTINE", "EMERGENCY", "UNKNOWN")):
        flow.receive(Series(str(number)).headers(), after(-3), calling=calling)
    flow.complete(AT)
    assert [job["priority"] for job in flow.jobs()] == [0, 3, 0]
    worker(catalog, "one", 3)
    assert publish_all(catalog) == [2, 1, 3]


def test_while_drained_nothing_begins_and_afterwards_everything_at_once(catalog: Catalog) -> None:
    flow = queued(catalog, studies=2)
    assert publish_all(catalog) == [1]
    with catalog.writing() as session:
        control.begin_drain(session, AT)
        control.begin_drain(session, AT)
    assert flow.claim(1) is None
    assert publish_all(catalog, after(60)) == []
    with catalog.writing() as session:
        assert control.end_drain(session, "operator", after(61))
        assert not control.end_drain(session, "operator", after(61))
        jobs.unpublish(session)
    worker(catalog, "one", 2, after(61))
    assert publish_all(catalog, after(61)) == [1, 2]
    assert [entry.kind for entry in flow.audit() if "drain" in entry.kind] == ["drain begun", "drain ended"]
