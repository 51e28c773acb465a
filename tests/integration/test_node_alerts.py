"""catalog/alerts.py, flow/alert.py, webhook.py on both databases: raised once, told until heard, cleared at the end."""

import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import update

from node import webhook
from node.catalog import alerts, breakers, tables
from node.catalog.jobs import worker_seen
from node.catalog.session import Catalog
from node.domain.alert import AlertKind, Condition
from node.domain.clock import Clocks
from node.errors import PeerFailed, Unavailable
from node.flow.alert import Telling, Watch, read_clocks
from node.webhook import Webhook
from tests.deliveries import PACS, with_results
from tests.flow import Flow, queued
from tests.hooks import Hook
from tests.peers import require
from tests.servers import eventually
from tests.studies import AT, Series, after


@dataclass
class Attention:
    """Everything that finds, raises and tells, with a disk, loops and clocks of our own."""

    flow: Flow
    free: float | None = 100.0
    """None: the disk does not answer."""
    failures: int = 0
    hangs: bool = False
    set_by: timedelta = timedelta(0)
    """How far somebody set the system's clock since the start."""
    hook: Hook = field(default_factory=Hook)

    def __post_init__(self) -> None:
        loops = lambda: [("anchor", self.failures, self.hangs)]  # noqa: E731 - as the wiring has it
        self.watch = Watch(self.flow.catalog, self.disk, loops, self.clocks)

    def disk(self) -> tuple[float, float]:
        if self.free is None:
            raise TimeoutError
        return self.free, 10.0

    def clocks(self) -> Clocks:
        now = read_clocks()
        return Clocks(now.wall + self.set_by, now.steady_s)

    def look(self) -> list[tuple[str, str]]:
        """One turn; returns kind and subject of what is open after it."""
        self.watch.step()
        return [(row["kind"], row["subject"]) for row in self.open()]

    def open(self) -> list[dict[str, object]]:
        with self.flow.catalog.reading() as session:
            return alerts.listing(session, everything=False)

    def tell(self, at: datetime | None = None) -> bool:
        post = partial(webhook.post, self.hook.url)
        now = at or datetime.now(UTC)
        return Telling(self.flow.catalog, post, "NODUS", random.Random(1), lambda: now).step()

    def change(self, statement: object) -> None:
        with self.flow.catalog.writing() as session:
            session.execute(statement)  # type: ignore[call-overload]


@pytest.fixture
def attention(catalog: Catalog) -> Attention:
    """Of a node where nothing has happened yet."""
    return Attention(Flow(catalog))


def test_where_nothing_is_wrong_nothing_is_raised(attention: Attention) -> None:
    assert attention.look() == []
    assert not attention.tell()
    assert attention.flow.audit() == []


def test_a_dead_job_is_raised_once_and_cleared_when_somebody_retried_it(catalog: Catalog) -> None:
    attention = Attention(queued(catalog))
    attention.change(update(tables.job).values(state="dead", failure="lost worker", not_before=datetime.now(UTC)))
    for _ in range(2):
        assert attention.look() == [("dead job", "1")]
    (raised,) = attention.flow.audit("alert raised")
    assert (raised.job_id, raised.outcome) == (1, 8)
    attention.change(update(tables.job).values(state="superseded"))
    assert attention.look() == []
    assert [entry.job_id for entry in attention.flow.audit("alert cleared")] == [1]
    attention.change(update(tables.job).values(state="dead"))
    assert attention.look() == [("dead job", "1")]
    assert len(attention.flow.audit("alert raised")) == 2


def test_an_open_breaker_and_a_refused_result_name_the_destination(catalog: Catalog) -> None:
    delivering = with_results(catalog, studies=3)
    attention = Attention(delivering.flow)
    delivering.pacs.answers = [0xC000, 0x0000, 0xC000]
    delivering.step()
    assert attention.look() == [("result refused", "PACS@pacs.local:104")]
    assert attention.open()[0]["detail"] == {"results": 2}
    attention.change(update(tables.job).values(state="superseded"))
    assert attention.look() == []  # another job stands for each study: what was refused is of no use any more
    attention.change(update(tables.outbox).values(state="due", created_at=datetime.now(UTC)))
    delivering.pacs.away = True
    delivering.until_it_opens()
    assert attention.look() == [("open breaker", "PACS@pacs.local:104")]
    assert attention.open()[0]["detail"] == {"reason": "PACS cannot be reached."}
    with catalog.writing() as session:
        assert breakers.answered(session, delivering.to, after(100))
    assert attention.look() == []


@pytest.mark.parametrize("status", [0x0110, 0x0124])
def test_a_destination_that_answers_and_takes_nothing_for_an_hour_is_told(catalog: Catalog, status: int) -> None:
    delivering = with_results(catalog)
    attention = Attention(delivering.flow)
    for minutes, told in {55: [], 65: [("result overdue", "PACS@pacs.local:104")]}.items():
        since = datetime.now(UTC) - timedelta(minutes=minutes)
        attention.change(update(tables.outbox).values(created_at=since))
        attention.change(update(tables.study).values(completed_at=since))
        delivering.pacs.answers = [status]
        delivering.step()
        delivering.clock.goes_on(60)
        assert attention.look() == told
    assert attention.open()[0]["detail"] == {"results": 1}  # the report waits behind the segmentation
    delivering.step()
    assert delivering.states() == ["delivered", "delivered"]
    assert attention.look() == []


def test_what_was_refused_of_files_that_an_operator_removed_is_no_alert_any_more(catalog: Catalog) -> None:
    delivering = with_results(catalog)
    attention = Attention(delivering.flow)
    delivering.pacs.answers = [0xC000]
    delivering.step()
    assert attention.look() == [("result refused", "PACS@pacs.local:104")]
    attention.change(update(tables.result).values(purged_at=AT))
    assert attention.look() == []


def test_a_conflict_names_the_study_and_is_quiet_when_somebody_takes_care_of_it(attention: Attention) -> None:
    attention.flow.receive(Series().headers(range(3)))
    attention.change(update(tables.study).values(conflicts=2))
    attention.change(update(tables.instance).where(tables.instance.c.id < 3).values(version="conflict"))
    assert attention.look() == [("conflict", Series().study_uid)]
    (alert,) = attention.open()
    assert alert["detail"] == {"instances": 2}
    with attention.flow.catalog.writing() as session:
        alerts.acknowledge(session, int(str(alert["id"])), AT)
        assert alerts.count_by_kind(session) == {}
    assert attention.look() == []
    (acknowledged,) = attention.flow.audit("alert acknowledged")
    assert (acknowledged.actor, acknowledged.study_instance_uid) == ("operator", Series().study_uid)
    attention.change(update(tables.study).values(conflicts=0))
    attention.look()
    attention.change(update(tables.study).values(conflicts=1))
    assert attention.look() == [("conflict", Series().study_uid)]


def test_other_demographics_after_results_were_sent_are_told_until_an_operator_decides(attention: Attention) -> None:
    attention.flow.receive(Series().headers(range(3)))
    attention.change(update(tables.study).values(conflicts=1))
    attention.change(update(tables.instance).where(tables.instance.c.id == 1).values(version="demographics"))
    assert attention.look() == [("demographics changed", Series().study_uid)]
    attention.change(update(tables.instance).values(version="authoritative"))
    assert attention.look() == []


def test_jobs_that_wait_for_long_without_a_worker_are_told(catalog: Catalog) -> None:
    attention = Attention(queued(catalog))
    now = datetime.now(UTC)
    attention.change(update(tables.job).values(not_before=now - timedelta(minutes=4)))
    assert attention.look() == []
    attention.change(update(tables.job).values(not_before=now - timedelta(minutes=6)))
    assert attention.look() == [("no worker", "")]
    with catalog.writing() as session:
        worker_seen(session, "w1", 1, now)
    assert attention.look() == []


def test_a_disk_that_fills_and_a_loop_that_fails_are_told(attention: Attention) -> None:
    attention.free, attention.failures = 12.0, 8
    assert attention.look() == [("disk filling", ""), ("loop failing", "anchor")]
    attention.free, attention.failures = 9.0, 0
    assert attention.look() == [("disk low", "")]
    attention.free = 100.0
    assert attention.look() == []


def test_loops_that_hang_on_a_volume_are_told_while_what_was_known_of_it_stands(attention: Attention) -> None:
    attention.free = 9.0
    assert attention.look() == [("disk low", "")]
    attention.free, attention.hangs = None, True
    assert attention.look() == [("disk low", ""), ("loop failing", "anchor")]
    attention.free, attention.hangs = 100.0, False
    assert attention.look() == []


def test_a_clock_that_jumps_is_an_event_and_one_beside_the_database_lasts(attention: Attention) -> None:
    attention.set_by = timedelta(hours=1)
    assert attention.look() == [("database clock", ""), ("clock jumped", "")]
    assert attention.open()[1]["detail"]["jump_s"] == pytest.approx(3600, abs=30)  # type: ignore[index]
    attention.set_by = timedelta(hours=1, seconds=25)
    assert attention.look() == [("database clock", ""), ("clock jumped", "")]
    attention.set_by = timedelta(0)
    assert attention.look() == [("clock jumped", "")]
    with attention.flow.catalog.writing() as session:
        alerts.acknowledge(session, 2, AT)
    assert attention.look() == []
    with pytest.raises(Unavailable), attention.flow.catalog.writing() as session:
        alerts.acknowledge(session, 2, AT)


def test_an_event_of_another_part_is_raised_once_until_it_is_acknowledged(attention: Attention) -> None:
    event = Condition(AlertKind.CLOCK_JUMPED, "another clock", {"jump_s": 2})
    with attention.flow.catalog.writing() as session:
        assert [alerts.raise_(session, event, AT) for _ in range(2)] == [True, False]
    assert attention.look() == [("clock jumped", "another clock")]
    with attention.flow.catalog.writing() as session:
        alerts.acknowledge(session, 1, AT)
        assert alerts.raise_(session, event, AT)


def test_a_webhook_that_is_down_is_told_later_and_each_alert_once(attention: Attention) -> None:
    attention.failures, attention.free = 8, 9.0
    attention.look()
    now = datetime.now(UTC) + timedelta(seconds=1)
    assert not attention.tell(now)  # the disk
    assert not attention.tell(now)  # the loop
    rows = attention.open()
    assert [row["attempts"] for row in rows] == [1, 1]
    assert not attention.tell(now)  # both wait
    with attention.hook.listening():
        assert not attention.tell(now)
        assert attention.hook.bodies == []
        assert attention.tell(now + timedelta(seconds=4))
        assert attention.tell(now + timedelta(seconds=4))
        assert not attention.tell(now + timedelta(days=9))
    first, second = attention.hook.posts()
    assert (first["kind"], second["kind"], second["subject"]) == ("disk low", "loop failing", "anchor")
    assert set(first) == {"id", "kind", "subject", "raised_at", "cleared_at", "node", "detail"}
    assert (first["node"], first["cleared_at"]) == ("NODUS", None)
    assert datetime.fromisoformat(first["raised_at"]) == rows[0]["raised_at"]


@pytest.mark.parametrize("status", [302, 307, 400, 503])
def test_a_redirect_or_a_refusal_is_not_heard_and_followed_nowhere(attention: Attention, status: int) -> None:
    attention.free = 9.0
    attention.look()
    attention.hook.answers = [status]
    with attention.hook.listening():
        assert not attention.tell()
        assert len(attention.hook.bodies) == 1
        assert attention.hook.gets == 0
        assert attention.tell(datetime.now(UTC) + timedelta(seconds=4))


def test_a_webhook_that_never_comes_to_an_end_holds_nobody_up(attention: Attention) -> None:
    """Each byte of its answer comes before one may call it silent."""
    attention.hook.trickles = True
    with attention.hook.listening():
        slow = Webhook(attention.hook.url, within_s=0.5)
        for _ in range(2):  # the second finds the first still under way
            with pytest.raises(PeerFailed, match=r"did not answer within 0\.5 s"):
                slow.post({})
    attention.hook.trickles = False
    with attention.hook.listening():
        eventually(lambda: _is_told(slow), what="it is told again")
    assert set(attention.hook.bodies) == {"{}"}


def _is_told(hook: Webhook) -> bool:
    try:
        hook.post({})
    except PeerFailed:
        return False
    return True


def test_what_ended_before_anybody_tried_to_tell_it_is_not_told(attention: Attention) -> None:
    attention.free = 9.0
    attention.look()
    attention.free = 100.0
    attention.look()
    with attention.hook.listening():
        assert not attention.tell()


def test_what_ended_while_the_webhook_was_down_is_told_with_its_end(attention: Attention) -> None:
    attention.free = 9.0
    attention.look()
    assert not attention.tell()
    attention.free = 100.0
    attention.look()
    with attention.hook.listening():
        assert attention.tell(datetime.now(UTC) + timedelta(seconds=4))
    (post,) = attention.hook.posts()
    assert post["cleared_at"] > post["raised_at"]


def test_the_reason_of_a_failure_holds_neither_the_address_nor_its_secret() -> None:
    with pytest.raises(PeerFailed) as failed:
        webhook.post(Hook().url, {})
    assert str(failed.value) == "The webhook cannot be reached (URLError)."


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, hook = tmp_path / "hook.pem", Hook()
    command = [require("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "2"]
    command += ["-subj", "/CN=hook", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", certificate, "-out", tmp_path / "c"], check=True, capture_output=True)
    certificate.write_bytes(certificate.read_bytes() + (tmp_path / "c").read_bytes())
    url = hook.url.replace("http:", "https:")
    with hook.listening(certificate):
        with pytest.raises(PeerFailed):
            webhook.post(url, {})
        assert hook.bodies == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))  # as an administrator vouches for one
        webhook.post(url, {})
    assert hook.bodies == ["{}"]


NAME, ID, ACCESSION = "Zqsentinel^Maria", "ZQ4711ID", "ZQ4711ACC"


@pytest.fixture
def everything_wrong(catalog: Catalog) -> Iterator[Attention]:
    """A patient's study dead, in conflict, refused and away, all at once."""
    flow = Flow(catalog)
    flow.destination(PACS)
    patient = Series("sentinel").having(PatientName=NAME, PatientID=ID, AccessionNumber=ACCESSION)
    flow.receive(patient.headers(), after(-3))
    flow.complete(AT)
    attention = Attention(flow, free=1.0, failures=9, set_by=timedelta(0))
    attention.change(update(tables.study).values(conflicts=1))
    attention.change(update(tables.instance).where(tables.instance.c.id == 1).values(version="conflict"))
    attention.change(update(tables.job).values(state="dead", failure="unknown", failure_text=NAME))
    attention.change(update(tables.destination).values(breaker="open", breaker_reason="PACS cannot be reached."))
    attention.set_by = timedelta(hours=-2)
    yield attention


def test_no_alert_names_a_patient(everything_wrong: Attention, caplog: pytest.LogCaptureFixture) -> None:
    attention = everything_wrong
    found = attention.look()
    assert len({kind for kind, _ in found}) >= 6
    with attention.hook.listening():
        while attention.tell(datetime.now(UTC) + timedelta(hours=3)):
            pass
    assert len(attention.hook.bodies) == len(found)
    said = "".join([*attention.hook.bodies, *(str(record.__dict__) for record in caplog.records)])
    said += "".join(str(row) for row in (*attention.flow.audit(), *attention.flow.rows(tables.alert)))
    assert Series("sentinel").study_uid in said
    assert not [word for word in ("zqsentinel", "zq4711") if word in said.lower()]


def test_a_restart_raises_nothing_twice_and_forgets_nothing(catalog: Catalog) -> None:
    before = Attention(Flow(catalog), free=9.0)
    before.look()
    after_restart = Attention(before.flow, free=9.0)
    assert after_restart.look() == [("disk low", "")]
    assert len(before.flow.audit("alert raised")) == 1
