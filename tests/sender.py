"""A scanner that sends bytes as they are: right or wrong, whole or cut, in one PDU or in hundreds."""

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import ImplicitVRLittleEndian

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
COMMAND, LAST = 1, 2
TIMEOUT_S = 30.0


class Payload(NamedTuple):
    """One instance as it goes over the wire."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set: bytes


def payload_of_file(path: Path) -> Payload:
    """The data set of a file byte for byte, and what its own elements say that it is; empty where they do not."""
    raw = path.read_bytes()
    names = dcmread(path, force=True, stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID"])
    syntax = str(names.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian))
    start = _end_of_meta(raw)
    return Payload(str(names.get("SOPClassUID", "")), str(names.get("SOPInstanceUID", "")), syntax, raw[start:])


def _end_of_meta(raw: bytes) -> int:
    """Where group 0002 ends; 0 for a file that begins with its data set."""
    offset = 132 if raw[128:132] == b"DICM" else 0
    while raw[offset : offset + 2] == b"\x02\x00":
        long = raw[offset + 4 : offset + 6] in (b"OB", b"UN", b"OW", b"SQ", b"UT")
        length = struct.unpack_from("<I" if long else "<H", raw, offset + (8 if long else 6))[0]
        offset += (12 if long else 8) + length
    return offset


def payload_of(dataset: Dataset) -> Payload:
    """A data set that has file meta, encoded as that says."""
    file = BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    raw = file.getvalue()
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    return Payload(str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), syntax, raw[_end_of_meta(raw) :])


class Rejected(Exception):
    """A-ASSOCIATE-RJ."""

    def __init__(self, result: int, source: int, reason: int) -> None:
        super().__init__(f"result {result}, source {source}, reason {reason}")
        self.result, self.source, self.reason = result, source, reason


class Ended(Exception):
    """The peer aborted or closed."""


@dataclass(frozen=True)
class Stored:
    """A C-STORE-RSP."""

    status: int
    comment: str = ""
    sop_instance_uid: str = ""


@dataclass(frozen=True)
class Pieces:
    """How a message is cut into fragments."""

    data_set: int = 16_000
    """Bytes of data set in a PDV."""
    command: int = 1_000
    """Bytes of command in a PDV."""


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(content)) + content


def _pdu(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBI", kind, 0, len(content)) + content


def command_set(elements: dict[int, bytes]) -> bytes:
    """Group 0000, Implicit VR Little Endian."""
    body = b"".join(struct.pack("<HHI", 0, element, len(value)) + value for element, value in sorted(elements.items()))
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def _uid(value: str) -> bytes:
    return value.encode() + b"\0" * (len(value) % 2)


class Scanner:
    """One association, driven by hand."""

    def __init__(
        self,
        port: int,
        kinds: Sequence[tuple[str, str]],
        calling: str = "SCANNER",
        called: str = "NODUS",
        source: str = "127.0.0.1",
    ):
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S, (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._contexts = {kind: 2 * number + 1 for number, kind in enumerate(dict.fromkeys(kinds))}
        self._message = 0
        self.accepted: set[tuple[str, str]] = set()
        """(SOP class, transfer syntax) of the accepted contexts."""
        try:
            self.socket.sendall(_pdu(ASSOCIATE_RQ, self._request(calling, called)))
            self._read_acceptance()
        except (Ended, OSError, Rejected):
            self.socket.close()
            raise

    def _request(self, calling: str, called: str) -> bytes:
        items = _item(0x10, b"1.2.840.10008.3.1.1.1")
        for (sop_class, syntax), number in self._contexts.items():
            parts = _item(0x30, sop_class.encode()) + _item(0x40, syntax.encode())
            items += _item(0x20, bytes((number, 0, 0, 0)) + parts)
        items += _item(0x50, _item(0x51, struct.pack(">I", 1 << 16)) + _item(0x52, b"1.2.826.0.1.3680043.9.9999"))
        return struct.pack(">HH16s16s32x", 1, 0, called.ljust(16).encode(), calling.ljust(16).encode()) + items

    def _read_acceptance(self) -> None:
        kind, body = self.read_pdu()
        if kind == ASSOCIATE_RJ:
            raise Rejected(*body[1:4])
        assert kind == ASSOCIATE_AC, kind
        offset, results = 68, {}
        while offset < len(body):
            item, length = struct.unpack_from(">BxH", body, offset)
            if item == 0x21:
                results[body[offset + 4]] = body[offset + 6]
            offset += 4 + length
        self.accepted = {kind for kind, number in self._contexts.items() if results.get(number) == 0}

    def read_pdu(self) -> tuple[int, bytes]:
        """The next PDU of the peer. Raises Ended."""
        kind, length = struct.unpack(">BxI", self._exactly(6))
        if kind == ABORT:
            raise Ended("aborted")
        return kind, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        raw = b""
        while len(raw) < count:
            try:
                more = self.socket.recv(count - len(raw))
            except ConnectionError as error:
                raise Ended(str(error)) from None
            if not more:
                raise Ended("closed")
            raw += more
        return raw

    def begin(self, payload: Payload, pieces: Pieces = Pieces(), kind: tuple[str, str] | None = None) -> int:
        """Send the command of a C-STORE; returns the context to send the data set on."""
        self._message = self._message % 0xFFFF + 1
        context = self._contexts[kind or (payload.sop_class_uid, payload.transfer_syntax_uid)]
        command = command_set({
            0x0002: _uid(payload.sop_class_uid),
            0x0100: struct.pack("<H", 0x0001),
            0x0110: struct.pack("<H", self._message),
            0x0700: struct.pack("<H", 0),
            0x0800: struct.pack("<H", 0x0001),
            0x1000: _uid(payload.sop_instance_uid),
        })  # fmt: skip
        self.send(context, command, COMMAND, pieces.command)
        return context

    def command(self, kind: tuple[str, str], elements: dict[int, bytes]) -> None:
        """Send a message that is nothing but a command."""
        self._message = self._message % 0xFFFF + 1
        rest = {0x0110: struct.pack("<H", self._message), 0x0800: struct.pack("<H", 0x0101)}
        self.send(self._contexts[kind], command_set({**rest, **elements}), COMMAND, 1_000)

    def send(self, context: int, content: bytes, control: int, size: int, *, finish: bool = True) -> None:
        """Send one part of a message in PDVs of `size` bytes, each in a PDU of its own."""
        for start in range(0, max(1, len(content)), size):
            part = content[start : start + size]
            last = LAST if finish and start + size >= len(content) else 0
            pdv = struct.pack(">IBB", len(part) + 2, context, control | last) + part
            self.socket.sendall(_pdu(DATA, pdv))

    def store(self, payload: Payload, *, pieces: Pieces = Pieces(), kind: tuple[str, str] | None = None) -> Stored:
        """A whole C-STORE. `kind` chooses another presentation context than the payload's own."""
        context = self.begin(payload, pieces, kind)
        self.send(context, payload.data_set, 0, pieces.data_set)
        return self.answer()

    def answer(self) -> Stored:
        """Read a C-STORE-RSP."""
        kind, body = self.read_pdu()
        assert kind == DATA, kind
        elements, offset = {}, 6
        while offset < len(body):
            element, length = struct.unpack_from("<2xHI", body, offset)
            elements[element] = body[offset + 8 : offset + 8 + length]
            offset += 8 + length
        assert struct.unpack("<H", elements[0x0120]) == (self._message,)
        return Stored(
            struct.unpack("<H", elements[0x0900])[0],
            elements.get(0x0902, b"").decode().strip(),
            elements.get(0x1000, b"").decode().rstrip("\0"),
        )

    def release(self) -> None:
        """End in order."""
        self.socket.sendall(_pdu(RELEASE_RQ, bytes(4)))
        assert self.read_pdu()[0] == RELEASE_RP
        self.socket.close()

    def abort(self) -> None:
        """A-ABORT."""
        self.socket.sendall(_pdu(ABORT, bytes(4)))
        self.socket.close()

    def vanish(self) -> None:
        """As when the cable is pulled and the machine comes back: a reset, no A-ABORT."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


@contextmanager
def scanner(port: int, payloads: Sequence[Payload], calling: str = "SCANNER") -> Iterator[Scanner]:
    """An association for some payloads, released at the end of the block, aborted when it fails."""
    one = Scanner(port, [(each.sop_class_uid, each.transfer_syntax_uid) for each in payloads], calling)
    try:
        yield one
        one.release()
    finally:
        one.socket.close()


def send(port: int, payloads: Sequence[Payload], calling: str = "SCANNER") -> list[Stored]:
    """Send some payloads over one association; returns the answers in order."""
    with scanner(port, payloads, calling) as one:
        return [one.store(payload) for payload in payloads]


def announced_as(payload: Payload, *, sop_class_uid: str = "", sop_instance_uid: str = "") -> Payload:
    """The same bytes under other Affected UIDs."""
    return payload._replace(
        sop_class_uid=sop_class_uid or payload.sop_class_uid,
        sop_instance_uid=sop_instance_uid or payload.sop_instance_uid,
    )
