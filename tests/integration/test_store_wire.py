"""C-STORE in every shape that the wire allows, and in some that it does not, to a running node."""

import json
import struct

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tests.received import kept, registered, slices
from tests.sender import COMMAND, DATA, LAST, Ended, Pieces, Scanner, command_set, scanner, send
from tests.servers import Nodus, eventually
from tests.studies import Series


@pytest.mark.parametrize(
    "pieces", [Pieces(1, 1), Pieces(7, 3), Pieces(1000, 1000), Pieces(1 << 20, 1000)], ids=["1", "7", "1000", "whole"]
)
def test_a_message_in_any_pieces_is_put_together(sqlite_node: Nodus, pieces: Pieces) -> None:
    (payload,) = slices(f"pieces {pieces}")
    with scanner(sqlite_node.dicom_port, [payload]) as one:
        assert one.store(payload, pieces=pieces).status == 0
    assert kept(sqlite_node, payload) == [payload.data_set]


def test_several_pdvs_in_one_pdu_are_put_together(sqlite_node: Nodus) -> None:
    (payload,) = slices("several pdvs")
    with scanner(sqlite_node.dicom_port, [payload]) as one:
        context = one.begin(payload)
        parts = [payload.data_set[start : start + 300] for start in range(0, len(payload.data_set), 300)]
        pdvs = b"".join(
            struct.pack(">IBB", len(part) + 2, context, LAST if number == len(parts) - 1 else 0) + part
            for number, part in enumerate(parts)
        )
        one.socket.sendall(struct.pack(">BBI", DATA, 0, len(pdvs)) + pdvs)
        assert one.answer().status == 0
    assert kept(sqlite_node, payload) == [payload.data_set]


def test_a_second_message_in_the_pdu_that_ends_the_first_ends_the_association(sqlite_node: Nodus) -> None:
    """A peer waits for an answer before it goes on; one that does not would mix two instances up."""
    first, second = slices("mixed", 2)
    one = Scanner(sqlite_node.dicom_port, [(CTImageStorage, ExplicitVRLittleEndian)])
    context = one.begin(first)
    parts = [(LAST, first.data_set), (COMMAND | LAST, command_set({0x0100: b"\1\0", 0x1000: b"1.2\0"}))]
    pdvs = b"".join(struct.pack(">IBB", len(part) + 2, context, control) + part for control, part in parts)
    one.socket.sendall(struct.pack(">BBI", DATA, 0, len(pdvs)) + pdvs)
    assert one.answer().status == 0
    with pytest.raises(Ended):
        one.read_pdu()
    one.socket.close()
    assert (kept(sqlite_node, first), kept(sqlite_node, second)) == ([first.data_set], [])


@pytest.mark.parametrize("end", ["abort", "vanish"])
def test_an_association_that_ends_inside_a_data_set_leaves_only_what_was_acknowledged(node: Nodus, end: str) -> None:
    series = Series(f"{end} {node.web_port}", count=3)
    payloads = series.payloads()
    one = Scanner(node.dicom_port, [(CTImageStorage, ExplicitVRLittleEndian)], end.upper())
    assert one.store(payloads[0]).status == 0
    context = one.begin(payloads[1])
    one.send(context, payloads[1].data_set[:500], 0, 100, finish=False)
    getattr(one, end)()
    registered(node, series, 1)
    eventually(lambda: not list((node.data / "spool" / "incoming").iterdir()), what="nothing is left half written")
    assert kept(node, payloads[1]) == []
    closed = eventually(lambda: [each for each in node.audit("association closed") if each.actor == end.upper()])
    ended = json.loads(closed[0].detail)
    assert (ended["ending"], ended["stored"]) == ("aborted", 1)


def test_a_data_set_before_its_command_ends_the_association(sqlite_node: Nodus) -> None:
    one = Scanner(sqlite_node.dicom_port, [(CTImageStorage, ExplicitVRLittleEndian)])
    one.send(1, b"data first", 0, 100)
    with pytest.raises(Ended):
        one.answer()
    one.socket.close()


@pytest.mark.parametrize(
    "pdu",
    [b"\x09\0\0\0\0\x04abcd", b"\x04\0\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n", b"\x04\0\0\0\0\0"],
    ids=["unknown type", "endless", "http", "empty"],
)
def test_what_is_no_pdu_ends_the_association_and_nothing_else(sqlite_node: Nodus, pdu: bytes) -> None:
    one = Scanner(sqlite_node.dicom_port, [(CTImageStorage, ExplicitVRLittleEndian)])
    one.socket.sendall(pdu)
    if pdu.endswith(b"\0\0\0\0\0"):
        one.release()  # an empty PDU says nothing, and harms nothing
    else:
        with pytest.raises(Ended):
            one.read_pdu()
    one.socket.close()
    assert send(sqlite_node.dicom_port, slices("after " + pdu.hex()))[0].status == 0


def test_a_pdv_that_is_longer_than_its_pdu_ends_the_association(sqlite_node: Nodus) -> None:
    (payload,) = slices("long pdv")
    one = Scanner(sqlite_node.dicom_port, [(CTImageStorage, ExplicitVRLittleEndian)])
    context = one.begin(payload)
    pdv = struct.pack(">IBB", len(payload.data_set) + 1000, context, LAST) + payload.data_set
    one.socket.sendall(struct.pack(">BBI", DATA, 0, len(pdv)) + pdv)
    with pytest.raises(Ended):
        one.answer()
    one.socket.close()
    assert kept(sqlite_node, payload) == []


def test_a_command_that_is_no_command_ends_the_association(sqlite_node: Nodus) -> None:
    one = Scanner(sqlite_node.dicom_port, [(CTImageStorage, ExplicitVRLittleEndian)])
    one.send(1, b"\0\0\0\0\xff\xff\xff\x7f", COMMAND, 100)
    with pytest.raises(Ended):
        one.answer()
    one.socket.close()
