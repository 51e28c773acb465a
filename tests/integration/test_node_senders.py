"""catalog/peers.py and flow/listen.py on both databases: who may send, who asked to, and what is written down of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from node.catalog import peers, tables
from node.catalog.peers import MOST_OF_A_WISH, MOST_PENDING
from node.catalog.session import Catalog
from node.domain.peers import Sender, Standing, admits, decision_about
from node.domain.reception import (
    AssociationClosed,
    AssociationOpened,
    AssociationRefused,
    Ending,
    InstanceRefused,
    OpenAssociations,
    Wish,
)
from node.domain.route import Pipeline
from node.flow.inbox import Inbox
from node.flow.listen import BATCH, Listener
from node.journal import Journaled, JournalWriter, line_of
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
        peers.refused(session, AssociationRefused(ae_title, "NODUS", network.partition("/")[0], "not known", True, AT))


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


PACS1 = Sender("PACS1", "10.0.0.9/32", Standing.ALLOWED, quiet_s=60.0, priority=5, max_study_age_days=365)


def say(catalog: Catalog, ae_title: str, network: str, standing: Standing) -> None:
    """As `nodus senders` does."""
    decide(catalog, decision_about(known(catalog), ae_title, network, standing))


def test_how_a_sender_is_treated_outlasts_a_denial_and_follows_the_settings(catalog: Catalog) -> None:
    configure(catalog, PACS1)
    say(catalog, "PACS1", "10.0.0.9/32", Standing.DENIED)
    assert known(catalog) == [replace(PACS1, standing=Standing.DENIED)]
    say(catalog, "PACS1", "10.0.0.9/32", Standing.ALLOWED)
    assert configure(catalog, PACS1) == [PACS1]
    assert configure(catalog, replace(PACS1, quiet_s=90.0)) == [replace(PACS1, quiet_s=90.0)]


def test_who_is_let_in_is_treated_like_the_network_around_it(catalog: Catalog) -> None:
    around = Sender("*", "10.0.0.0/24", Standing.DENIED, quiet_s=40.0, max_study_age_days=30)
    configure(catalog, around, Sender("*", "fd00::/64", Standing.ALLOWED, quiet_s=1.0))
    refuse(catalog, "CT1", "10.0.0.5/32")
    say(catalog, "CT1", "10.0.0.5/32", Standing.ALLOWED)
    say(catalog, "CT2", "10.1.0.5/32", Standing.ALLOWED)
    let_in = {sender.ae_title: (sender.quiet_s, sender.max_study_age_days) for sender in known(catalog)}
    assert (let_in["CT1"], let_in["CT2"]) == ((40.0, 30), (15.0, None))


def test_a_host_that_makes_names_up_hides_no_scanner_and_a_denial_takes_them_away(catalog: Catalog) -> None:
    refuse(catalog, "FIRST", "10.0.0.6/32")
    for number in range(MOST_PENDING + 20):
        refuse(catalog, f"X{number}", "10.9.9.9/32")
    refuse(catalog, "NEW", "10.0.0.7/32")
    waiting = [sender.ae_title for sender in known(catalog)]
    assert (len(waiting), {"FIRST", "NEW", f"X{MOST_PENDING + 19}"} <= {*waiting}) == (MOST_PENDING, True)
    say(catalog, "*", "10.9.9.0/24", Standing.DENIED)
    assert [sender.ae_title for sender in known(catalog)] == ["FIRST", "NEW", "*"]


# listen


class Ear:
    """A listener and what it writes to, and the journal of one receiver."""

    def __init__(self, catalog: Catalog, journals: Path) -> None:
        self.flow = Flow(catalog)
        self.journals = journals
        self.inbox, self.associations, self.metrics = Inbox(), OpenAssociations(), Metrics()
        self.listener = self.another()
        self.receiver = JournalWriter(journals)

    def another(self) -> Listener:
        """As after a restart."""
        return Listener(self.flow.catalog, self.journals, self.inbox, self.associations, self.metrics)

    def happens(self, *events: Journaled) -> None:
        """A receiver journals and tells, and the listener takes one turn."""
        for event in events:
            self.receiver.write(event)
            self.listener.take(event, 1)
        self.listener.step()

    def files(self) -> list[Path]:
        """What is left of the journal."""
        return sorted(self.journals.iterdir())

    def sample(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def ear(catalog: Catalog, data: Path) -> Ear:
    return Ear(catalog, data / "spool" / "journal")


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
    ear.happens(closed("a"))
    assert ear.sample("nodus_associations_open") == 0
    assert not ear.listener.step()
    (entry,) = ear.flow.audit()
    assert (entry.kind, entry.outcome, entry.actor, entry.address) == ("association closed", 0, "CT1", "10.0.0.5")
    assert entry.detail == '{"association": "a", "called": "NODUS", "ending": "released", "refused": 3, "stored": 12}'


def test_an_abort_is_written_down_as_a_failure(ear: Ear) -> None:
    ear.happens(closed("a", Ending.ABORTED))
    assert [entry.outcome for entry in ear.flow.audit("association closed")] == [4]


def test_a_refused_stranger_is_counted_written_down_and_shown(ear: Ear) -> None:
    ear.happens(AssociationRefused("EVIL", "NODUS", "10.0.0.9", "not known", True, after(1)))
    assert ear.sample("nodus_associations_refused_total") == 1
    (entry,) = ear.flow.audit("association refused")
    assert (entry.outcome, entry.actor, entry.address, entry.at) == (8, "EVIL", "10.0.0.9", after(1).isoformat())
    (row,) = ear.flow.rows(tables.sender)
    assert (row["ae_title"], row["network"], row["standing"]) == ("EVIL", "10.0.0.9/32", "pending")


@pytest.mark.parametrize(("address", "network"), [("fd00::7", "fd00::7/128"), ("fe80::1%eth0", "fe80::1/128")])
def test_a_stranger_with_an_ipv6_address_is_shown_too(ear: Ear, address: str, network: str) -> None:
    ear.happens(AssociationRefused("EVIL", "NODUS", address, "not known", True, AT))
    assert ear.flow.rows(tables.sender)[0]["network"] == network
    with ear.flow.catalog.reading() as session:
        assert not admits(peers.senders(session), "EVIL", address)


def test_a_known_sender_that_asked_for_another_ae_title_waits_for_nothing(ear: Ear) -> None:
    ear.happens(AssociationRefused("CT1", "WRONG", "10.0.0.5", "called AE title is not ours", False, AT))
    assert len(ear.flow.audit("association refused")) == 1
    assert ear.flow.rows(tables.sender) == []


def test_a_refused_instance_is_counted_by_its_status_and_written_down(ear: Ear) -> None:
    ear.happens(InstanceRefused("a", "CT1", "10.0.0.5", "1.2.3", 0xA900, "It does not match.", AT))
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
    ear.listener.step()
    (entry,) = ear.flow.audit("association closed")
    assert (entry.outcome, entry.actor, entry.address) == (4, "CT1", "10.0.0.5")
    assert '"association": "a"' in entry.detail
    assert '"ending": "lost"' in entry.detail


def test_more_events_than_a_batch_are_written_in_several_transactions(ear: Ear) -> None:
    for number in range(BATCH + 1):
        ear.receiver.write(closed(f"a-{number}"))
    assert ear.listener.step()
    assert len(ear.flow.audit()) == BATCH
    while ear.listener.step():
        pass
    assert len(ear.flow.audit()) == BATCH + 1


def test_many_refusals_summed_up_are_one_row_that_counts(ear: Ear) -> None:
    ear.happens(AssociationRefused("EVIL", "NODUS", "10.0.0.9", "not known", True, AT, count=40))
    assert '"count": 40' in ear.flow.audit("association refused")[0].detail
    assert ear.flow.rows(tables.sender)[0]["refusals"] == 40
    assert ear.sample("nodus_associations_refused_total") == 40


def test_who_makes_names_up_does_not_fill_the_table_of_senders(ear: Ear) -> None:
    made_up = [AssociationRefused(f"E{n}", "NODUS", "10.0.0.9", "not known", True, AT) for n in range(MOST_PENDING + 9)]
    ear.happens(*made_up)
    while ear.listener.step():
        pass
    assert len(ear.flow.rows(tables.sender)) == MOST_PENDING
    assert len(ear.flow.audit("association refused")) == MOST_PENDING + 9


# the journal


def test_what_was_written_down_is_not_written_down_again_after_a_restart(ear: Ear) -> None:
    ear.happens(closed("a"))
    ear.listener = ear.another()
    ear.happens(closed("b"))
    ear.another().step()
    assert [json.loads(entry.detail)["association"] for entry in ear.flow.audit()] == ["a", "b"]


def test_an_event_whose_transaction_fails_is_written_down_by_the_next(
    ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    ear.receiver.write(closed("a"))
    with monkeypatch.context() as broken:
        broken.setattr("node.catalog.audit.chain", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ear.listener.step()
    assert ear.flow.audit() == []
    ear.listener.step()
    assert len(ear.flow.audit()) == 1


def test_a_file_goes_when_its_writer_has_gone_and_all_of_it_is_written_down(ear: Ear) -> None:
    ear.happens(closed("a"))
    assert len(ear.files()) == 1
    ear.receiver.close()
    ear.listener.step()
    assert ear.files() == []
    assert ear.flow.rows(tables.journal) == []
    assert len(ear.flow.audit()) == 1


def test_a_line_that_a_power_cut_tore_is_skipped_counted_and_audited(ear: Ear) -> None:
    whole, torn = line_of(closed("a")), line_of(closed("b"))
    (ear.journals / "20261121T000000-1-1.jsonl").write_bytes(whole + b"\0\0\n" + torn[:-5])
    while ear.listener.step():
        pass
    assert [entry.kind for entry in ear.flow.audit()] == ["association closed", "journal damaged"]
    assert json.loads(ear.flow.audit("journal damaged")[0].detail)["lines"] == 2
    assert ear.files() == []


def test_a_line_that_is_being_written_is_waited_for(ear: Ear) -> None:
    ear.happens(closed("a"))
    (file,) = ear.files()
    line = line_of(closed("b"))
    with file.open("ab") as half:
        half.write(line[:20])
    assert not ear.listener.step()
    with file.open("ab") as rest:
        rest.write(line[20:])
    ear.listener.step()
    assert len(ear.flow.audit("association closed")) == 2
    assert ear.flow.audit("journal damaged") == []


def test_a_journal_file_that_cannot_be_read_keeps_no_other_back(catalog: Catalog, tmp_path: Path) -> None:
    ear = Ear(catalog, tmp_path)
    (ear.journals / "20001121T000000-1-1.jsonl").mkdir()
    ear.receiver.write(closed("a"))
    with pytest.raises(OSError):
        ear.listener.step()
    assert len(ear.flow.audit("association closed")) == 1


def test_a_line_that_no_row_can_hold_is_passed_over_and_told_and_the_rest_of_its_file_goes_on(ear: Ear) -> None:
    nowhere = AssociationRefused("CT1", "NODUS", "nowhere", "not known", True, AT)
    ear.happens(closed("a"), nowhere, closed("b"))
    ear.receiver.close()
    while ear.listener.step():
        pass
    assert [json.loads(entry.detail)["association"] for entry in ear.flow.audit("association closed")] == ["a", "b"]
    (damaged,) = ear.flow.audit("journal damaged")
    assert json.loads(damaged.detail)["lines"] == 1
    assert ear.files() == []


def test_what_a_stranger_asked_for_is_kept_and_grows_no_row_without_end(ear: Ear) -> None:
    for turn in range(40):
        wish = Wish(tuple(f"1.2.{turn}.{number}" for number in range(10)), f"MADE_UP_{turn}")
        ear.happens(AssociationRefused("EVIL", f"AET{turn}", "10.0.0.9", "not known", True, after(turn), wish=wish))
    (row,) = ear.flow.rows(tables.sender)
    assert (row["refusals"], row["first_refused_at"], row["last_refused_at"]) == (40, AT, after(39))
    assert (len(row["wish"]["kinds"]), row["wish"]["called"][-1]) == (MOST_OF_A_WISH, "AET39")
    assert row["wish"]["kinds"][-1] == "1.2.39.9"


def test_how_a_sender_must_come_outlasts_a_decision(catalog: Catalog) -> None:
    strict = replace(PACS1, tls_required=True, called=("NODUS",), pipeline=Pipeline.STORE)
    configure(catalog, strict)
    say(catalog, "PACS1", "10.0.0.9/32", Standing.DENIED)
    say(catalog, "PACS1", "10.0.0.9/32", Standing.ALLOWED)
    assert known(catalog) == [strict]


def test_a_journal_of_the_version_before_is_read(ear: Ear) -> None:
    line = json.loads(line_of(AssociationRefused("OLD", "NODUS", "10.0.0.9", "not known", True, AT)))
    del line["wish"]
    (ear.journals / "20261121T000000-1-1.jsonl").write_bytes(json.dumps(line).encode() + b"\n")
    while ear.listener.step():
        pass
    assert ear.flow.rows(tables.sender)[0]["ae_title"] == "OLD"
