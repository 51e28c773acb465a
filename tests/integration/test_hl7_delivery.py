"""Released readings as HL7 messages to a RIS: python-hl7's server, which acknowledges, refuses, hangs, and dies."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import update

from node.catalog import breakers, installation, outbox, tables
from node.catalog.peers import KnownDestination
from node.catalog.session import Catalog
from node.domain.breaker import BreakerState
from node.domain.delivery import ResultKind
from node.domain.outcome import Outcome
from node.flow import release
from node.flow.messages import Messaging
from node.hl7 import mllp
from node.settings.telling import Hl7Settings
from tests import sites
from tests.conftest import Typed
from tests.deliveries import STUDY, Clock, finish_by_hand
from tests.flow import Flow
from tests.sender import send
from tests.sentinel import ID, PATIENT, sentinels_in
from tests.servers import HASTY, eventually, free_port, nodus
from tests.servers.ris import Ris, observations, ris, value
from tests.studies import Series

ALL = (ResultKind.SEG, ResultKind.SR)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ris]:
    with ris(tmp_path_factory.mktemp("ris")) as started:
        yield started


@pytest.fixture
def peer(shared: Ris) -> Ris:
    """A RIS that has got nothing yet, and answers with AA."""
    shared.will()
    (shared.folder / "received").unlink(missing_ok=True)
    return shared


@dataclass
class Site:
    """A flow, one receiver, and a clock."""

    flow: Flow
    settings: Hl7Settings
    clock: Clock = field(default_factory=Clock)
    within_s: float = 20.0
    to: KnownDestination = field(init=False)

    def __post_init__(self) -> None:
        (self.to,) = self.flow.destination(self.settings.destination())

    def read(
        self, series: Series, outcome: Outcome = Outcome.FINDINGS, first: int = 0, kinds: Sequence[ResultKind] = ALL
    ) -> None:
        """A study comes, or more of it from some image on, is read and released."""
        self.flow.receive(series.headers(range(first, series.count)), self.clock())
        self.clock.goes_on(3)
        self.flow.complete(self.clock())
        (job,) = [each["id"] for each in self.flow.jobs() if each["state"] == "queued"]
        self.flow.finish(job, self.clock(), kinds)
        with self.flow.catalog.writing() as session:
            session.execute(update(tables.job).where(tables.job.c.id == job).values(outcome=outcome))
        assert release.step(self.flow.catalog, self.clock())

    def step(self, after_s: float = 0.0) -> bool:
        """A turn, as after a restart: only SQL remembers."""
        self.clock.goes_on(after_s)
        return Messaging(
            self.flow.catalog, self.to, partial(mllp.connected, self.within_s), Path, random.Random(1), self.clock,
            receiver=self.settings.receiver("NODUS"),
        ).step()  # fmt: skip

    def spoken_to(self, **how: object) -> None:
        """By other settings, at the same place."""
        (self.to,) = self.flow.destination(self.settings.model_copy(update=how).destination())

    def rows(self) -> list[tuple[str, int, str]]:
        """(state, attempts, error) of each message."""
        return [(row["state"], row["attempts"], row["error"]) for row in self.flow.rows(tables.outbox)]

    @property
    def breaker(self) -> BreakerState:
        with self.flow.catalog.reading() as session:
            return breakers.of(session, self.to).state


Make = Callable[..., Site]


@pytest.fixture
def make(catalog: Catalog, peer: Ris) -> Make:
    """A site on each database, with one study to tell of."""
    with catalog.writing() as session:
        installation.make(session)

    def site(port: int | None = None, **more: object) -> Site:
        settings = Hl7Settings(name="RIS", host="127.0.0.1", port=port or peer.port, **more)  # type: ignore[arg-type]
        made = Site(Flow(catalog), settings)
        made.read(Series("told"))
        return made

    return site


def numbers(peer: Ris) -> list[str]:
    return [value(each, "MSH", 10) for each in peer.messages()]


def test_a_released_reading_is_told_once(make: Make, peer: Ris) -> None:
    site = make()
    assert site.step()
    assert not site.step(3600.0)
    assert site.rows() == [("delivered", 1, "")]
    (message,) = peer.messages()
    assert value(message, "OBR", 3) == "ACC-told"
    assert value(message, "PID", 3) == "TEST-told"
    assert observations(message)["113014"][0] == Series("told").study_uid
    (row,) = site.flow.audit("result delivered")
    assert '"kind": "ORU"' in row.detail
    assert value(message, "MSH", 10) in row.detail


def test_nothing_is_told_before_the_study_is_complete(catalog: Catalog, make: Make, peer: Ris) -> None:
    site = make()
    site.step()
    series = Series("open")
    site.flow.receive(series.headers(), site.clock())
    site.clock.goes_on(3)
    site.flow.complete(site.clock())
    site.flow.finish(2, site.clock())
    assert not site.step()
    assert [state for state, _, _ in site.rows()] == ["delivered", "held"]
    assert len(peer.received()) == 1


@pytest.mark.parametrize("answer", ["AE", "AR", "AE:204"])
def test_a_refusal_is_final_and_told_and_quotes_nobody(make: Make, peer: Ris, answer: str) -> None:
    site = make()
    peer.will(answer)
    assert site.step()
    assert not site.step(86400.0)
    said = answer.replace(":204", " (204)")
    assert site.rows() == [("refused", 1, f"The receiver answered {said}.")]
    assert len(peer.received()) == 1
    assert site.breaker is BreakerState.CLOSED
    with site.flow.catalog.reading() as session:
        assert outbox.missed(session) == {site.to.destination.place: 1}
    assert sentinels_in(str(site.flow.audit())) == []


def test_a_receiver_that_cannot_now_is_asked_again(make: Make, peer: Ris) -> None:
    site = make()
    peer.will("AE:207")
    site.step()
    assert site.rows() == [("due", 1, "The receiver answered AE (207).")]
    site.step(10.0)
    assert site.rows() == [("delivered", 2, "")]
    assert len(set(numbers(peer))) == 1


@pytest.mark.parametrize(
    ("word", "error", "came"),
    [
        ("hang", "The receiver did not acknowledge the message within 1 s.", 2),
        ("late", "The receiver did not acknowledge the message within 1 s.", 2),
        ("close", "The receiver broke off (ConnectionResetError).", 2),
        ("half", "The receiver broke off (ConnectionResetError).", 2),
        ("cut", "The receiver broke off (ConnectionResetError).", 1),
        ("other", "The receiver acknowledged another message.", 2),
        ("garbage", "The receiver answered with what is no acknowledgement.", 2),
    ],
)
def test_without_an_answer_the_same_message_is_sent_again_under_the_same_number(
    make: Make, peer: Ris, word: str, error: str, came: int
) -> None:
    site = make()
    site.within_s = 1.0
    peer.will(word)
    site.step()
    assert site.rows() == [("due", 1, error)]
    site.within_s = 20.0
    site.step(10.0)
    assert site.rows() == [("delivered", 2, "")]
    received = peer.received()
    assert len(received) == came
    assert len(set(received)) == 1


def test_a_receiver_that_is_down_opens_its_breaker_and_gets_everything_later(make: Make, peer: Ris) -> None:
    down = free_port()
    site = make(port=down)
    for _ in range(3):
        site.step(10.0)
    assert site.breaker is BreakerState.OPEN
    assert site.rows() == [("due", 0, "RIS cannot be reached (ConnectionRefusedError).")]
    with ris(peer.folder / "back") as back:
        site.to = replace(site.to, destination=replace(site.to.destination, port=back.port))
        site.step(3600.0)
        assert site.breaker is BreakerState.CLOSED
        assert site.rows() == [("delivered", 1, "")]
        assert len(back.received()) == 1


def test_a_receiver_is_told_over_tls_and_one_that_does_not_prove_itself_is_a_security_alert(
    make: Make, site: sites.Site, tmp_path: Path
) -> None:
    with ris(tmp_path / "ris", (site, "pacs")) as secure:
        told = make(port=secure.port, tls_name="another.example", **site.peer())
        told.step()
        assert told.rows() == [("due", 0, "RIS: no TLS handshake: its certificate is not good: another name.")]
        assert [row.actor for row in told.flow.audit("security alert")] == ["RIS"]
        told.spoken_to(tls_name="", **site.peer("stranger"))
        told.step(10.0)
        ((state, _, error),) = told.rows()
        assert (state, "does not believe our certificate" in error or "broke off" in error) == ("due", True)
        told.spoken_to(tls_name="", **site.peer())
        told.step(60.0)
        assert [state for state, _, _ in told.rows()] == ["delivered"]
        assert len(secure.received()) == 1


def test_a_newer_reading_is_a_correction_and_goes_behind_the_older_one(make: Make, peer: Ris) -> None:
    site = make(outcomes=["findings"])
    peer.will("AE:207", "AE:207")
    site.step()
    site.read(Series("told", count=70), Outcome.NO_FINDINGS, first=64)
    site.step()
    assert [state for state, _, _ in site.rows()] == ["due", "due"]  # the first is not told yet
    site.step(30.0)
    assert [state for state, _, _ in site.rows()] == ["delivered", "delivered"]
    assert [value(each, "OBR", 25) for each in peer.messages()] == ["P", "P", "P", "C"]
    assert len(set(numbers(peer))) == 2


def test_what_nobody_was_told_of_is_replaced_in_silence(make: Make, peer: Ris) -> None:
    site = make()
    site.read(Series("told", count=70), first=64)
    site.step()
    assert [state for state, _, _ in site.rows()] == ["cancelled", "delivered"]
    assert [value(each, "OBR", 25) for each in peer.messages()] == ["P"]


def test_a_reading_without_a_report_is_told_and_no_later_report_names_it(make: Make, peer: Ris) -> None:
    site = make()
    site.read(Series("lungless"), Outcome.NOT_ANALYSED, kinds=())
    site.step()
    site.read(Series("lungless", count=70), first=64)
    site.step()
    assert site.flow.jobs()[-1]["predecessor_job_id"] is None
    assert [value(each, "OBR", 25) for each in peer.messages()] == ["P", "P", "C"]
    assert "REPORT" in observations(peer.messages()[-1])


def test_an_outcome_that_is_not_wanted_is_set_aside_and_the_rest_goes_on(make: Make, peer: Ris) -> None:
    site = make(outcomes=["no findings"])
    site.read(Series("clear"), Outcome.NO_FINDINGS)
    site.step()
    assert [state for state, _, _ in site.rows()] == ["cancelled", "delivered"]
    (row,) = site.flow.audit("message not wanted")
    assert row.study_instance_uid == Series("told").study_uid
    assert len(peer.received()) == 1


def test_a_study_without_an_accession_number_is_refused_here_and_the_rest_goes_on(make: Make, peer: Ris) -> None:
    site = make()
    site.step()
    site.read(Series("none").having(AccessionNumber=""))
    site.read(Series("next"))
    site.step()
    assert [state for state, _, _ in site.rows()] == ["delivered", "refused", "delivered"]
    assert site.rows()[1][2] == "The study has no accession number: there is no order that a message could answer."


def test_a_message_that_was_altered_here_is_not_sent(make: Make, peer: Ris) -> None:
    site = make()
    peer.will("AE:207")
    site.step()
    with site.flow.catalog.writing() as session:
        session.execute(update(tables.message).values(content=tables.message.c.content + " "))
    site.step(60.0)
    assert site.rows() == [("refused", 1, "The message was altered here: its SHA-256 is another.")]
    assert len(peer.received()) == 1


def test_echo_says_whether_a_receiver_is_there(typed: Typed, left_catalog: Catalog, data: Path, peer: Ris) -> None:
    flow = Flow(left_catalog)
    flow.destination(Hl7Settings(name="RIS", host="127.0.0.1", port=peer.port).destination())
    assert typed("destinations", "echo", "--data", str(data))[0] == 0
    assert "hl7" in typed("destinations", "--data", str(data))[1]
    flow.destination(Hl7Settings(name="RIS", host="127.0.0.1", port=free_port()).destination())
    code, said = typed("destinations", "echo", "--data", str(data))
    assert (code, "RIS cannot be reached (ConnectionRefusedError)." in said) == (1, True)
    assert typed("destinations", "pause", "RIS", "--data", str(data))[0] == 0


def test_a_node_that_is_killed_between_message_and_acknowledgement_sends_it_again(tmp_path: Path, peer: Ris) -> None:
    asked = [{"name": "RIS", "host": "127.0.0.1", "port": peer.port}]
    with nodus(tmp_path / "data", senders=HASTY, hl7=asked) as node:
        peer.will("hang")
        send(node.dicom_port, STUDY.having(**PATIENT).payloads())
        finish_by_hand(node)
        eventually(lambda: len(peer.received()) == 1, what="the message is there")
        assert [row["state"] for row in Flow(node.catalog).rows(tables.outbox)] == ["due"]
        node.kill()
        node.start()
        eventually(lambda: len(peer.received()) == 2, 60, "it is there again")
        eventually(lambda: [row["state"] for row in Flow(node.catalog).rows(tables.outbox)] == ["delivered"])
        assert len(set(peer.received())) == 1
        assert value(peer.messages()[0], "PID", 3) == ID
        said = node.json("studies", STUDY.study_uid)["jobs"][0]["results"]
        assert [(each["ae_title"], each["kind"], each["state"]) for each in said] == [("RIS", "ORU", "delivered")]
        assert sentinels_in(node.log() + node.web("/metrics").body + node.command("destinations")) == []
        assert node.web("/readyz").status == 200
