"""dicom/store_scp.py and upper_layer: what no peer and no fault of ours may do to a listener."""

import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_role, evt, sop_class
from pynetdicom.events import Event
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from node.dicom import contexts
from node.dicom.answers import keep_answers
from node.dicom.places import Places
from node.dicom.store_scp import Listening, StoreSCP
from node.dicom.upper_layer.acceptor import Door
from node.dicom.upper_layer.association import StreamingAssociation
from node.dicom.upper_layer.provider import LONGEST_COMMAND_BYTES, LONGEST_GATHERED_BYTES, PDU_SLACK_BYTES
from node.domain.peers import Sender, Standing
from node.doors import bind
from node.spool import Spool
from tests.architecture import conformance
from tests.sender import COMMAND, DATA, LAST, Ended, Rejected, Scanner, _pdu, command_set
from tests.servers import eventually

KIND = (CTImageStorage, ExplicitVRLittleEndian)
FIND = (str(StudyRootQueryRetrieveInformationModelFind), str(ImplicitVRLittleEndian))
MAXIMUM_PDU = 4096
MOST_CONTEXTS = 128
QUESTIONS = 80
BLOCKED_AFTER_S = 3.0
"""A listener that reads on makes room much faster."""


@contextmanager
def prepared(
    folder: Path, on_find: Callable[[Event], Iterator[object]] | None = None
) -> Iterator[tuple[StoreSCP, int]]:
    """A listener in this process that knows everybody here, and its port."""
    spool = Spool(folder, minimum_free_bytes=0, minimum_free_fraction=0.0)
    spool.prepare()
    places = Places(folder / "associations", 10, 10)
    places.prepare()
    listening = Listening("NODUS", MAXIMUM_PDU, 5.0, 30.0 if on_find else 5.0, worklist_ae_title="WORKLIST")
    scp = StoreSCP(listening, spool, places, lambda _: None, lambda _: None)
    scp.know([Sender("*", "127.0.0.0/8", Standing.ALLOWED)])
    with bind("127.0.0.1", 0, "--port") as listener:
        scp.prepare([Door(listener)], contexts.accepted(), ((evt.EVT_C_FIND, on_find),) if on_find else ())
        yield scp, listener.getsockname()[1]


@contextmanager
def serving(folder: Path, on_find: Callable[[Event], Iterator[object]] | None = None) -> Iterator[int]:
    """The same, serving until the end of the block."""
    with prepared(folder, on_find) as (scp, port):
        thread = threading.Thread(target=scp.serve, daemon=True)
        thread.start()
        try:
            yield port
        finally:
            scp.stop()
            thread.join(10.0)
            assert not thread.is_alive()
            eventually(lambda: not any(isinstance(each, StreamingAssociation) for each in threading.enumerate()))


def test_a_stop_that_comes_before_serving_begins_counts(tmp_path: Path) -> None:
    with prepared(tmp_path) as (scp, _):
        scp.stop()
        serving = threading.Thread(target=scp.serve, daemon=True)
        serving.start()
        serving.join(10.0)
        assert not serving.is_alive()


def test_a_request_that_we_stumble_over_is_refused_and_not_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(tmp_path) as port:
        with monkeypatch.context() as broken:
            broken.setattr(Places, "take", lambda *_: 1 / 0)
            with pytest.raises(Rejected) as refused:
                Scanner(port, [KIND]).abort()
        assert (refused.value.result, refused.value.source, refused.value.reason) == (2, 3, 2)
        assert "an association request could not be judged" in caplog.text
        Scanner(port, [KIND]).release()


def test_a_connection_for_which_no_thread_is_left_is_closed_and_the_next_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with serving(tmp_path) as port:
        with monkeypatch.context() as limit:
            limit.setattr(StreamingAssociation, "start", no_thread)
            with socket.create_connection(("127.0.0.1", port), 20) as connection:
                assert connection.recv(1) == b""
        Scanner(port, [KIND]).release()


OURS = "Accepted under `ae_title`"
NOT_STORED = "1.2.840.10008.1.2.4.100"
KNOWN = sorted({str(each) for each in sop_class.__dict__.values() if isinstance(each, sop_class.SOPClass)})
"""Every SOP class that pynetdicom can name."""


def batches(some: Iterable[Any]) -> Iterator[list[Any]]:
    """What one association can propose, each time."""
    left = list(some)
    return (left[start : start + MOST_CONTEXTS] for start in range(0, len(left), MOST_CONTEXTS))


def pairs_of(heading: str) -> set[tuple[str, str]]:
    """(SOP class, transfer syntax) that the statement says are accepted."""
    return {(uid, each) for uid, (_, taken) in conformance.accepted(heading).items() for each in taken}


def negotiated(port: int, pairs: Iterable[tuple[str, str]], called: str = "NODUS") -> set[tuple[str, str]]:
    """What of (SOP class, transfer syntax) is accepted."""
    found: set[tuple[str, str]] = set()
    for batch in batches(pairs):
        one = Scanner(port, batch, called=called)
        found |= one.accepted
        one.release()
    return found


def test_what_the_conformance_statement_says_is_negotiated_and_nothing_else(tmp_path: Path) -> None:
    said, of_worklist = pairs_of(OURS), pairs_of("Accepted under `worklist_ae_title`")
    others = {(uid, syntax) for uid in KNOWN for syntax in (ExplicitVRLittleEndian, NOT_STORED)}
    every = said | {(uid, syntax) for uid, _ in said for syntax in contexts.STORED_SYNTAXES} | others
    with serving(tmp_path) as port:
        assert negotiated(port, sorted(every)) == said
        assert negotiated(port, sorted(of_worklist | others), "WORKLIST") == of_worklist


def test_roles_are_negotiated_as_the_conformance_statement_says(tmp_path: Path) -> None:
    ours = conformance.accepted(OURS)
    with serving(tmp_path) as port:
        for batch in batches(ours):
            ae = AE("SCANNER")
            roles = [build_role(uid, scu_role=True, scp_role=True) for uid in batch]
            association = keep_answers(
                ae.associate("127.0.0.1", port, [build_context(uid) for uid in batch], "NODUS", ext_neg=roles)
            )
            found = {str(each.abstract_syntax): each.as_scp for each in association.accepted_contexts}
            association.release()
            assert found == {uid: ours[uid][0] == conformance.BOTH for uid in batch}


def is_broken_off(one: Scanner, pdu: bytes, limit: int) -> bool:
    """Whether a peer that is sent the same PDU again and again aborts soon after so many bytes."""
    one.socket.settimeout(20.0)
    try:
        for _ in range(2 * limit // len(pdu)):
            one.socket.sendall(pdu)
        one.socket.shutdown(socket.SHUT_WR)
        one.read_pdu()
    except ConnectionError:
        return True
    except Ended as end:
        return str(end) != "closed"
    return False


@pytest.mark.parametrize("fragment", [b"", bytes(2000)], ids=["empty", "full"])
def test_a_command_that_never_ends_is_broken_off(tmp_path: Path, fragment: bytes) -> None:
    with serving(tmp_path) as port:
        one = Scanner(port, [KIND])
        pdu = _pdu(DATA, struct.pack(">IBB", len(fragment) + 2, 1, COMMAND) + fragment)
        ended = is_broken_off(one, pdu, LONGEST_COMMAND_BYTES + MAXIMUM_PDU + PDU_SLACK_BYTES)
        one.socket.close()
    assert ended


def test_a_message_that_is_no_store_and_never_ends_is_broken_off(tmp_path: Path) -> None:
    with serving(tmp_path) as port:
        one = Scanner(port, [KIND])
        find = {0x0002: KIND[0].encode(), 0x0100: b"\x20\0", 0x0110: b"\1\0", 0x0700: b"\0\0", 0x0800: b"\1\0"}
        one.send(1, command_set(find), COMMAND, 1000)
        ended = is_broken_off(one, _pdu(DATA, struct.pack(">IBB", 4002, 1, 0) + bytes(4000)), LONGEST_GATHERED_BYTES)
        one.socket.close()
    assert ended


def question() -> bytes:
    """A C-FIND with half a megabyte of keys."""
    find = {0x0002: FIND[0].encode() + b"\0", 0x0100: b"\x20\0", 0x0110: b"\1\0", 0x0700: b"\0\0", 0x0800: b"\1\0"}
    command = command_set(find)
    pdus = _pdu(DATA, struct.pack(">IBB", len(command) + 2, 1, COMMAND | LAST) + command)
    pdus += _pdu(DATA, struct.pack(">IBB", 4002, 1, 0) + bytes(4000)) * 125
    return pdus + _pdu(DATA, struct.pack(">IBB", 2, 1, LAST))


def test_who_asks_on_without_waiting_for_an_answer_is_read_no_further_and_answered_in_the_end(tmp_path: Path) -> None:
    go_on = threading.Event()

    def slow(_: Event) -> Iterator[object]:
        go_on.wait(60.0)
        yield from ()

    with serving(tmp_path, slow) as port:
        one = Scanner(port, [FIND])
        asked, sent = memoryview(question() * QUESTIONS), 0
        one.socket.settimeout(BLOCKED_AFTER_S)
        with suppress(TimeoutError):
            while sent < len(asked):
                sent += one.socket.send(asked[sent : sent + (1 << 16)])
        assert sent < len(asked)
        go_on.set()
        one.socket.settimeout(60.0)
        rest = threading.Thread(target=one.socket.sendall, args=(asked[sent:],), daemon=True)
        rest.start()
        assert [one.read_pdu()[0] for _ in range(QUESTIONS)] == [DATA] * QUESTIONS
        rest.join()
        one.release()
