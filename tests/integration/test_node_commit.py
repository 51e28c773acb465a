"""flow/commit.py on both databases: asked once all is stored, again while unconfirmed, never sent for nothing."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from node.catalog import ahead, breakers, commitments, outbox, retention, tables
from node.catalog.session import Catalog
from node.domain.commitment import LONGEST_PATIENCE, MOST_ROUNDS, Proof, Report, next_ask, sends_again
from node.domain.delivery import LONGEST_WAIT, OutboxState
from node.errors import PeerFailed
from node.flow import commit
from tests.commitments import HOUR, Proving, Questioned, proving
from tests.deliveries import PACS
from tests.studies import Series, after


def unconfirmed(site: Proving) -> dict[str, int]:
    with site.delivering.flow.catalog.reading() as session:
        return commitments.unconfirmed(session, site.delivering.clock())


def hindrance(site: Proving) -> str | None:
    with site.delivering.flow.catalog.reading() as session:
        return retention.hindrance(session, 1, decided=False)


def test_nobody_is_asked_before_all_results_of_a_reading_are_stored(catalog: Catalog) -> None:
    site = proving(catalog, stored=False)
    site.delivering.pacs.answers = [0x0000, 0xA700]
    site.delivering.step()
    assert site.delivering.states() == ["delivered", "due"]
    assert not site.step()
    assert site.pacs.asked == []
    site.waits(minutes=1)
    site.delivering.step()
    site.step()
    ((_, uids),) = site.pacs.asked
    assert list(uids) == [row["sop_instance_uid"] for row in site.delivering.rows()]


def test_a_transaction_is_in_sql_before_it_is_sent_and_ends_committed(catalog: Catalog) -> None:
    site = proving(catalog)
    seen: list[object] = []
    site.pacs.before = lambda uid: seen.append((uid, [row["transaction_uid"] for row in site.rows()]))
    site.step()
    assert seen == [(site.pacs.asked[0][0], [site.pacs.asked[0][0]])]
    site.step()
    assert len(site.pacs.asked) == 1  # its answer is waited for
    site.answer()
    assert (site.delivering.states(), site.askings()) == (["committed"] * 2, ["committed"])
    site.waits(days=30)
    assert not site.step()
    assert [entry.kind for entry in site.delivering.flow.audit()][-2:] == ["commitment asked", "results committed"]


def test_a_kill_between_the_book_and_the_wire_asks_once_more_under_another_uid(catalog: Catalog) -> None:
    site = proving(catalog)

    def killed(_: str) -> None:
        raise SystemExit

    site.pacs.before = killed
    with pytest.raises(SystemExit):
        site.step()
    site.pacs = Questioned()
    site.step()
    assert site.pacs.asked == []
    site.waits(hours=1.3)
    site.step()
    first, second = site.rows()
    assert (first["state"], second["state"]) == ("unanswered", "asked")
    assert first["transaction_uid"] != second["transaction_uid"] == site.pacs.asked[0][0]


def test_without_an_answer_it_is_asked_ever_more_seldom_told_after_days_and_nothing_is_sent_again(
    catalog: Catalog,
) -> None:
    site = proving(catalog)
    waits = []
    for _ in range(8):
        site.step()
        row = site.rows()[-1]
        waits.append(row["not_before"] - site.delivering.clock.at)  # type: ignore[operator]
        assert unconfirmed(site) == ({} if site.delivering.clock.at - row["since"] <= timedelta(days=3)  # type: ignore[operator]
                                     else {PACS.place: 2})  # fmt: skip
        site.delivering.clock.at = row["not_before"]  # type: ignore[assignment]
    hours = [min(2**n, 24) for n in range(8)]
    assert all(0.75 * n * HOUR <= wait <= 1.25 * n * HOUR for n, wait in zip(hours, waits, strict=True))
    assert unconfirmed(site) == {PACS.place: 2}
    assert len({uid for uid, _ in site.pacs.asked}) == 8
    assert [row["attempts"] for row in site.delivering.rows()] == [1, 1]
    site.answer(asked=2)  # as late as it is
    assert site.delivering.states() == ["committed"] * 2
    assert unconfirmed(site) == {}


def test_what_is_missing_is_sent_again_and_asked_for_again_and_the_rest_is_committed(catalog: Catalog) -> None:
    site = proving(catalog)
    site.step()
    site.answer(kept=[1], failed=[(0, 0x0112)])
    assert site.delivering.states() == ["due", "committed"]
    assert site.delivering.rows()[0]["error"] == "It does not confirm 1 of these results (0x0112)."
    site.delivering.step()
    assert site.delivering.pacs.got[-1] == site.delivering.pacs.got[0]
    site.waits(minutes=2)
    site.step()
    assert site.pacs.asked[1][1] == site.pacs.asked[0][1][:1]
    site.answer(kept=[0])
    assert site.delivering.states() == ["committed"] * 2


def test_what_is_missing_again_and_again_is_told_and_not_sent_any_more(catalog: Catalog) -> None:
    site = proving(catalog)
    for round_ in range(1, MOST_ROUNDS + 1):
        assert unconfirmed(site) == {}
        site.step()
        site.answer(kept=[1] if round_ == 1 else [], failed=[(0, 0x0112)])
        site.delivering.step()
        site.waits(minutes=10)
    assert site.delivering.states() == ["delivered", "committed"]
    assert site.delivering.rows()[0]["attempts"] == MOST_ROUNDS
    assert unconfirmed(site) == {PACS.place: 1}
    assert not site.step()
    site.waits(hours=3)
    site.step()
    site.answer(kept=[0])  # somebody mended it
    assert (site.delivering.states(), unconfirmed(site)) == (["committed"] * 2, {})


def test_answers_that_are_always_late_count_as_rounds_too(catalog: Catalog) -> None:
    site = proving(catalog)
    for asked in range(MOST_ROUNDS + 2):
        site.step()
        site.waits(days=2)
        site.step()
        site.answer(asked=2 * asked, kept=[], failed=[(0, 0x0112), (1, 0x0112)])
        site.delivering.step()
        site.waits(days=2)
    assert [row["attempts"] for row in site.delivering.rows()] == [MOST_ROUNDS] * 2


@pytest.mark.parametrize("reason", [0x0131, 0x0213])
def test_a_reason_that_says_nothing_of_an_instance_sends_nothing_again(catalog: Catalog, reason: int) -> None:
    site = proving(catalog)
    site.step()
    site.answer(kept=[], failed=[(0, reason), (1, reason)])
    assert site.delivering.states() == ["delivered"] * 2
    site.waits(minutes=2)
    site.step()
    assert len(site.pacs.asked) == 2


def test_an_answer_that_does_not_mention_an_instance_proves_nothing_of_it(catalog: Catalog) -> None:
    site = proving(catalog)
    site.step()
    site.answer(kept=[0])
    assert site.delivering.states() == ["committed", "delivered"]
    assert site.rows()[0]["error"] == "It does not confirm 1 of these results (not mentioned)."


def test_an_answer_speaks_of_what_it_was_asked_about_not_of_what_was_sent_since(catalog: Catalog) -> None:
    site = proving(catalog)
    site.step()
    with catalog.writing() as session:
        outbox.send_again(session, 1, [OutboxState.DELIVERED], site.delivering.clock())
    site.delivering.step()
    site.answer()
    assert site.delivering.states() == ["delivered"] * 2


def test_an_answer_on_the_same_association_counts_and_one_of_another_destination_does_not(catalog: Catalog) -> None:
    site = proving(catalog)
    site.step()
    uid, uids = site.pacs.asked[0]
    elsewhere = replace(PACS, host="elsewhere", commitment=Proof.COMMITMENT)
    here, other = site.delivering.flow.destination(site.to.destination, elsewhere)
    clock = site.delivering.clock
    askings = [commit.Confirming(catalog, to, site.pacs.connect, HOUR, random.Random(1), clock) for to in (other, here)]
    answers = [asking.reported_here("PACS", "10.0.0.9", Report(uid, uids)) for asking in askings]
    assert answers == [0x0115, 0x0000]
    assert site.delivering.states() == ["committed"] * 2
    (refused,) = site.delivering.flow.audit("commitment report refused")
    assert (refused.actor, refused.address, refused.outcome) == ("PACS", "10.0.0.9", 8)


def test_who_refuses_the_request_is_asked_by_c_find(catalog: Catalog) -> None:
    site = proving(catalog)
    site.pacs.finds, site.pacs.answers = True, [0x0122]
    site.step()
    assert site.delivering.states() == ["committed"] * 2
    assert [(row["proof"], row["state"]) for row in site.rows()] == [("commitment", "refused"), ("find", "committed")]


def test_who_refuses_the_request_and_offers_no_c_find_offers_nothing_and_who_is_busy_is_asked_later(
    catalog: Catalog,
) -> None:
    site = proving(catalog, studies=2)
    site.pacs.answers = [0x0122, 0x0213]
    site.step()
    assert site.askings() == ["unsupported", "refused"]
    assert unconfirmed(site) == {PACS.place: 2}
    site.waits(hours=1.3)
    site.step()
    site.answer(asked=2)
    site.answer(asked=3)
    assert site.delivering.states() == ["committed"] * 4


def test_what_c_find_does_not_see_is_looked_for_once_more_before_it_is_sent_again(catalog: Catalog) -> None:
    site = proving(catalog, proof=Proof.FIND)
    site.pacs.commits, site.pacs.finds, site.pacs.lacks = False, True, 1
    site.step()
    assert site.delivering.states() == ["delivered", "committed"]
    site.waits(minutes=2)
    site.pacs.lacks = 1
    site.step()
    assert site.delivering.states() == ["due", "committed"]


def test_who_offers_nothing_keeps_its_results_as_delivered_and_somebody_is_told(catalog: Catalog) -> None:
    site = proving(catalog)
    site.pacs.commits = False
    site.step()
    assert (site.delivering.states(), site.askings()) == (["delivered"] * 2, ["unsupported"])
    assert unconfirmed(site) == {PACS.place: 2}
    (refused,) = site.delivering.flow.audit("commitment refused")
    assert "offers neither storage commitment nor C-FIND" in refused.detail


def test_who_cannot_be_reached_or_breaks_off_is_asked_again_soon_and_left_alone_while_its_breaker_is_open(
    catalog: Catalog,
) -> None:
    site = proving(catalog, studies=2)
    site.pacs.away = True
    site.step()
    assert [row["error"] for row in site.rows()] == ["PACS cannot be reached."] * 2
    site.pacs.away, site.pacs.answers = False, [PeerFailed("no answer")]
    site.waits(minutes=2)
    site.step()
    assert (site.askings(), len(site.pacs.asked)) == (["unanswered"] * 4, 1)
    with catalog.writing() as session:
        breakers.pause(session, site.to, site.delivering.clock())
    site.waits(hours=1)
    site.step()
    assert len(site.pacs.asked) == 1
    with catalog.writing() as session:
        breakers.resume(session, site.to, site.delivering.clock())
    site.step()
    assert len(site.pacs.asked) == 3


def test_nobody_is_asked_about_a_reading_that_another_has_replaced(catalog: Catalog) -> None:
    site = proving(catalog)
    site.delivering.flow.receive(Series("0").headers(range(64, 70)), after(1))
    site.delivering.flow.complete(after(4))
    site.step()
    assert site.pacs.asked == []


def test_only_what_is_committed_may_be_purged_where_commitment_is_on(catalog: Catalog) -> None:
    site = proving(catalog)
    sentence = "a destination has not confirmed yet that it has a result of it"
    with catalog.writing() as session:
        session.execute(tables.study.update().values(outcome="findings"))
    assert hindrance(site) == sentence
    site.step()
    site.answer()
    assert hindrance(site) is None
    with catalog.writing() as session:
        session.execute(tables.outbox.update().values(state="delivered"))
    assert hindrance(site) == sentence
    site.delivering.flow.destination(PACS)
    assert hindrance(site) is None


def test_what_an_operator_has_sent_again_is_asked_about_as_for_the_first_time(catalog: Catalog) -> None:
    site = proving(catalog)
    site.step()
    site.answer()
    with catalog.writing() as session:
        now = site.delivering.clock()
        assert outbox.send_again(session, 1, [OutboxState.COMMITTED], now) == 2
        commitments.anew(session, 1, now)
    site.delivering.step()
    site.step()
    assert (len(site.pacs.asked), site.rows()[-1]["rounds"]) == (2, 0)
    site.answer()
    assert site.delivering.states() == ["committed"] * 2


def test_a_clock_that_was_set_back_holds_no_question_up(catalog: Catalog) -> None:
    site = proving(catalog)
    site.step()
    back = site.delivering.clock.at - timedelta(days=365)
    with catalog.writing() as session:
        ahead.bring_back(session, back, 2 * LONGEST_WAIT)
    assert site.rows()[0]["not_before"] <= back + LONGEST_PATIENCE


def test_nothing_is_sent_again_after_the_last_round_and_questions_grow_rare() -> None:
    reasons = [sends_again(Proof.COMMITMENT, rounds, 0x0112) for rounds in range(1, MOST_ROUNDS + 2)]
    assert reasons == [True] * (MOST_ROUNDS - 1) + [False] * 2
    assert [sends_again(Proof.FIND, rounds, 0x0112) for rounds in (1, 2, MOST_ROUNDS)] == [False, True, False]
    waits = [next_ask(HOUR, rounds) for rounds in range(1, 12)]
    assert waits == sorted(waits)
    assert waits[-1] == timedelta(days=1)
