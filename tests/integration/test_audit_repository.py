"""The audit trail at a repository: rsyslog, over TLS and UDP, which dies, hangs, and is not who it should be."""

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from node.audit import atna, syslog
from node.catalog import alerts, audit, repository
from node.catalog.session import Catalog
from node.domain.alert import AlertKind
from node.domain.audit import Event, EventKind
from node.domain.collector import AWAY_AFTER, Collector
from node.flow.forward_audit import SETTLES_AFTER_S, Forwarding
from tests.audit_messages import from_syslog, objects, row_of
from tests.conftest import Typed
from tests.flow import Flow
from tests.sender import send
from tests.sentinel import ID, NAME, PATIENT
from tests.servers import HASTY, Nodus, Repository, audit_repository, eventually, nodus
from tests.studies import AT, Series


@pytest.fixture(params=["gtls", "ossl"])
def collector(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Repository]:
    with audit_repository(tmp_path / "repository", request.param) as started:
        yield started


@pytest.fixture
def gtls(tmp_path: Path) -> Iterator[Repository]:
    with audit_repository(tmp_path / "repository") as started:
        yield started


def by_tls(to: Repository, **more: object) -> Collector:
    return replace(Collector("localhost", to.port, True, to.folder / "ca.pem"), **more)  # type: ignore[arg-type]


def by_udp(to: Repository) -> Collector:
    return Collector("127.0.0.1", to.port, False)


@dataclass
class Site:
    """A trail that grows as it is told, what forwards it, and a clock of our own."""

    catalog: Catalog
    to: Collector
    at_s: float = 0.0
    forwarding: Forwarding = field(init=False)
    lines: list[syslog.Line] = field(default_factory=list)
    """Every one that was opened."""

    def __post_init__(self) -> None:
        self.restart()

    def open_line(self, to: Collector) -> syslog.Line:
        self.lines.append(syslog.connect(to))
        return self.lines[-1]

    def restart(self) -> None:
        """As after SIGKILL: only SQL remembers."""
        us = atna.Node("NODUS", "node.local")
        self.forwarding = Forwarding(
            self.catalog, self.to, us, True, lambda: AT + timedelta(seconds=self.at_s), lambda: self.at_s,
            random.Random(1), self.open_line,
        )  # fmt: skip

    def write(self, rows: int, study: str = "") -> None:
        with self.catalog.writing() as session:
            for number in range(rows):
                audit.append(session, Event(EventKind.JOB_DONE, study_instance_uid=study, detail={"number": number}))

    def turns(self, after_s: float = 0.0) -> None:
        """Every turn that there is to take, some time later."""
        self.at_s += after_s
        while self.forwarding.step():
            pass

    @property
    def standing(self) -> repository.Standing:
        with self.catalog.reading() as session:
            return repository.standing(session)


Make = Callable[[Collector], Site]


@pytest.fixture
def make(catalog: Catalog) -> Iterator[Make]:
    """A site on each database; its lines are closed in the end."""
    made: list[Site] = []

    def site(to: Collector) -> Site:
        made.append(Site(catalog, to))
        return made[-1]

    yield site
    for line in [line for each in made for line in each.lines]:
        line.close()


def rows_of(to: Repository) -> list[int]:
    return [row_of(from_syslog(line)) for line in to.lines()]


def require_order(rows: list[int], last: int, repeats: int) -> None:
    """Each row after the one before it, from the first to the last; only so often it begins again somewhat earlier."""
    again = [(one, then) for one, then in pairwise(rows) if then != one + 1]
    assert all(then <= one for one, then in again), again
    assert len(again) <= repeats, again
    assert rows[0] == 1
    assert rows[-1] == last


def wait_for(to: Repository, last: int) -> list[int]:
    return eventually(lambda: (rows := rows_of(to)) and rows[-1] == last and rows, what=f"row {last} is there") or []


def test_every_row_is_at_the_repository_in_order_and_settles(make: Make, collector: Repository) -> None:
    site = make(by_tls(collector))
    site.write(450)
    site.turns()
    assert wait_for(collector, 450) == list(range(1, 451))
    assert site.standing.seq == 0  # it may still die with what it has read
    site.turns(SETTLES_AFTER_S)
    assert site.standing == repository.Standing(450, site.to.place, AT + timedelta(seconds=SETTLES_AFTER_S))
    site.write(1)
    site.turns()
    assert wait_for(collector, 451) == list(range(1, 452))


def test_a_repository_that_is_killed_gets_again_what_it_read_in_its_last_moments(make: Make, gtls: Repository) -> None:
    site = make(by_tls(gtls))
    site.write(30)
    site.turns()
    site.turns(SETTLES_AFTER_S)
    site.write(5)
    site.turns()
    wait_for(gtls, 35)
    gtls.kill()
    site.write(5)
    site.turns(1.0)
    site.turns(60.0)
    assert site.standing.seq == 30
    assert (site.standing.failures, site.standing.error) == (
        2,
        "The audit repository cannot be reached (ECONNREFUSED).",
    )
    gtls.start()
    site.turns(600.0)
    assert wait_for(gtls, 40) == [*range(1, 36), *range(31, 41)]
    assert (site.standing.failures, site.standing.failing_since) == (0, None)


def test_a_node_that_is_killed_repeats_and_leaves_no_gap(make: Make, gtls: Repository) -> None:
    site = make(by_tls(gtls))
    site.write(10)
    site.turns()
    site.restart()
    site.write(2)
    site.turns()
    assert wait_for(gtls, 12) == [*range(1, 11), *range(1, 13)]


def test_a_repository_that_takes_and_does_not_read_has_nothing(
    make: Make, collector: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syslog, "WITHIN_S", 1.0)
    site = make(by_tls(collector))
    site.turns()
    with collector.frozen():
        site.write(3)
        site.turns(1.0)
        site.turns(SETTLES_AFTER_S)
        assert site.standing.seq == 0
        assert site.standing.failures >= 1
    site.turns(600.0)
    require_order(wait_for(collector, 3), 3, repeats=2)


def test_a_collector_that_closes_its_lines_at_will_gets_a_row_twice_and_no_more(make: Make, gtls: Repository) -> None:
    site = make(by_tls(gtls))
    site.write(3)
    for _ in range(4):
        site.turns(1.0)
        site.lines[-1].close()
    assert wait_for(gtls, 3) == [1, 2, 3, 1, 2, 3]
    assert site.standing.seq == 3


@pytest.mark.parametrize("wrong", [{"host": "127.0.0.1"}, {"name": "other.local"}, {"authorities": None}], ids=str)
def test_who_is_not_the_repository_gets_nothing(make: Make, gtls: Repository, wrong: dict[str, object]) -> None:
    site = make(by_tls(gtls, **wrong))
    site.write(1)
    site.turns()
    assert site.standing.error == "The certificate of the audit repository is none that can be trusted under its name."
    assert rows_of(gtls) == []


@pytest.mark.parametrize("driver", ["gtls", "ossl"])
def test_a_repository_that_asks_for_our_certificate_gets_everything_with_it_and_without_it_nothing_counts(
    make: Make, tmp_path: Path, driver: str
) -> None:
    with audit_repository(tmp_path / "repository", driver, "x509/name") as strict:
        site = make(by_tls(strict))
        site.write(3)
        site.turns()
        site.turns(60.0)
        site.turns(SETTLES_AFTER_S)
        assert site.standing.seq == 0
        assert site.standing.failures > 0
        folder = strict.folder
        site.to = by_tls(strict, certificate=folder / "client.pem", key=folder / "client.key")
        site.restart()
        site.turns()
        assert wait_for(strict, 3) == [1, 2, 3]


def test_over_udp_every_row_arrives_and_a_dead_collector_is_noticed(make: Make, gtls: Repository) -> None:
    site = make(by_udp(gtls))
    site.write(120)
    site.turns()
    assert wait_for(gtls, 120) == list(range(1, 121))
    site.turns(SETTLES_AFTER_S)
    gtls.kill()
    site.write(2)
    site.turns()
    assert site.standing.error == "The audit repository does not take datagrams (ECONNREFUSED)."
    gtls.start()
    site.turns(600.0)
    assert wait_for(gtls, 122) == list(range(1, 123))


def test_a_repository_that_is_away_for_long_is_an_alert_until_it_answers(make: Make, catalog: Catalog) -> None:
    def found() -> list[tuple[str, dict[str, object]]]:
        with catalog.reading() as session:
            known = alerts.conditions(session)
        return [(each.subject, dict(each.detail)) for each in known if each.kind is AlertKind.AUDIT_REPOSITORY]

    def fail(ago: timedelta) -> None:
        with catalog.writing() as session:
            repository.failed(session, "tls://log:6514", "Away.", alerts.now_of(session) - ago)

    make(Collector("log", 6514, True)).write(2)
    fail(AWAY_AFTER - timedelta(minutes=1))
    assert found() == []
    with catalog.writing() as session:
        repository.took(session, 1, "tls://log:6514", AT)
    fail(AWAY_AFTER + timedelta(minutes=1))
    fail(timedelta())
    assert found() == [("tls://log:6514", {"reason": "Away.", "rows": 1})]
    with catalog.writing() as session:
        repository.configure(session, "tls://other:6514")
    assert found() == []


def test_the_command_says_how_far_it_is(typed: Typed, left_catalog: Catalog, data: Path, tmp_path: Path) -> None:
    Site(left_catalog, Collector("log", 6514, True)).write(5)
    assert typed("audit", "repository", "--data", str(data))[0] == 0
    (tmp_path / "nodus.toml").write_text('[audit_repository]\nhost = "log"\n')
    assert "tls://log:6514" in typed("audit", "repository", "--data", str(data))[1]
    with left_catalog.writing() as session:
        repository.took(session, 3, "tls://log:6514", AT)
        repository.failed(session, "tls://log:6514", "It is away.", AT)
    code, said = typed("audit", "repository", "--data", str(data))
    assert code == 1
    assert "It is away." in said


def test_who_reads_the_trail_is_in_it(typed: Typed, left_catalog: Catalog, data: Path) -> None:
    assert typed("audit", "list", "--study", "1.2", "--data", str(data))[0] == 0
    assert typed("audit", "export", "--data", str(data))[0] == 0
    used = Flow(left_catalog).audit("audit log used")
    assert [(each.actor, each.study_instance_uid) for each in used] == [("operator", "1.2"), ("operator", "")]


def test_certificate_files_that_are_none_end_the_start_in_a_sentence(tmp_path: Path) -> None:
    settings = tmp_path / "nodus.toml"
    settings.write_text('port = 0\nweb_port = 0\n[audit_repository]\nhost = "log"\nauthorities = "none.pem"\n')
    command = [sys.executable, "-m", "node", "up", "--data", str(tmp_path / "data"), "--config", str(settings)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        "nodus: The certificate files of audit_repository cannot be used (FileNotFoundError)."
    )


@pytest.mark.parametrize("transport", ["tls", "udp"])
def test_a_node_tells_all_that_happens_though_its_repository_is_killed_and_back(
    tmp_path: Path, gtls: Repository, transport: str
) -> None:
    asked = {"host": "localhost" if transport == "tls" else "127.0.0.1", "port": gtls.port, "transport": transport,
             "authorities": str(gtls.folder / "ca.pem")}  # fmt: skip
    with nodus(tmp_path / "data", audit_repository=asked, senders=HASTY) as node:
        send(node.dicom_port, Series("first").having(**PATIENT).payloads())
        eventually(lambda: node.audit("study complete"), what="the first study is complete")
        wait_for(gtls, last_row(node)())
        gtls.kill()
        send(node.dicom_port, Series("second").having(**PATIENT).payloads())
        eventually(lambda: len(node.audit("study complete")) == 2, what="the second study is complete")
        assert node.json("audit", "repository", code=1)["error"]
        assert node.metric(f'nodus_audit_repository_backlog{{repository="{transport}://{asked["host"]}:{gtls.port}"}}')
        gtls.start()
        send(node.dicom_port, Series("third").having(**PATIENT).payloads())
        eventually(lambda: len(node.audit("study complete")) == 3, what="the third study is complete")
        end = last_row(node)()
        eventually(lambda: end in rows_of(gtls), 60, "everything is told")
        require_order(rows_of(gtls)[: rows_of(gtls).index(end) + 1], end, repeats=2)
        assert ("go in the clear" in node.log()) == (transport == "udp")
        assert NAME.partition("^")[0] not in "".join(gtls.lines())
        patients = [each for line in gtls.lines() for each in objects(from_syslog(line), "2")]
        assert {each.get("ParticipantObjectID") for each in patients} == {ID}
    assert ID not in node.log()


def last_row(node: Nodus) -> Callable[[], int]:
    return lambda: node.audit()[-1].seq
