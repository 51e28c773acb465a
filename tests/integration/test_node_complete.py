"""flow/complete.py on SQLite and PostgreSQL: when a study is complete, what is read of it, and how it ends unread."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from pydantic import ValidationError
from sqlalchemy import Table, select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from node.catalog import peers, studies, tables
from node.catalog.session import Catalog
from node.domain.completeness import Evidence, Grounds
from node.domain.instance import InstanceHeader
from node.domain.peers import Sender, Standing
from node.domain.reception import Ending, OpenAssociations
from node.flow import complete, register
from node.flow.clock import Clock
from tests.conftest import AUDIT_KEY
from tests.flow import NO_SPOOL, Flow
from tests.servers import Postgres
from tests.studies import Series, after, arrivals, reception

CHEST = Series()
STUDY = CHEST.study_uid


def states(flow: Flow) -> list[str]:
    return [row["state"] for row in (*flow.rows(tables.series), *flow.rows(tables.study))]


def report() -> list[InstanceHeader]:
    """Something in the same study that is no image."""
    return [replace(header, ct=None, modality="SR") for header in Series(series="report", count=1).headers()]


def test_a_gapless_series_and_its_study_are_complete_after_three_quiet_seconds(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(CHEST.headers())
    flow.complete(after(2.9))
    assert states(flow) == ["receiving", "receiving"]
    flow.complete(after(3))
    assert states(flow) == ["complete", "complete"]
    assert flow.rows(tables.series)[0]["evidence"] == flow.study(STUDY)["evidence"] == "gapless stack, clean release"
    assert flow.study(STUDY)["completed_at"] == after(3)
    assert flow.rows(tables.series)[0]["evidence_detail"] == flow.study(STUDY)["evidence_detail"] == {
        "images": 64, "gap": "", "association": "released", "quiet_s": 3.0, "lasted_s": 3.0,
        "gapless_quiet_s": 3.0, "enough_quiet_s": 15.0, "hard_cap_s": 900.0, "expected": 0, "told_by": "",
    }  # fmt: skip
    assert [entry.kind for entry in flow.audit()] == [
        "instances registered", "series complete", "job created", "study complete"
    ]  # fmt: skip


def test_a_database_that_ends_in_the_middle_of_a_look_is_said_to_have_done_so(
    postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two series share a session: what ended it is the error of the turn, not what the second meets then."""

    def ended(session: Session, *_: object) -> timedelta:
        session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return timedelta(0)

    monkeypatch.setattr(complete.studies, "usual_pause", ended)
    with postgres_server.database() as url:
        catalog = Catalog(url, AUDIT_KEY)
        flow = Flow(catalog)
        for name in ("1", "2"):
            flow.receive(Series(name).headers())
        with pytest.raises(OperationalError):
            flow.complete(after(60))
        catalog.close()


def test_a_study_is_not_complete_while_a_series_of_it_was_opened_by_what_was_told_late(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(CHEST.headers(range(60)), after(2))
    complete.step(catalog, flow.associations, Clock(lambda: after(20)))
    assert states(flow) == ["complete", "receiving"]
    with catalog.reading() as session:
        (seen,) = studies.open_studies(session)
    flow.receive(CHEST.headers(range(60, 64)), after(1))
    grounds = Grounds(60, "", "released", 18.0, 18.0, 3.0, 15.0, 900.0)
    with catalog.writing() as session:
        assert not studies.close_study(session, seen, Evidence.GAPLESS, grounds, after(20))
    assert states(flow) == ["receiving", "receiving"]


def test_a_series_whose_row_is_spoiled_fails_its_turn_and_keeps_no_other_open(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(CHEST.headers())
    flow.receive(Series("other").headers())
    with catalog.writing() as session:
        spoiled = session.scalars(select(tables.instance.c.id).order_by(tables.instance.c.id)).first()
        row = tables.instance.c.id == spoiled
        session.execute(update(tables.instance).where(row).values(header={"spoiled": True}))
    clock = Clock(lambda: after(20))
    with pytest.raises(ValidationError):
        complete.step(catalog, flow.associations, clock)
    with pytest.raises(ValidationError):
        complete.step(catalog, flow.associations, clock)
    assert flow.study(STUDY)["state"] == "receiving"
    assert flow.study(Series("other").study_uid)["state"] == "complete"


def test_after_a_rush_a_turn_ends_early_the_quietest_go_first_and_those_that_fail_take_no_place(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(complete, "IN_ONE_TURN", 3)
    flow = Flow(catalog)
    for number in range(6):
        flow.receive(Series(f"{number}", count=2).headers(), after(-number))
    with catalog.writing() as session:
        of_last = tables.instance.c.series_id == flow.rows(tables.series)[5]["id"]
        session.execute(update(tables.instance).where(of_last).values(header={"spoiled": True}))
    clock = Clock(lambda: after(20))

    def closed(table: Table) -> list[int]:
        return [number for number, row in enumerate(flow.rows(table)) if row["state"] == "complete"]

    turns = []
    for _ in range(3):
        with pytest.raises(ValidationError):
            complete.step(catalog, flow.associations, clock)
        turns.append((closed(tables.series), closed(tables.study)))
    assert turns == [([2, 3, 4], []), ([0, 1, 2, 3, 4], [2, 3, 4]), ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])]


@pytest.mark.parametrize(
    ("headers", "ending", "because"),
    [
        (
            CHEST.headers([n for n in range(64) if n != 30]),
            Ending.RELEASED,
            ("images are missing or unevenly spaced", "released"),
        ),
        (CHEST.headers(), Ending.ABORTED, ("", "aborted")),
        (CHEST.headers(), None, ("", "open")),
    ],
    ids=["a gap", "an abort", "still open"],
)
def test_without_that_evidence_fifteen_quiet_seconds_pass(
    catalog: Catalog, headers: list[InstanceHeader], ending: Ending | None, because: tuple[str, str]
) -> None:
    flow = Flow(catalog)
    flow.receive(headers, ending=ending)
    flow.complete(after(14.9))
    assert states(flow) == ["receiving", "receiving"]
    flow.complete(after(15))
    assert states(flow) == ["complete", "complete"]
    assert flow.study(STUDY)["evidence"] == "quiet"
    detail = flow.rows(tables.series)[0]["evidence_detail"]
    assert (detail["gap"], detail["association"], detail["quiet_s"]) == (*because, 15.0)


def test_a_second_association_of_the_sender_keeps_the_study_open(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(CHEST.headers())
    other = flow.receive(Series("2", count=1).headers(), ending=None)
    flow.complete(after(5))
    assert flow.study(STUDY)["state"] == "receiving"
    flow.close(other, Ending.RELEASED)
    flow.complete(after(5))
    assert flow.study(STUDY)["state"] == "complete"


def test_a_file_that_is_registered_late_never_turns_the_quiet_time_back(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(CHEST.headers(range(50)), after(20), ending=None)
    flow.receive(CHEST.headers([50]), calling="CT2")  # received at 0, told after the others
    flow.complete(after(20.5))
    assert states(flow) == ["receiving", "receiving"]
    (series,), study = flow.rows(tables.series), flow.study(STUDY)
    assert series["last_received_at"] == study["last_received_at"] == after(20)
    assert series["calling_ae_title"] == study["calling_ae_title"] == "CT1"
    flow.complete(after(35))
    assert states(flow) == ["complete", "complete"]


def test_quiet_counts_from_the_newest_of_files_that_are_registered_together(catalog: Catalog) -> None:
    flow = Flow(catalog)
    late, early = (arrivals(CHEST.headers([n]), reception(at)) for n, at in enumerate((after(20), after(0))))
    register.register(catalog, NO_SPOOL, [*late, *early])
    assert flow.study(STUDY)["last_received_at"] == flow.rows(tables.series)[0]["last_received_at"] == after(20)


def test_after_a_restart_only_the_full_quiet_time_counts(catalog: Catalog) -> None:
    Flow(catalog).receive(CHEST.headers())
    restarted = Flow(catalog)
    restarted.complete(after(14.9))
    assert states(restarted) == ["receiving", "receiving"]
    restarted.complete(after(15))
    assert restarted.study(STUDY)["evidence"] == "quiet"
    assert restarted.study(STUDY)["evidence_detail"]["association"] == "unknown"


def test_the_time_when_nobody_listened_is_no_quiet_time(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(CHEST.headers(range(30)), ending=None)
    started = after(3600)
    flow.associations = OpenAssociations()

    def closes(at: datetime) -> bool:
        return complete.step(catalog, flow.associations, Clock(now=lambda: at, listening_since=started))

    assert not closes(after(3614.9))
    assert closes(after(3615))


def test_a_study_with_anything_else_in_it_waits_for_the_full_quiet_time(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive([*CHEST.headers(), *report()])
    flow.complete(after(5))
    assert sorted(states(flow)) == ["complete", "receiving", "receiving"]
    assert len(flow.jobs()) == 1  # read at once all the same
    flow.complete(after(15))
    assert flow.study(STUDY)["evidence"] == "quiet"


def test_a_sender_that_never_pauses_is_cut_after_fifteen_minutes(catalog: Catalog) -> None:
    flow = Flow(catalog)
    for second in range(0, 901, 2):
        flow.receive(Series(count=500).headers([second // 2]), after(second))
    flow.complete(after(899.9))
    assert states(flow) == ["receiving", "receiving"]
    flow.complete(after(900))
    assert [row["evidence"] for row in flow.rows(tables.series)] == ["hard cap"]
    assert flow.study(STUDY)["evidence"] == "hard cap"


def test_a_late_image_gets_the_same_patience_as_the_first(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(CHEST.headers(range(60)))
    flow.complete(after(3))
    flow.receive(CHEST.headers(range(60, 64)), after(3600))
    flow.complete(after(3602.9))
    assert states(flow) == ["receiving", "receiving"]
    flow.complete(after(3603))
    assert states(flow) == ["complete", "complete"]


def test_a_late_image_is_not_cut_off_by_the_hard_cap_of_the_first(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(CHEST.headers(range(60)))
    flow.complete(after(3))
    flow.receive(CHEST.headers(range(60, 64)), after(3600), ending=None)
    flow.complete(after(3614.9))
    assert states(flow) == ["receiving", "receiving"]
    flow.complete(after(3615))
    assert flow.study(STUDY)["evidence"] == "quiet"


def test_each_sender_has_its_own_patience(catalog: Catalog) -> None:
    flow = Flow(catalog)
    slow = Sender("SLOW", "127.0.0.1/32", Standing.ALLOWED, gapless_quiet_s=20, quiet_s=60)
    with catalog.writing() as session:
        peers.configure_senders(session, [Sender("*", "127.0.0.0/8", Standing.ALLOWED), slow])
    flow.receive(CHEST.headers(), calling="SLOW")
    flow.receive(Series("2").headers(), calling="FAST")
    flow.complete(after(3))
    assert [row["state"] for row in flow.rows(tables.study)] == ["receiving", "complete"]
    flow.complete(after(20))
    assert [row["state"] for row in flow.rows(tables.study)] == ["complete", "complete"]


def test_quiet_is_only_what_the_catalog_knows_to_be_quiet(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(CHEST.headers())
    clock = Clock(now=lambda: after(100), registered_until=lambda now: min(now, after(2)))
    assert not complete.step(catalog, flow.associations, clock)


class Interrupting(OpenAssociations):
    """Lets something happen between looking at a series and closing it."""

    def __init__(self, happen: Callable[[], None]) -> None:
        super().__init__()
        self._happen: Callable[[], None] | None = happen

    def done(self, association_id: str, calling_ae_title: str, address: str) -> bool:
        happen, self._happen = self._happen, None
        if happen:
            happen()
        return True


def test_an_image_that_comes_while_its_series_is_being_closed_keeps_it_open(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(CHEST.headers(range(50)))
    late = arrivals(CHEST.headers(range(50, 64)), reception(after(3), "a-9"))
    associations = Interrupting(lambda: register.register(catalog, NO_SPOOL, late))
    complete.step(catalog, associations, Clock(now=lambda: after(3)))
    assert states(flow) == ["receiving", "receiving"]
    assert flow.jobs() == []


def test_an_image_that_comes_while_its_study_is_being_closed_keeps_it_open(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(CHEST.headers(range(50)))
    once = Clock(now=lambda: after(3))
    complete.step(catalog, flow.associations, once)  # the series, and not yet the study
    assert states(flow) == ["complete", "receiving"]
    late = arrivals(CHEST.headers(range(50, 64)), reception(after(3), "a-9"))
    complete.step(catalog, Interrupting(lambda: register.register(catalog, NO_SPOOL, late)), once)
    assert states(flow) == ["receiving", "receiving"]
