"""flow/announce.py and flow/tell.py on both databases: who is told what, in order, and what becomes of the rest."""

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from node.catalog import jobs, tables, workitems
from node.catalog.session import Catalog
from node.dicom import ups_scu
from node.dicom.store_scu import Patience
from node.domain.job import Failure
from node.domain.peers import Destination
from node.domain.procedure_events import KEPT, EventType, Notification
from node.errors import NotTrusted, PeerFailed
from node.flow.announce import Announcing
from node.flow.tell import Telling
from tests.flow import Flow, queued
from tests.servers import Postgres
from tests.servers.workflow import manage, of
from tests.studies import AT, Series, after, header_of_payload
from tests.workflowed import brought, managed, step_of

WATCHER = Destination("WATCHER", "127.0.0.1", 11113, ())


@dataclass
class Ear:
    """A subscriber at the far end of our own interface."""

    away: bool = False
    answers: list[int | Exception] = field(default_factory=list)
    """One for each event; then success."""
    heard: list[Notification] = field(default_factory=list)
    calls: int = 0

    @contextmanager
    def connect(self, _: Destination) -> Iterator["Ear"]:
        self.calls += 1
        if self.away:
            raise PeerFailed("WATCHER cannot be reached.")
        yield self

    def tell(self, event: Notification) -> int:
        answer = self.answers.pop(0) if self.answers else 0
        if isinstance(answer, Exception):
            raise answer
        self.heard.append(event)
        return answer


@dataclass
class Told:
    """A flow whose jobs are announced, and one subscriber, at times of the test's choosing."""

    flow: Flow
    ear: Ear = field(default_factory=Ear)
    at_s: float = 0.0

    def now(self) -> datetime:
        return after(self.at_s)

    def announce(self) -> None:
        announcing = Announcing(self.flow.catalog, self.now)
        while announcing.step():
            pass

    def tell(self) -> bool:
        return Telling(self.flow.catalog, WATCHER, self.ear.connect, random.Random(1), self.now).step()

    def progress(self, stage: str, percent: int) -> None:
        with self.flow.catalog.writing() as session:
            jobs.report_progress(session, 1, "t", stage, percent)
        self.announce()

    def waiting(self) -> list[tuple[int, str]]:
        rows = self.flow.rows(tables.notification)
        return [(row["type"], row["content"].get("text", "")) for row in rows]


@pytest.fixture
def told(catalog: Catalog) -> Told:
    """Job 1 is queued, and somebody is subscribed to its step."""
    made = Told(queued(catalog))
    made.announce()
    with catalog.writing() as session:
        workitems.subscribe(session, "WATCHER", 1, lock=True, now=AT)
    return made


def test_events_are_heard_in_order_and_once(told: Told) -> None:
    told.flow.claimed()
    told.announce()
    told.progress("detect", 40)
    told.tell()
    assert [event.type for event in told.ear.heard] == [
        EventType.STATE_REPORT, EventType.ASSIGNED, EventType.PROGRESS_REPORT
    ]  # fmt: skip
    assert told.ear.heard[-1].content["percent"] == 40
    told.announce()
    assert not told.tell() and len(told.ear.heard) == 3
    assert told.ear.calls == 1


def test_of_a_progress_that_nobody_heard_only_the_newest_is_told(told: Told) -> None:
    told.flow.claimed()
    for stage, percent in (("lungs", 10), ("detect", 40), ("segment", 60)):
        told.progress(stage, percent)
    assert [each for each in told.waiting() if each[0] == EventType.PROGRESS_REPORT] == [(3, "segment")]


def test_who_does_not_answer_is_called_again_after_a_growing_pause_and_misses_nothing(told: Told) -> None:
    told.flow.claimed()
    told.announce()
    told.ear.away = True
    assert not told.tell()
    told.tell()
    assert told.ear.calls == 1
    told.at_s = 10
    told.ear.away = False
    told.tell()
    assert len(told.ear.heard) == 3 and told.waiting() == []


def test_who_does_not_prove_itself_is_told_nothing_and_is_a_security_alert(told: Told) -> None:
    told.flow.claimed()
    told.announce()
    told.ear.answers = [NotTrusted("WATCHER at 127.0.0.1:11113: no TLS handshake: its certificate is not good.")]
    told.tell()
    (alert,) = told.flow.audit("security alert")
    assert (alert.actor, alert.address) == ("WATCHER", "127.0.0.1:11113")
    assert len(told.waiting()) == 3


def test_an_association_that_breaks_off_repeats_only_what_was_not_answered(told: Told) -> None:
    told.flow.claimed()
    told.announce()
    told.ear.answers = [0, PeerFailed("It broke off.")]
    told.tell()
    told.at_s = 10
    told.tell()
    assert [event.type for event in told.ear.heard] == [
        EventType.STATE_REPORT, EventType.ASSIGNED, EventType.PROGRESS_REPORT
    ]  # fmt: skip


def test_a_subscriber_that_takes_calls_and_never_answers_is_left_at_its_deadline(told: Told) -> None:
    told.flow.claimed()
    told.announce()
    connect = partial(ups_scu.connected, "NODUS", Patience(connect_s=2.0, answer_s=1.0))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        to = Destination("WATCHER", "127.0.0.1", silent.getsockname()[1], ())
        assert not Telling(told.flow.catalog, to, connect, random.Random(1), told.now).step()
    assert {row["attempts"] for row in told.flow.rows(tables.notification)} == {1}


def test_an_event_that_is_refused_counts_as_heard(told: Told) -> None:
    told.flow.claimed()
    told.announce()
    told.ear.answers = [0x0110]
    told.tell()
    assert told.waiting() == []


def test_who_is_away_for_more_than_a_day_misses_what_was_before(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    told.flow.claimed()
    told.announce()
    told.ear.away = True
    told.tell()
    told.at_s = (KEPT + timedelta(hours=1)).total_seconds()
    told.progress("segment", 60)
    told.ear.away = False
    told.tell()
    assert [(event.type, event.content["text"]) for event in told.ear.heard] == [(3, "segment")]
    assert "a subscriber has missed events" in caplog.text


def test_a_clock_that_jumps_back_holds_no_event_back(told: Told) -> None:
    told.flow.claimed()
    told.announce()
    told.at_s = -3 * KEPT.total_seconds()
    told.tell()
    assert len(told.ear.heard) == 3


def test_a_reading_of_more_images_is_another_step_that_names_the_first(catalog: Catalog) -> None:
    told = Told(queued(catalog))
    told.announce()
    told.flow.receive(Series("0").headers(range(64, 70)), after(10))
    told.flow.complete(after(13))
    told.announce()
    first, second = told.flow.rows(tables.workitem)
    assert (first["state"], first["reason"], second["state"]) == ("CANCELED", "110528", "SCHEDULED")
    assert second["replaces"] == first["sop_instance_uid"] != second["sop_instance_uid"]


def test_a_step_that_is_final_stays_so_when_its_results_are_sent_again(catalog: Catalog) -> None:
    told = Told(queued(catalog))
    told.flow.destination(Destination("PACS", "h", 104))
    told.flow.finish(1, AT)
    told.announce()
    assert [row["state"] for row in told.flow.rows(tables.workitem)] == ["IN PROGRESS"]
    set_outbox(catalog, "delivered")
    told.announce()
    set_outbox(catalog, "due")
    told.announce()
    assert [row["state"] for row in told.flow.rows(tables.workitem)] == ["COMPLETED"]
    with catalog.reading() as session:
        assert [step.standing.state for step in workitems.find(session, {})] == ["COMPLETED"]


def set_outbox(catalog: Catalog, state: str) -> None:
    with catalog.writing() as session:
        session.execute(tables.outbox.update().values(state=state))


def test_a_notice_of_a_failed_reading_is_no_step(catalog: Catalog) -> None:
    flow = queued(catalog)
    told = Told(flow)
    for attempt in range(3):
        flow.fail(flow.claimed(at=after(100 * attempt)), Failure.UNKNOWN, after(100 * attempt))
    told.announce()
    assert [job["kind"] for job in flow.jobs()] == ["analysis", "notice"]
    assert [(row["job_id"], row["state"]) for row in flow.rows(tables.workitem)] == [(1, "CANCELED")]


def test_a_study_without_ct_is_no_step(catalog: Catalog) -> None:
    told = Told(Flow(catalog))
    images = Series("mr").having(SOPClassUID="1.2.840.10008.5.1.4.1.1.4", Modality="MR").payloads(range(1))
    told.flow.receive(map(header_of_payload, images), AT)
    told.announce()
    assert told.flow.rows(tables.workitem) == []


def test_while_the_database_is_away_requests_fail_by_name_and_the_node_goes_on(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: Postgres
) -> None:
    with postgres_server.database() as url:
        database = url.rpartition("/")[2]
        with managed(tmp_path_factory.mktemp("away") / "data", database_url=url) as node:
            uid = step_of(node, brought(node, "away")[1])
            asked = [("action", uid, of(ReasonForCancellation=""), 2), ("get", uid, None, 0)]
            postgres_server.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
            assert [f"{each.status:04X}" for each in manage(node.dicom_port, asked)] == ["C312", "0110"]
            postgres_server.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
            assert [each.status for each in manage(node.dicom_port, asked)] == [0, 0]


def test_without_subscribers_in_the_settings_nobody_can_subscribe(tmp_path: Path) -> None:
    with managed(tmp_path / "data") as node:
        uid = step_of(node, brought(node, "nobody")[1])
        (answer,) = manage(node.dicom_port, [("action", uid, of(ReceivingAE="WATCHER", DeletionLock="FALSE"), 3)])
        assert (f"{answer.status:04X}", answer.comment) == ("C315", "No subscribers are named in the settings.")
