"""catalog/outbox.py and flow/release.py on both databases: never too early, and never both old and new."""

from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from node.admin import peers as peers_admin
from node.catalog import outbox, retention, tables
from node.catalog.session import Catalog
from node.domain.peers import Destination
from node.errors import PeerFailed, Unavailable
from node.flow import release
from node.settings import Settings
from tests.conftest import AUDIT_KEY
from tests.deliveries import EVERYTHING, PACS, SEG, Pacs, with_results
from tests.flow import Flow
from tests.studies import AT, Series, after


def test_results_are_held_until_the_study_is_complete(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.destination(PACS)
    flow.receive(Series().headers())
    flow.receive(Series(series="2").headers([1, 2, 4]), after(1))  # with a gap: it waits for more
    flow.complete(after(3))
    flow.finish(1, after(4))
    assert not release.step(catalog, after(5))
    assert flow.outbox() == [(1, "SEG", "held"), (1, "SR", "held")]
    flow.complete(after(16))
    assert release.step(catalog, after(16))
    assert flow.outbox() == [(1, "SEG", "due"), (1, "SR", "due")]
    assert [entry.job_id for entry in flow.audit("results released")] == [1]
    assert not release.step(catalog, after(17))


def test_results_that_come_after_the_study_is_complete_are_released_at_once(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.destination(PACS)
    flow.receive(Series().headers())
    flow.complete(after(3))
    flow.finish(1, after(60))
    assert release.step(catalog, after(60))


def test_a_study_that_is_open_again_holds_its_results(catalog: Catalog) -> None:
    delivering = with_results(catalog, released=False)
    delivering.flow.receive(Series("0", "2", count=5).headers(), after(1))
    assert not release.step(catalog, after(1))
    assert delivering.states() == ["held", "held"]


def test_a_study_that_is_opened_again_between_choosing_and_releasing_keeps_its_results(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivering, chosen = with_results(catalog, released=False), outbox.jobs_to_release

    def chosen_before_more_come(session: Session) -> list[tuple[int, str]]:
        waiting = chosen(session)
        delivering.flow.receive(Series("0").headers(range(64, 70)), after(1))
        return waiting

    monkeypatch.setattr(outbox, "jobs_to_release", chosen_before_more_come)
    assert not release.step(catalog, after(1))
    assert delivering.states() == ["held", "held"]
    assert delivering.flow.audit("results released") == []


def test_each_destination_gets_the_kinds_it_wants(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.destination(
        Destination("ALL", "h", 1, ("SEG", "SR", "SC")),
        Destination("REPORTS", "h", 2, ("SR",)),
        Destination("QUIET", "h", 3, ("SR",), not_analysed=False),
    )
    flow.receive(Series("1").headers())
    flow.receive(Series("2").headers(range(5)))
    flow.complete(after(3))
    for job in flow.jobs():
        flow.finish(job["id"], after(3))
    wanted = [(row["destination_id"], row["job_id"], row["kind"]) for row in flow.rows(tables.outbox)]
    notice = next(job["id"] for job in flow.jobs() if job["kind"] == "notice")
    analysis = next(job["id"] for job in flow.jobs() if job["kind"] == "analysis")
    assert sorted(wanted) == sorted([
        (1, analysis, "SEG"), (1, analysis, "SR"), (1, notice, "SR"), (2, analysis, "SR"), (2, notice, "SR"),
        (3, analysis, "SR"),
    ])  # fmt: skip


def test_a_destination_that_is_no_longer_named_gets_nothing_new(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.destination(PACS)
    assert [each.destination for each in flow.destination(Destination("OTHER", "h", 2))] == [
        Destination("OTHER", "h", 2)
    ]
    flow.receive(Series().headers())
    flow.complete(after(3))
    flow.finish(1, after(3))
    assert {row["destination_id"] for row in flow.rows(tables.outbox)} == {2}
    assert [each.id for each in flow.destination(PACS)] == [1]  # named again: the same one as before


def test_what_was_never_attempted_is_cancelled_and_leaves_no_predecessor(catalog: Catalog) -> None:
    delivering = with_results(catalog)
    delivering.flow.receive(Series("0").headers(range(64, 70)), after(10))
    delivering.flow.complete(after(13))
    assert delivering.states() == ["cancelled", "cancelled"]
    assert delivering.flow.jobs()[1]["predecessor_job_id"] is None
    assert not delivering.step()


@pytest.mark.parametrize("answer", [0x0000, 0xA700, 0xC000])
def test_what_was_attempted_gets_a_successor_that_names_it(catalog: Catalog, answer: int) -> None:
    delivering = with_results(catalog)
    delivering.pacs.answers = [answer, PeerFailed("away again")]
    delivering.step()
    before = delivering.states()[0]
    delivering.flow.receive(Series("0").headers(range(64, 70)), after(10))
    delivering.flow.complete(after(13))
    assert delivering.states()[0] == before
    assert delivering.flow.jobs()[1]["predecessor_job_id"] == 1


def test_a_successor_of_something_unseen_names_what_was_seen_before_it(catalog: Catalog) -> None:
    delivering = with_results(catalog)
    delivering.step()
    for number, more in enumerate((66, 68)):
        delivering.flow.receive(Series("0").headers(range(more - 2, more)), after(10 * (number + 1)))
        delivering.flow.complete(after(10 * (number + 1) + 3))
    assert [job["predecessor_job_id"] for job in delivering.flow.jobs()] == [None, 1, 1]


def test_an_attempt_and_a_cancellation_never_both_win(catalog: Catalog) -> None:
    delivering = with_results(catalog)
    (seg, sr) = (row["id"] for row in delivering.rows())
    with catalog.writing() as session:
        assert outbox.begin_attempt(session, seg, "1.2.3")  # type: ignore[arg-type]
    with catalog.writing() as session:
        assert not outbox.cancel_unsent(session, 1)
    assert delivering.states() == ["due", "cancelled"]
    with catalog.writing() as session:
        assert not outbox.begin_attempt(session, sr, "1.2.4")  # type: ignore[arg-type]


def test_a_result_that_is_cancelled_between_choosing_and_sending_is_not_sent(catalog: Catalog) -> None:
    delivering = with_results(catalog)

    class Cancelling(Pacs):
        @property
        def accepted_sop_classes(self) -> frozenset[str]:
            with catalog.writing() as session:
                outbox.cancel_unsent(session, 1)
            return EVERYTHING

    delivering.pacs = Cancelling()
    delivering.step()
    assert delivering.pacs.got == []
    assert delivering.states() == ["cancelled", "cancelled"]


def test_no_destination_can_be_owed_the_same_result_twice(catalog: Catalog) -> None:
    delivering = with_results(catalog)
    with pytest.raises(Exception, match=r"(?i)unique"), catalog.writing() as session:
        outbox.hold(session, 1, [SEG], False, AT)
    assert len(delivering.rows()) == 2


@pytest.fixture
def settings(catalog: Catalog, database_url: str, data: Path) -> Settings:
    """The settings of a command on the same catalog."""
    (data / "audit.key").write_bytes(AUDIT_KEY)
    (data / "audit.key").chmod(0o600)
    return Settings(data=data, database_url=database_url)


def test_what_waits_for_a_destination_that_is_no_longer_named_is_given_up_when_somebody_says_so(
    catalog: Catalog, settings: Settings
) -> None:
    delivering = with_results(catalog)
    with pytest.raises(Unavailable, match="The settings name PACS"):
        peers_admin.forget(settings, "PACS")
    with pytest.raises(Unavailable, match="There is no destination NOBODY"):
        peers_admin.forget(settings, "NOBODY")
    delivering.flow.destination(Destination("OTHER", "h", 2))
    assert peers_admin.forget(settings, "PACS").data == {"ae_title": "PACS", "cancelled": 2}
    assert delivering.states() == ["cancelled", "cancelled"]
    (entry,) = delivering.flow.audit("destination forgotten")
    assert (entry.actor, entry.detail) == (
        "operator", '{"ae_title": "PACS", "cancelled": 2, "host": "pacs.local", "port": 104}'
    )  # fmt: skip
    with catalog.reading() as session:
        assert retention.hindrance(session, 1, decided=False) != "a result of it is still to be delivered"


def test_what_a_forgotten_destination_may_have_is_named_as_predecessor_by_what_comes_after_it(catalog: Catalog) -> None:
    """Otherwise the next report of the study could have its UID and other bytes."""
    delivering = with_results(catalog)
    delivering.pacs.answers = [PeerFailed("cut in the middle")]
    delivering.step()
    delivering.flow.destination()
    with catalog.writing() as session:
        assert outbox.give_up(session, delivering.to.id) == 2
    delivering.flow.destination(PACS)
    delivering.flow.receive(Series("0").headers(range(64, 70)), after(1))
    delivering.flow.complete(after(60))
    assert [job["predecessor_job_id"] for job in delivering.flow.jobs()] == [None, 1]
