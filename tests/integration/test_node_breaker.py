"""flow/deliver.py and catalog/breakers.py on both databases: who fails is left alone, then tried, then catches up."""

from datetime import timedelta

import pytest

from node.catalog import breakers, outbox
from node.catalog.session import Catalog
from node.domain.breaker import OPENS_AFTER, BreakerState
from node.domain.delivery import OutboxState
from node.errors import IllegalMove, PeerFailed
from tests.deliveries import SEG, SR, Delivering, Pacs, names, two_destinations, with_results
from tests.studies import AT

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def opened(catalog: Catalog, studies: int = 1) -> Delivering:
    """A destination that could not be reached until it was left alone."""
    delivering = with_results(catalog, studies)
    delivering.pacs.away = True
    delivering.until_it_opens()
    return delivering


def test_it_opens_after_three_failures_in_a_row_and_then_nothing_is_tried_or_counted(catalog: Catalog) -> None:
    delivering = opened(catalog, studies=5)
    before = delivering.rows()
    assert delivering.pacs.calls == OPENS_AFTER
    assert sum(int(str(row["failures"])) for row in before) == OPENS_AFTER
    until = delivering.breaker.until
    assert until is not None
    delivering.clock.at = until - timedelta(seconds=0.1)
    assert not delivering.step()
    assert (delivering.pacs.calls, delivering.rows()) == (OPENS_AFTER, before)
    (entry,) = delivering.flow.audit("breaker opened")
    assert (entry.outcome, entry.actor, entry.address) == (8, "PACS", "pacs.local:104")


def test_when_it_is_back_one_result_tries_it_and_everything_else_goes_at_once(catalog: Catalog) -> None:
    delivering = opened(catalog, studies=5)
    for _ in range(6):  # by now each result that was tried has a long wait of its own
        delivering.clock.at = delivering.breaker.until or delivering.clock.at
        assert not delivering.step()
        assert delivering.breaker.state is OPEN
    delivering.pacs.away = False
    delivering.clock.at = delivering.breaker.until or delivering.clock.at
    assert delivering.step()
    assert delivering.states() == ["delivered"] * 10
    assert delivering.pacs.associations == 1
    assert delivering.breaker.state is CLOSED
    assert [entry.actor for entry in delivering.flow.audit("breaker closed")] == ["PACS"]
    assert len(delivering.flow.audit("breaker opened")) == 1


def test_after_three_days_everything_arrives_once_in_order_and_soon(catalog: Catalog) -> None:
    delivering = opened(catalog, studies=3)
    while delivering.clock.at < AT + timedelta(days=3):
        delivering.clock.goes_on(3600)
        delivering.step()
    assert delivering.breaker.failures > 70
    delivering.pacs.away = False
    back = delivering.clock.at
    delivering.clock.at = delivering.breaker.until or delivering.clock.at
    delivering.step()
    assert delivering.clock.at - back <= timedelta(minutes=12.5)
    of_study = [[name for name in delivering.pacs.got if name.startswith(f"{job}-")] for job in (1, 2, 3)]
    assert of_study == [names((job, SEG, 0), (job, SR, 0)) for job in (1, 2, 3)]
    assert delivering.states() == ["delivered"] * 6


def test_a_destination_without_room_opens_it_and_a_trial_that_finds_none_waits_longer(catalog: Catalog) -> None:
    delivering = with_results(catalog, studies=4)
    delivering.pacs.answers = [0xA700] * 4
    assert delivering.step()
    assert delivering.pacs.got == names((1, SEG, 0), (2, SEG, 0), (3, SEG, 0))
    first = delivering.breaker
    assert (first.state, first.reason) == (OPEN, "The destination answered with status 0xA700.")
    assert first.until is not None
    delivering.clock.at = first.until
    delivering.step()
    again = delivering.breaker
    assert again.until is not None
    assert again.until - delivering.clock.at > timedelta(seconds=45)
    delivering.clock.at = again.until
    delivering.step()
    assert delivering.states() == ["delivered"] * 8


@pytest.mark.parametrize("answer", [0x0110, 0x0124, 0xC000], ids=["processing failure", "not authorised", "refused"])
def test_an_answer_about_one_result_says_that_the_destination_is_there(catalog: Catalog, answer: int) -> None:
    delivering = with_results(catalog, studies=4)
    delivering.pacs.answers = [0xA700, 0xA700, answer, 0xA700]
    delivering.step()
    assert delivering.breaker.state is CLOSED
    assert delivering.breaker.failures < 2


def test_one_result_that_the_destination_cannot_digest_does_not_keep_it_closed_to_others(catalog: Catalog) -> None:
    delivering = with_results(catalog, studies=3)
    poison = PeerFailed("The destination did not answer a C-STORE.")

    def send(path: object, _: str) -> int:
        name = str(path).rpartition("/")[2]
        delivering.pacs.got.append(name)
        if name.startswith("1-SEG"):
            raise poison
        return 0

    delivering.pacs.send = send  # type: ignore[method-assign]
    for _ in range(20):
        delivering.step()
        delivering.clock.goes_on(60)
    assert delivering.states() == ["due", "due"] + ["delivered"] * 4


def test_an_association_is_enough_of_a_trial_where_nothing_waits(catalog: Catalog) -> None:
    delivering = opened(catalog)
    with catalog.writing() as session:
        for row in delivering.rows():
            outbox.refused(session, int(str(row["id"])), None, "")
    delivering.clock.goes_on(60)
    delivering.pacs.away = False
    assert delivering.step()
    assert delivering.breaker.state is CLOSED
    assert not delivering.step()
    assert delivering.pacs.associations == 1


def test_a_file_that_cannot_be_read_here_says_nothing_against_the_destination(catalog: Catalog) -> None:
    delivering = opened(catalog)
    file = delivering.file(f"results/{names((1, SEG, 0))[0]}")
    file.rename(file.with_suffix(".away"))
    delivering.pacs.away = False
    delivering.clock.goes_on(60)
    delivering.step()
    assert delivering.breaker.state is CLOSED
    assert not delivering.step()


def test_a_node_that_was_killed_during_a_trial_tries_again_at_once(catalog: Catalog) -> None:
    delivering = opened(catalog)
    delivering.clock.goes_on(60)
    with catalog.writing() as session:
        assert breakers.tried(session, delivering.to, delivering.clock.at).state is HALF_OPEN
    delivering.pacs.away = False
    restarted = Delivering(delivering.flow, delivering.to, delivering.pacs, delivering.clock)
    assert restarted.step()
    assert restarted.states() == ["delivered"] * 2


def test_another_destination_gets_everything_meanwhile(catalog: Catalog) -> None:
    down, up = two_destinations(catalog, Pacs(away=True))
    down.until_it_opens()
    assert up.step()
    assert (up.breaker.state, up.states()) == (CLOSED, ["due", "due", "delivered", "delivered"])


def test_a_paused_destination_gets_nothing_until_it_is_resumed(catalog: Catalog) -> None:
    delivering = with_results(catalog)
    delivering.pacs.answers = [0x0110] * 12
    for _ in range(12):  # by now its result has a wait of an hour
        delivering.step()
        delivering.clock.goes_on(4000)
    calls = delivering.pacs.calls
    with catalog.writing() as session:
        breakers.pause(session, delivering.to, AT)
    assert not delivering.step()
    assert delivering.pacs.calls == calls
    delivering.clock.at = AT
    with pytest.raises(IllegalMove), catalog.writing() as session:
        breakers.pause(session, delivering.to, AT)
    with catalog.writing() as session:
        breakers.resume(session, delivering.to, delivering.clock.at)
    assert delivering.step()
    assert delivering.states() == ["delivered"] * 2
    kinds = ("destination paused", "destination resumed")
    assert [entry.actor for kind in kinds for entry in delivering.flow.audit(kind)] == ["operator"] * 2


def test_a_pause_takes_hold_between_two_results_of_one_association(catalog: Catalog) -> None:
    delivering = with_results(catalog, studies=2)
    usual = delivering.pacs.send

    def send(path: object, sop_class_uid: str) -> int:
        with catalog.writing() as session:
            breakers.pause(session, delivering.to, AT)
        return usual(path, sop_class_uid)  # type: ignore[arg-type]

    delivering.pacs.send = send  # type: ignore[method-assign]
    delivering.step()
    assert delivering.states() == ["delivered", "due", "due", "due"]
    assert delivering.breaker.state is BreakerState.PAUSED


def test_what_was_refused_or_lost_goes_again_as_the_very_instance(catalog: Catalog) -> None:
    delivering = with_results(catalog)
    delivering.pacs.answers = [0xC000]
    delivering.step()
    fixed = [row["sop_instance_uid"] for row in delivering.rows()]
    with catalog.writing() as session:
        assert outbox.send_again(session, 1, [OutboxState.REFUSED], AT) == 1
        assert outbox.send_again(session, 1, [OutboxState.DELIVERED], AT, delivering.to.id + 1) == 0
    delivering.step()
    with catalog.writing() as session:
        assert outbox.send_again(session, 1, [OutboxState.REFUSED, OutboxState.DELIVERED], AT) == 2
    delivering.pacs.answers = [0x0111]
    delivering.step()
    assert delivering.pacs.got == names((1, SEG, 0), (1, SR, 0), (1, SEG, 0), (1, SEG, 0), (1, SR, 0))
    assert delivering.states() == ["delivered"] * 2
    assert [row["sop_instance_uid"] for row in delivering.rows()] == fixed


def test_how_long_the_oldest_result_waits_is_known_for_each_destination(catalog: Catalog) -> None:
    delivering = opened(catalog)
    with catalog.reading() as session:
        assert outbox.waiting_s(session)["PACS@pacs.local:104"] > 86400  # since AT, long ago
        assert breakers.levels(session) == {"PACS@pacs.local:104": 2}
    delivering.pacs.away = False
    delivering.clock.goes_on(60)
    delivering.step()
    with catalog.reading() as session:
        assert outbox.waiting_s(session) == {"PACS@pacs.local:104": 0}
        assert breakers.count_by_state(session) == {"closed": 1}
