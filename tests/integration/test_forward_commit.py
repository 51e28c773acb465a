"""flow/forward_commit.py on both databases: what a destination says of the images that it got, and what follows."""

import random
from datetime import timedelta

import pytest
from pydicom.uid import CTImageStorage

from node.catalog import forward_commitments, forwards, tables
from node.catalog.session import Catalog
from node.domain.commitment import MOST_ROUNDS, NO_SUCH_INSTANCE, Proof
from node.domain.peers import Destination
from node.domain.promise import AWAITED_FOR
from node.domain.reception import CommitmentReported
from node.domain.retention import Retention
from node.errors import NotTrusted, PeerFailed
from node.flow import forward_commit
from node.flow.forward_commit import ConfirmingImages
from node.spool import Spool
from tests.commitments import HOUR, Questioned
from tests.flow import Flow
from tests.integration.test_node_forward import SMALL, Site
from tests.integration.test_node_promises import Promising
from tests.studies import AT, after

FOUR = tuple(SMALL.instance_uid(number) for number in range(4))


class Asked(Site):
    """A site whose archive stored four images, and is asked for them."""

    pacs: Questioned

    def ask(self) -> bool:
        jitter, connect = random.Random(1), self.pacs.connect
        return ConfirmingImages(self.flow.catalog, self.to, connect, HOUR, jitter, self.clock).step()

    def answers(self, transaction_uid: str, kept: tuple[str, ...], lacks: tuple[tuple[str, int], ...] = ()) -> None:
        """The archive calls back, and what it says was journaled."""
        told = CommitmentReported("ARCHIVE", "10.0.0.9", transaction_uid, kept, lacks, self.clock())
        with self.flow.catalog.writing() as session:
            forward_commit.reported(session, told)

    def transaction(self, number: int = -1) -> str:
        return self.pacs.asked[number][0]

    def forwards(self, name: str) -> list[object]:
        return [row[name] for row in self.flow.rows(tables.forward)]


@pytest.fixture
def site(catalog: Catalog, spool: Spool) -> Asked:
    flow = Flow(catalog, spool)
    (to,) = flow.destination(Destination("ARCHIVE", "archive.local", 104, (), commitment=Proof.COMMITMENT))
    made = Asked(flow, to)
    made.pacs = Questioned()
    made.receive(SMALL.payloads())
    made.step()
    return made


def test_it_is_asked_once_for_all_images_of_a_study_and_its_yes_is_kept(site: Asked) -> None:
    assert site.ask()
    assert not site.ask()
    assert [uids for _, uids in site.pacs.asked] == [FOUR]
    with site.flow.catalog.reading() as session:
        known = forward_commitments.who(session, site.transaction())
    assert known is not None
    assert (known.ae_title, known.sop_instance_uids) == ("ARCHIVE", frozenset(FOUR))
    site.answers(site.transaction(), FOUR)
    assert site.states() == ["committed"] * 4
    assert [len(site.flow.audit(kind)) for kind in ("forward commitment asked", "forwards committed")] == [1, 1]
    site.answers(site.transaction(), FOUR)
    assert len(site.flow.audit("forwards committed")) == 1


def test_it_is_not_asked_while_images_of_the_study_are_due(site: Asked) -> None:
    site.receive(SMALL.payloads([0, 1, 2, 3]) + SMALL.payloads([4]), seconds=100)
    assert site.states() == ["delivered"] * 4 + ["due"]
    assert not site.ask()
    site.step()
    assert site.ask()
    assert len(site.pacs.asked[0][1]) == 5


def test_what_it_lacks_is_sent_again_until_a_person_is_told(site: Asked) -> None:
    for turn in range(MOST_ROUNDS):
        site.ask()
        site.answers(site.transaction(), FOUR[1:] if turn == 0 else (), ((FOUR[0], NO_SUCH_INSTANCE),))
        assert site.states()[1:] == ["committed"] * 3
        assert site.states()[0] == ("due" if turn < MOST_ROUNDS - 1 else "delivered")
        site.step()
        site.clock.goes_on(1)
    assert len(site.archive.got) == 4 + MOST_ROUNDS - 1
    with site.flow.catalog.reading() as session:
        assert site.flow.audit("forward commitment refused")
        assert forwards.unconfirmed(session, after(0), MOST_ROUNDS) == {"ARCHIVE@archive.local:104": 1}


def test_without_an_answer_it_is_asked_again_under_another_transaction(site: Asked) -> None:
    site.ask()
    site.clock.goes_on(2 * 3600)
    assert site.ask()
    first, second = site.transaction(0), site.transaction(1)
    assert first != second
    assert site.forwards("asks") == [2] * 4
    site.answers(second, FOUR)
    assert site.states() == ["committed"] * 4


def test_an_archive_that_is_away_or_does_not_want_to_be_asked_is_asked_later(site: Asked) -> None:
    site.pacs.away = True
    assert not site.ask()
    assert site.forwards("error") == ["PACS cannot be reached."] * 4
    assert not site.ask()
    site.pacs.away = False
    site.clock.goes_on(3600)
    site.pacs.answers = [0x0110, PeerFailed("gone")]
    site.ask()
    assert "with status 0x0110" in str(site.forwards("error")[0])
    site.clock.goes_on(2 * 24 * 3600)
    site.ask()
    assert site.states() == ["delivered"] * 4


def test_an_archive_that_does_not_prove_who_it_is_is_asked_later_and_is_a_security_alert(site: Asked) -> None:
    site.pacs.answers = [NotTrusted("its certificate is another's")]
    assert not site.ask()
    assert site.states() == ["delivered"] * 4
    (alert,) = site.flow.audit("security alert")
    assert (alert.actor, "another's" in alert.detail) == ("ARCHIVE", True)


def test_who_offers_no_commitment_is_asked_by_find_and_believed_at_the_second_no(site: Asked) -> None:
    site.pacs = Questioned(commits=False, finds=True, lacks=1)
    site.ask()
    assert site.states() == ["delivered"] + ["committed"] * 3
    site.clock.goes_on(timedelta(days=1).total_seconds())
    site.pacs.lacks = 1
    site.ask()
    assert site.states() == ["due"] + ["committed"] * 3


def test_who_offers_neither_is_told_so(site: Asked) -> None:
    site.pacs = Questioned(commits=False, finds=False)
    site.ask()
    assert "offers neither" in str(site.forwards("error")[0])
    assert not site.ask()


def asks_us(site: Asked) -> Promising:
    """A scanner that wants to delete what it sent to a node which removes it later."""
    one = Promising(site.flow.catalog, Retention(after=timedelta(days=1)))
    one.now = after(1000)
    one.asked(*((CTImageStorage, uid) for uid in FOUR))
    assert one.told() == []
    return one


def test_a_scanner_is_promised_what_the_archive_has_committed_to_and_waits_for_that(site: Asked) -> None:
    one = asks_us(site)
    site.ask()
    site.answers(site.transaction(), FOUR[1:], ((FOUR[0], NO_SUCH_INSTANCE),))
    one.now = after(2000)
    assert one.told() == []
    site.step()
    site.ask()
    site.answers(site.transaction(), FOUR[:1])
    one.now = after(4000)
    assert one.told() == [([*FOUR], [])]
    with site.flow.catalog.writing() as session:
        session.execute(tables.instance.update().values(purged_at=after(4000)))
    one.asked(*((CTImageStorage, uid) for uid in FOUR))
    assert one.told()[1:] == [([*FOUR], [])]


def test_a_scanner_is_told_after_a_day_that_nobody_has_committed(site: Asked) -> None:
    one = asks_us(site)
    one.now = AT + AWAITED_FOR
    assert one.told() == [([], [0x0110] * 4)]


def test_what_an_archive_says_by_find_is_no_promise_to_a_scanner(site: Asked) -> None:
    site.pacs = Questioned(commits=False, finds=True)
    one = asks_us(site)
    site.ask()
    assert site.states() == ["committed"] * 4
    one.now = after(2000)
    assert one.told() == [([], [0x0110] * 4)]


def test_an_answer_about_results_still_reaches_them(site: Asked) -> None:
    site.answers("1.2.3.4", FOUR)  # nobody asked under that: neither images nor results move
    assert site.states() == ["delivered"] * 4
