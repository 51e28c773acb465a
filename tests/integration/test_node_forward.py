"""flow/forward.py on both databases: which images go where, once each, and what becomes of them."""

import random
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from node.catalog import breakers, forwards, missing, retention, tables
from node.catalog.peers import KnownDestination
from node.catalog.session import Catalog
from node.domain.breaker import BreakerState
from node.domain.commitment import Proof
from node.domain.delivery import ResultKind
from node.domain.forwarding import ForwardState
from node.domain.peers import Destination
from node.domain.prefetch import Fetch
from node.domain.reception import Ending
from node.domain.route import Route
from node.domain.rules import Rule, RuleBook, caller
from node.domain.study import OpenStudy
from node.errors import PeerFailed
from node.flow import complete, register, release
from node.flow.clock import Clock as FlowClock
from node.flow.forward import AT_ONCE, Forwarding
from node.flow.routing import Router
from node.headers.attributes import criterion_of
from node.spool import Spool
from tests.deliveries import Clock
from tests.flow import Flow, results
from tests.sender import Payload
from tests.studies import AT, Series, after, keep_all, reception

ARCHIVE = Destination("ARCHIVE", "archive.local", 104, ())
PACS = Destination("PACS", "pacs.local", 104)
SMALL = Series(count=4)
OPEN = OpenStudy(1, SMALL.study_uid, AT, AT, "a-1", "CT1", "127.0.0.1", series_open=1, gapless=False, revision=0)


@dataclass
class Archive:
    """A destination at the far end of our own interface, which answers as it is told."""

    answers: list[int | Exception] = field(default_factory=list)
    """One for each C-STORE; then success."""
    away: bool = False
    takes: bool = True
    got: list[str] = field(default_factory=list)
    """Digests of what was sent, in order, whatever the answer."""
    kinds: frozenset[tuple[str, str]] = frozenset()
    calls: int = 0

    @contextmanager
    def connect(self, _: Destination, kinds: Collection[tuple[str, str]]) -> Iterator["Archive"]:
        self.calls += 1
        if self.away:
            raise PeerFailed("ARCHIVE cannot be reached.")
        self.kinds = frozenset(kinds)
        yield self

    def syntax_for(self, kind: tuple[str, str]) -> str | None:
        return kind[1] if self.takes else None

    def send(self, path: Path) -> int:
        self.got.append(path.stem)
        answer = self.answers.pop(0) if self.answers else 0x0000
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class Site:
    """A node without its loops, whose rules forward every CT to ARCHIVE."""

    flow: Flow
    to: KnownDestination
    archive: Archive = field(default_factory=Archive)
    clock: Clock = field(default_factory=lambda: Clock(after(1000)))
    book: RuleBook = field(
        default_factory=lambda: RuleBook(
            (Rule("ct", where=(criterion_of("Modality", ["CT"]),), route=Route(forward=("ARCHIVE",))),)
        )
    )

    def receive(self, payloads: list[Payload], seconds: float = 0, calling: str = "CT1") -> None:
        """One association brings some images; then it is quiet until all is complete."""
        flow, at = self.flow, after(seconds)
        by = reception(at, f"f-{seconds}-{calling}", calling)
        register.register(flow.catalog, flow.spool, keep_all(flow.spool, payloads, by))
        flow.close(by.association_id, Ending.RELEASED, at, calling)
        clock = FlowClock(lambda: after(seconds + 20))
        while complete.step(flow.catalog, flow.associations, clock, Router(self.book, flow.spool.absolute)):
            pass

    def step(self) -> bool:
        absolute = self.flow.spool.absolute
        one = Forwarding(self.flow.catalog, self.to, self.archive.connect, absolute, random.Random(1), self.clock)
        return one.step()

    def states(self) -> list[str]:
        return [str(row["state"]) for row in self.flow.rows(tables.forward)]

    def purge(self) -> bool:
        with self.flow.catalog.writing() as session:
            return retention.purge(session, 1, AT, decided=False) is not None


@pytest.fixture
def site(catalog: Catalog, spool: Spool) -> Site:
    flow = Flow(catalog, spool)
    (to,) = flow.destination(ARCHIVE)
    return Site(flow, to)


def test_each_image_goes_once_as_its_file_and_its_study_says_so(site: Site) -> None:
    site.receive(SMALL.payloads())
    assert site.step()
    assert not site.step()
    stored = {row["digest"]: row["sop_instance_uid"] for row in site.flow.rows(tables.instance)}
    assert sorted(name.partition("-")[2] for name in site.archive.got) == sorted(stored)
    assert site.states() == ["delivered"] * 4
    (row,) = site.flow.audit("images forwarded")
    assert (row.actor, row.study_instance_uid, row.detail) == (
        "ARCHIVE", SMALL.study_uid, '{"images": 4, "transcoded": 0}',
    )  # fmt: skip
    (routed,) = site.flow.audit("study routed")
    assert '"rule": "ct"' in routed.detail
    assert site.flow.study(SMALL.study_uid)["routing"]["why"] == "Modality = 'CT'"


def test_nothing_goes_where_no_rule_says_so(site: Site) -> None:
    site.receive(Series(count=3).having(Modality="MR").payloads())
    assert (site.states(), site.step(), site.archive.calls) == ([], False, 0)
    assert site.flow.study(SMALL.study_uid)["routing"] == {}
    assert site.flow.audit("study routed") == []


def test_late_images_go_when_they_come_and_what_is_sent_again_does_not(site: Site) -> None:
    site.receive(SMALL.payloads([0, 1]))
    site.step()
    site.receive(SMALL.payloads([0, 1, 2]), seconds=100)
    site.step()
    site.receive(SMALL.payloads([0, 1, 2]), seconds=200)
    assert not site.step()
    assert (len(site.archive.got), len(set(site.archive.got))) == (3, 3)


def test_a_new_version_goes_once_and_one_that_waits_for_a_person_does_not(site: Site) -> None:
    site.receive(SMALL.payloads())
    site.step()
    site.receive(SMALL.having(PatientName="Nodus^Corrected").payloads(), seconds=100)
    site.step()
    assert site.states() == ["delivered"] * 8
    site.receive(SMALL.having(PixelData=b"\7" * 32).payloads([0]), seconds=200)
    assert not site.step()
    assert len(site.archive.got) == 8


def test_a_version_that_gave_way_before_it_was_sent_does_not_go(site: Site) -> None:
    site.receive(SMALL.payloads())
    site.receive(SMALL.having(PatientName="Nodus^Corrected").payloads(), seconds=100)
    assert site.states() == ["cancelled"] * 4 + ["due"] * 4
    site.step()
    assert len(site.archive.got) == 4


def test_what_comes_back_from_where_it_went_is_not_forwarded_again(site: Site) -> None:
    site.receive(SMALL.payloads())
    site.step()
    site.receive(SMALL.payloads(), seconds=100, calling="ARCHIVE")
    site.receive(SMALL.having(PatientName="Coerced^There").payloads(), seconds=200, calling="ARCHIVE")
    assert not site.step()
    assert site.states() == ["delivered"] * 4


def test_what_came_back_changed_goes_to_nobody_else_either(site: Site) -> None:
    _, other = site.flow.destination(ARCHIVE, replace(ARCHIVE, ae_title="OTHER"))
    site.book = RuleBook((Rule("all", route=Route(forward=("ARCHIVE", "OTHER"))),))
    site.receive(SMALL.payloads())
    assert len(site.states()) == 8
    site.receive(SMALL.having(PatientName="Coerced^There").payloads(), seconds=200, calling="ARCHIVE")
    assert site.states() == ["due"] * 8  # who was to get the images gets them as they were
    site.receive(SMALL.having(PatientName="Nodus^Corrected").payloads(), seconds=400)
    assert site.states() == ["cancelled"] * 8 + ["due"] * 8
    rows = site.flow.rows(tables.forward, state="due")
    assert sorted(row["destination_id"] for row in rows) == [site.to.id] * 4 + [other.id] * 4


def test_nothing_goes_back_to_whom_it_came_from(site: Site) -> None:
    site.receive(SMALL.payloads(), calling="ARCHIVE")
    assert site.states() == []


def test_missing_images_go_everywhere_but_to_the_archive_that_they_were_fetched_from(site: Site) -> None:
    """Whatever it calls itself when it sends them; and the rules of who sent the rest decide."""
    site.flow.destination(ARCHIVE, replace(ARCHIVE, ae_title="OTHER"))
    only = (caller("CT1"),)
    site.book = RuleBook((Rule("ct1", senders=only, route=Route(forward=("ARCHIVE", "OTHER"))),))
    site.receive(SMALL.payloads([0, 1, 2]))
    with site.flow.catalog.writing() as session:
        missing.begin(session, OPEN, "ARCHIVE", AT)
        missing.coming(session, 1, [SMALL.instance_uid(3)])
    site.receive(SMALL.payloads([3]), seconds=100, calling="ARCHIVE_OUT")
    assert site.flow.study(SMALL.study_uid)["routing"]["rule"] == "ct1"
    rows = site.flow.rows(tables.forward)
    assert [row["destination_id"] for row in rows if row["sop_instance_uid"] == SMALL.instance_uid(3)] == [2]
    assert len(rows) == 7


def test_what_we_fetched_as_an_earlier_exam_is_not_forwarded_and_says_so(site: Site) -> None:
    site.receive(Series("young", count=1).payloads())
    look = {"study_id": 1, "state": Fetch.COMING, "until": AT, "prior_study_instance_uid": SMALL.study_uid}
    with site.flow.catalog.writing() as session:
        session.execute(tables.prefetch.insert().values(look))
    site.receive(SMALL.payloads(), seconds=100, calling="PACS_OUT")
    assert site.states() == ["due"]
    routing = site.flow.study(SMALL.study_uid)["routing"]
    assert (routing["forward"], "fetched it as an earlier exam" in routing["why"]) == ([], True)


def test_our_own_results_are_not_forwarded_when_they_come_back(catalog: Catalog, spool: Spool) -> None:
    flow = Flow(catalog, spool)
    (to,) = flow.destination(Destination("ARCHIVE", "archive.local", 104))
    site = Site(flow, to, book=RuleBook((Rule("all", route=Route(forward=("ARCHIVE",))),)))
    site.receive(Series(count=64).payloads())
    flow.finish(1, after(30))
    ours = results(1, ResultKind.SR)[0].sop_instance_uid
    site.receive(Series(series="back", count=1).having(SOPInstanceUID=ours).payloads(), seconds=100, calling="PACS")
    site.receive(Series(series="other", count=1).payloads(), seconds=200)
    assert len(site.states()) == 65


def test_an_image_that_fails_waits_alone_and_one_that_is_refused_is_told(site: Site) -> None:
    site.receive(SMALL.payloads())
    site.archive.answers = [0x0110, 0xC000]
    site.step()
    assert site.states() == ["due", "refused", "delivered", "delivered"]
    first, second, *_ = site.flow.rows(tables.forward)
    assert (first["failures"], first["status"], second["status"]) == (1, 0x0110, 0xC000)
    (told,) = site.flow.audit("image forward refused")
    assert (told.outcome, "0xC000" in told.detail) == (8, True)
    with site.flow.catalog.reading() as session:
        assert forwards.missed(session) == {"ARCHIVE@archive.local:104": 1}
    site.clock.goes_on(10)
    site.step()
    assert site.states() == ["delivered", "refused", "delivered", "delivered"]


def test_a_kind_that_is_not_taken_is_refused_in_a_sentence(site: Site) -> None:
    site.archive.takes = False
    site.receive(SMALL.payloads([0]))
    site.step()
    (row,) = site.flow.rows(tables.forward)
    assert (row["state"], "takes no such object" in row["error"]) == ("refused", True)


def test_an_altered_file_is_never_forwarded(site: Site) -> None:
    site.receive(SMALL.payloads([0]))
    (row,) = site.flow.rows(tables.instance)
    file = site.flow.spool.absolute(row["path"])
    file.write_bytes(file.read_bytes()[:-2] + b"\1\1")
    site.step()
    (row,) = site.flow.rows(tables.forward)
    assert (site.archive.got, row["state"], "altered here" in row["error"]) == ([], "refused", True)


def test_what_was_stored_before_the_association_broke_is_not_sent_again(site: Site) -> None:
    site.receive(SMALL.payloads())
    site.archive.answers = [0, 0, PeerFailed("gone")]
    assert not site.step()
    assert site.states() == ["delivered", "delivered", "due", "due"]
    site.clock.goes_on(10)
    site.step()
    assert site.states() == ["delivered"] * 4
    assert len(site.archive.got) == 5  # the third was under way


def test_a_dead_destination_is_left_alone_and_goes_on_when_it_answers(site: Site) -> None:
    site.receive(SMALL.payloads())
    site.archive.away = True
    for _ in range(5):
        site.step()
        site.clock.goes_on(3600)
    assert site.archive.calls == 3
    with site.flow.catalog.writing() as session:
        assert breakers.of(session, site.to).state is BreakerState.OPEN
        breakers.answered(session, site.to, site.clock())
    site.archive.away = False
    site.step()
    assert site.states() == ["delivered"] * 4


def test_who_has_no_room_is_not_pressed(site: Site) -> None:
    site.receive(SMALL.payloads())
    site.archive.answers = [0, 0xA700]
    site.step()
    assert len(site.archive.got) == 2
    assert site.states() == ["delivered", "due", "due", "due"]


def test_results_that_are_due_go_first(catalog: Catalog, spool: Spool) -> None:
    flow = Flow(catalog, spool)
    (to,) = flow.destination(Destination("ARCHIVE", "archive.local", 104))
    site = Site(flow, to)
    site.receive(Series(count=64).payloads())
    flow.finish(1, after(30))
    release.step(catalog, after(30))
    assert not site.step()
    assert site.archive.got == []
    with catalog.writing() as session:
        session.execute(tables.outbox.update().values(state="delivered"))
    assert site.step()
    assert len(site.archive.got) == 64 > AT_ONCE


def test_a_study_goes_only_when_every_image_was_forwarded(site: Site) -> None:
    site.receive(SMALL.payloads())
    with site.flow.catalog.reading() as session:
        assert retention.hindrance(session, 1, decided=True) is not None
    with site.flow.catalog.writing() as session:
        session.execute(tables.job.update().values(state="superseded"))
        session.execute(tables.study.update().values(outcome="no findings"))
    assert not site.purge()
    site.archive.answers = [0xC000]
    site.step()
    assert not site.purge()
    with site.flow.catalog.writing() as session:
        assert forwards.send_again(session, 1, [ForwardState.REFUSED], site.clock()) == 1
    site.step()
    assert site.purge()


def test_it_waits_for_the_confirmation_of_who_is_asked_for_one(site: Site) -> None:
    (site.to,) = site.flow.destination(Destination("ARCHIVE", "archive.local", 104, (), commitment=Proof.COMMITMENT))
    site.receive(SMALL.payloads())
    site.step()
    with site.flow.catalog.writing() as session:
        session.execute(tables.job.update().values(state="superseded"))
        session.execute(tables.study.update().values(outcome="no findings"))
    assert not site.purge()
    with site.flow.catalog.writing() as session:
        session.execute(tables.forward.update().values(state="committed"))
        assert forwards.kept_elsewhere(session, [SMALL.instance_uid(0)]) == set()  # it was found there: no promise
        session.execute(tables.forward.update().values(transaction_uid="1.2.3"))
        assert forwards.kept_elsewhere(session, [SMALL.instance_uid(0), "1.2"]) == {SMALL.instance_uid(0)}
    assert site.purge()


def test_what_is_sent_again_after_retention_is_not_forwarded_again(site: Site) -> None:
    site.receive(SMALL.payloads())
    site.step()
    with site.flow.catalog.writing() as session:
        session.execute(tables.job.update().values(state="superseded"))
        session.execute(tables.study.update().values(outcome="no findings"))
    assert site.purge()
    site.receive(SMALL.having(StationName="Other bytes").payloads(), seconds=300)
    assert not site.step()
    site.receive(SMALL.payloads(), seconds=400)
    assert not site.step()
    assert len(site.archive.got) == 4


def test_a_destination_that_is_given_up_waits_for_nothing(site: Site) -> None:
    site.receive(SMALL.payloads())
    with site.flow.catalog.writing() as session:
        assert forwards.give_up(session, site.to.id) == 4
    assert (site.states(), site.step()) == (["cancelled"] * 4, False)
