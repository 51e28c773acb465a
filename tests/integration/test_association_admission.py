"""Who is heard: known senders only, a limited number at once, and nobody for ever without a word."""

import json
import socket
from collections.abc import Iterator

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from node.catalog import peers, tables
from node.dicom.upper_layer.acceptor import MOST_SILENT_OF_ONE
from node.domain.peers import Regard, Sender, Standing
from tests.flow import Flow
from tests.sender import Ended, Rejected, Scanner, scanner, send
from tests.servers import Nodus, eventually, nodus, run_dcmtk
from tests.studies import Series

CT = [(CTImageStorage, ExplicitVRLittleEndian)]
AT_ONCE = 4


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodus]:
    """A node that knows one sender, hears four at once, and waits a second and a half for each."""
    known = [{"ae_title": "KNOWN", "network": "127.0.0.1"}]
    data = tmp_path_factory.mktemp("strict") / "data"
    limits = {"maximum_associations": AT_ONCE, "network_timeout_s": 1.5, "request_timeout_s": 1.5}
    with nodus(data, senders=known, refusals_every_s=0.5, **limits) as node:
        yield node


def rejection(node: Nodus, calling: str, called: str = "NODUS") -> tuple[int, int, int]:
    with pytest.raises(Rejected) as refused:
        Scanner(node.dicom_port, CT, calling, called)
    return refused.value.result, refused.value.source, refused.value.reason


def test_a_known_sender_is_heard(strict: Nodus) -> None:
    with scanner(strict.dicom_port, Series("heard").payloads([0]), "KNOWN") as one:
        assert one.store(Series("heard").payloads([0])[0]).status == 0


def test_an_unknown_caller_is_refused_audited_counted_and_shown_until_it_is_allowed(strict: Nodus) -> None:
    before = strict.metric("nodus_associations_refused_total")
    for _ in range(5):
        assert rejection(strict, "STRANGER") == (1, 1, 3)
    eventually(lambda: sum(counts(strict, "STRANGER")) == 5, what="what was summed up is written too")
    assert counts(strict, "STRANGER")[0] == 1
    assert len(counts(strict, "STRANGER")) < 5
    refused = [entry for entry in strict.audit("association refused") if entry.actor == "STRANGER"]
    assert (refused[0].address, refused[0].outcome) == ("127.0.0.1", 8)
    assert strict.metric("nodus_associations_refused_total") == before + 5
    waiting = {row["ae_title"]: row for row in strict.json("senders")}["STRANGER"]
    assert (waiting["standing"], waiting["network"], waiting["refusals"]) == ("pending", "127.0.0.1/32", 5)

    said = strict.command("senders", "allow", "STRANGER@127.0.0.1")
    assert said == "STRANGER from 127.0.0.1/32 is allowed.\n"
    (answer,) = eventually(lambda: heard(strict, "STRANGER"), what="the stranger is heard without a restart")
    assert answer.status == 0
    assert [entry.actor for entry in strict.audit("sender changed")] == ["settings", "operator"]

    strict.command("senders", "deny", "STRANGER@127.0.0.1")
    eventually(lambda: not heard(strict, "STRANGER"), what="the stranger is refused again")


def counts(node: Nodus, calling: str) -> list[int]:
    """How many refusals each audit row of a caller stands for."""
    return [json.loads(each.detail)["count"] for each in node.audit("association refused") if each.actor == calling]


def heard(node: Nodus, calling: str) -> list[object]:
    try:
        return list(send(node.dicom_port, Series("stranger").payloads([0]), calling))
    except (Ended, OSError, Rejected):
        return []


def test_an_echo_of_a_stranger_is_refused_too(strict: Nodus) -> None:
    said = run_dcmtk("echoscu", "-aet", "ECHO", "-aec", "NODUS", "127.0.0.1", str(strict.dicom_port), check=False)
    assert "Calling AE Title Not Recognized" in said


def test_another_called_ae_title_is_refused_and_nobody_waits_for_it(strict: Nodus) -> None:
    assert rejection(strict, "KNOWN", "ORTHANC") == (1, 1, 7)
    eventually(lambda: [e for e in strict.audit("association refused") if "called AE title" in e.detail])
    assert [row["ae_title"] for row in Flow(strict.catalog).rows(tables.sender) if row["standing"] == "pending"].count(
        "KNOWN"
    ) == 0


def test_a_stranger_that_asks_for_another_ae_title_learns_only_that_it_is_a_stranger(strict: Nodus) -> None:
    assert rejection(strict, "NOBODY", "ORTHANC") == (1, 1, 3)


def test_more_associations_than_the_limit_are_refused_for_the_moment(strict: Nodus) -> None:
    open_ones = [Scanner(strict.dicom_port, CT, "KNOWN") for _ in range(AT_ONCE)]
    try:
        assert rejection(strict, "KNOWN") == (2, 3, 2)
    finally:
        for one in open_ones:
            one.release()
    eventually(lambda: heard(strict, "KNOWN"), what="there is room again")


def test_a_sender_that_falls_silent_is_aborted(strict: Nodus) -> None:
    one = Scanner(strict.dicom_port, CT, "KNOWN")
    one.socket.settimeout(8)
    with pytest.raises(Ended):
        one.read_pdu()
    one.socket.close()


def test_a_sender_that_falls_silent_inside_a_data_set_is_aborted_and_leaves_nothing(strict: Nodus) -> None:
    (payload,) = Series("silent").payloads([0])
    one = Scanner(strict.dicom_port, CT, "KNOWN")
    context = one.begin(payload)
    one.send(context, payload.data_set[:100], 0, 100, finish=False)
    one.socket.settimeout(8)
    with pytest.raises(Ended):
        one.read_pdu()
    one.socket.close()
    eventually(lambda: not list((strict.data / "spool" / "incoming").iterdir()))


def test_a_connection_that_says_nothing_is_closed(strict: Nodus) -> None:
    with socket.create_connection(("127.0.0.1", strict.dicom_port), 8) as silent:
        assert silent.recv(16) == b""


def test_what_is_no_association_request_is_closed(strict: Nodus) -> None:
    with socket.create_connection(("127.0.0.1", strict.dicom_port), 8) as browser:
        browser.sendall(b"GET / HTTP/1.1\r\nHost: nodus\r\n\r\n")
        received = b""
        while more := browser.recv(100):
            received += more
    assert received[:1] in (b"", b"\x07")
    assert heard(strict, "KNOWN")


def test_silent_connections_do_not_keep_a_known_sender_out(strict: Nodus) -> None:
    silent = [socket.create_connection(("127.0.0.1", strict.dicom_port)) for _ in range(20)]
    try:
        assert heard(strict, "KNOWN")
    finally:
        for each in silent:
            each.close()


def test_only_so_many_connections_may_say_nothing_at_once(strict: Nodus) -> None:
    silent = [
        socket.create_connection(("127.0.0.1", strict.dicom_port), 8)
        for _ in range(MOST_SILENT_OF_ONE[Regard.KNOWN] + 5)
    ]
    try:
        assert silent[-1].recv(1) == b""
        silent[0].setblocking(False)
        with pytest.raises(BlockingIOError):
            silent[0].recv(1)
        eventually(lambda: sum(counts(strict, "")) == 5, what="they are counted in the audit trail")
    finally:
        for each in silent:
            each.close()
    eventually(lambda: heard(strict, "KNOWN"), what="there is room again")


def test_a_decision_stays_over_a_restart_of_the_settings(strict: Nodus) -> None:
    with strict.catalog.writing() as session:
        peers.decide(session, Sender("LATER", "127.0.0.1/32", Standing.ALLOWED))
    eventually(lambda: heard(strict, "LATER"))
