"""catalog/peers.py and flow/listen.py on both databases: who may send, who asked to, and what is written down of it."""

import pytest

from node.catalog import peers, tables
from node.catalog.session import Catalog
from node.domain.peers import Sender, Standing, admits
from node.domain.reception import (
    AssociationClosed,
    AssociationOpened,
    AssociationRefused,
    Ending,
    InstanceRefused,
    OpenAssociations,
)
from node.flow.listen import BATCH, Listener
from node.flow.register import Inbox
from node.metrics import Metrics
from tests.flow import Flow
from tests.studies import AT, Series, after, arrivals

LOOPBACK = Sender("*", "127.0.0.0/8", Standing.ALLOWED)
CT1 = Sender("CT1", "10.0.0.5/32", Standing.ALLOWED)


def configure(catalog: Catalog, *senders: Sender) -> list[Sender]:
    with catalog.writing() as session:
        peers.configure_senders(session, senders)
        return peers.senders(session)


def decide(catalog: Catalog, sender: Sender) -> None:
    with catalog.writing() as session:
        peers.decide(session, sender)


def refuse(catalog: Catalog, ae_title: str, network: str) -> None:
    with catalog.writing() as session:
        peers.refused(session, ae_title, network, AT)


def known(catalog: Catalog) -> list[Sender]:
    with catalog.reading() as session:
        return peers.senders(session)


def test_the_senders_of_the_settings_replace_those_of_the_last_start(catalog: Catalog) -> None:
    configure(catalog, LOOPBACK, CT1)
    assert configure(catalog, CT1) == [CT1]


def test_what_an_administrator_decided_survives_a_restart(catalog: Catalog) -> None:
    configure(catalog, LOOPBACK)
    allowed = Sender("MR1", "10.0.0.6/32", Standing.ALLOWED)
    denied = Sender("*", "127.0.0.0/8", Standing.DENIED)
    decide(catalog, allowed)
    decide(catalog, denied)
    assert sorted(configure(catalog, LOOPBACK), key=str) == sorted([allowed, denied], key=str)
    assert not admits(known(catalog), "ANY", "127.0.0.1")


def test_a_sender_that_waits_is_let_in_by_the_settings(catalog: Catalog) -> None:
    refuse(catalog, "CT1", "10.0.0.5/32")
    assert configure(catalog, CT1) == [CT1]


def test_a_stranger_that_is_refused_waits_for_a_decision_and_is_counted(catalog: Catalog) -> None:
    for _ in range(3):
        refuse(catalog, "CT1", "10.0.0.5/32")
    (row,) = Flow(catalog).rows(tables.sender)
    assert (row["standing"], row["refusals"], row["last_refused_at"]) == ("pending", 3, AT)
    assert not admits(known(catalog), "CT1", "10.0.0.5")
    decide(catalog, CT1)
    assert admits(known(catalog), "CT1", "10.0.0.5")
    assert Flow(catalog).rows(tables.sender)[0]["refusals"] == 3


def test_who_was_denied_stays_denied_when_it_calls_again(catalog: Catalog) -> None:
    decide(catalog, Sender("CT1", "10.0.0.5/32", Standing.DENIED))
    refuse(catalog, "CT1", "10.0.0.5/32")
    assert [sender.standing for sender in known(catalog)] == ["denied"]


# listen


class Ear:
    """A listener and what it writes to."""

    def __init__(self, catalog: Catalog) -> None:
        self.flow = Flow(catalog)
        self.inbox, self.associations, self.metrics = Inbox(), OpenAssociations(), Metrics()
        self.listener = Listener(catalog, self.inbox, self.associations, self.metrics)

    def sample(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def ear(catalog: Catalog) -> Ear:
    return Ear(catalog)


def closed(association: str, ending: Ending = Ending.RELEASED) -> AssociationClosed:
    return AssociationClosed(association, "CT1", "NODUS", "10.0.0.5", ending, 12, 3, AT)


def test_new_files_go_to_the_inbox_and_are_counted(ear: Ear) -> None:
    for arrival in arrivals(Series(count=3).headers()):
        ear.listener.take(arrival, 1)
    assert len(ear.inbox.peek()) == 3
    assert ear.sample("nodus_instances_stored_total") == 3
    assert not ear.listener.step()


def test_an_association_is_followed_and_leaves_one_row(ear: Ear) -> None:
    ear.listener.take(AssociationOpened("a", "CT1", "10.0.0.5", AT), 1)
    assert ear.sample("nodus_associations_open") == 1
    ear.listener.take(closed("a"), 1)
    assert ear.sample("nodus_associations_open") == 0
    assert not ear.listener.step()
    (entry,) = ear.flow.audit()
    assert (entry.kind, entry.outcome, entry.actor, entry.address) == ("association closed", 0, "CT1", "10.0.0.5")
    assert entry.detail == '{"association": "a", "called": "NODUS", "ending": "released", "refused": 3, "stored": 12}'


def test_an_abort_is_written_down_as_a_failure(ear: Ear) -> None:
    ear.listener.take(closed("a", Ending.ABORTED), 1)
    ear.listener.step()
    assert [entry.outcome for entry in ear.flow.audit("association closed")] == [4]


def test_a_refused_stranger_is_counted_written_down_and_shown(ear: Ear) -> None:
    ear.listener.take(AssociationRefused("EVIL", "NODUS", "10.0.0.9", "not known", True, after(1)), 1)
    ear.listener.step()
    assert ear.sample("nodus_associations_refused_total") == 1
    (entry,) = ear.flow.audit("association refused")
    assert (entry.outcome, entry.actor, entry.address, entry.at) == (8, "EVIL", "10.0.0.9", after(1).isoformat())
    (row,) = ear.flow.rows(tables.sender)
    assert (row["ae_title"], row["network"], row["standing"]) == ("EVIL", "10.0.0.9/32", "pending")


@pytest.mark.parametrize(("address", "network"), [("fd00::7", "fd00::7/128"), ("fe80::1%eth0", "fe80::1/128")])
def test_a_stranger_with_an_ipv6_address_is_shown_too(ear: Ear, address: str, network: str) -> None:
    ear.listener.take(AssociationRefused("EVIL", "NODUS", address, "not known", True, AT), 1)
    ear.listener.step()
    assert ear.flow.rows(tables.sender)[0]["network"] == network
    with ear.flow.catalog.reading() as session:
        assert not admits(peers.senders(session), "EVIL", address)


def test_a_known_sender_that_asked_for_another_ae_title_waits_for_nothing(ear: Ear) -> None:
    ear.listener.take(AssociationRefused("CT1", "WRONG", "10.0.0.5", "called AE title is not ours", False, AT), 1)
    ear.listener.step()
    assert len(ear.flow.audit("association refused")) == 1
    assert ear.flow.rows(tables.sender) == []


def test_a_refused_instance_is_counted_by_its_status_and_written_down(ear: Ear) -> None:
    ear.listener.take(InstanceRefused("a", "CT1", "10.0.0.5", "1.2.3", 0xA900, "It does not match.", AT), 1)
    ear.listener.step()
    assert ear.sample("nodus_instances_refused_total", status="0xA900") == 1
    (entry,) = ear.flow.audit("instance refused")
    assert '"sop_instance_uid": "1.2.3", "status": "0xA900"' in entry.detail


def test_a_lost_receiver_ends_its_associations_and_makes_the_node_look_at_the_disk(ear: Ear) -> None:
    ear.inbox.rescanned(after(1e9))
    ear.listener.take(AssociationOpened("a", "CT1", "10.0.0.5", AT), 1)
    ear.listener.take(AssociationOpened("b", "CT2", "10.0.0.6", AT), 2)
    ear.listener.receiver_lost(1)
    assert ear.sample("nodus_associations_open") == 1
    assert not ear.associations.done("a", "CT1", "10.0.0.5")
    assert ear.inbox.incomplete_since is not None


def test_more_events_than_a_batch_are_written_in_several_transactions(ear: Ear) -> None:
    for number in range(BATCH + 1):
        ear.listener.take(closed(f"a-{number}"), 1)
    assert ear.listener.step()
    assert not ear.listener.step()
    assert len(ear.flow.audit()) == BATCH + 1
