"""What a C-STORE is on the wire (PS3.7 9.3.1, PS3.8 9.3.5), and what takes its data set."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pynetdicom.presentation import PresentationContext

C_STORE_RQ, C_STORE_RSP = 0x0001, 0x8001
NO_DATA_SET = 0x0101
P_DATA_TF_TYPE = 0x04
LAST_FRAGMENT, COMMAND_FRAGMENT = 0x02, 0x01


@dataclass(frozen=True)
class StoreRequest:
    """A C-STORE-RQ command set (PS3.7 9.3.1.1) and the presentation context it came on."""

    message_id: int
    affected_sop_class_uid: str
    affected_sop_instance_uid: str
    context: PresentationContext | None
    """None when the context was never accepted."""


@dataclass(frozen=True)
class StoreAnswer:
    """What to say in the C-STORE-RSP."""

    status: int
    comment: str = ""
    """(0000,0902), at most 64 characters."""


class StoreSink(Protocol):
    """Takes one data set, fragment by fragment. Never raises for a reason it can name in its answer."""

    def write(self, fragment: memoryview) -> None:
        """Take the next bytes; valid only during the call."""

    def finish(self) -> StoreAnswer:
        """The data set is whole: make it durable, then say how it went."""

    def abandon(self) -> None:
        """The association ended inside the data set."""


def parse_command_set(raw: bytes) -> dict[int, bytes]:
    """Element number in group 0000 to value; always Implicit VR Little Endian (PS3.7 6.3.1).

    Raises struct.error when it is cut.
    """
    elements: dict[int, bytes] = {}
    offset = 0
    while offset < len(raw):
        _, element, length = struct.unpack_from("<HHI", raw, offset)
        elements[element] = raw[offset + 8 : offset + 8 + length]
        offset += 8 + length
    return elements


def encode_command_set(elements: dict[int, bytes]) -> bytes:
    """The opposite of `parse_command_set`, with the group length in front."""
    body = b"".join(struct.pack("<HHI", 0, element, len(value)) + value for element, value in sorted(elements.items()))
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def _even(text: str, pad: bytes) -> bytes:
    raw = text.encode("ascii", "replace")
    return raw + pad * (len(raw) % 2)


def store_response(request: StoreRequest, answer: StoreAnswer) -> bytes:
    """The command set of a C-STORE-RSP (PS3.7 9.3.1.2)."""
    elements = {
        0x0002: _even(request.affected_sop_class_uid, b"\0"),
        0x0100: struct.pack("<H", C_STORE_RSP),
        0x0120: struct.pack("<H", request.message_id),
        0x0800: struct.pack("<H", NO_DATA_SET),
        0x0900: struct.pack("<H", answer.status),
        0x1000: _even(request.affected_sop_instance_uid, b"\0"),
    }
    if answer.comment:
        elements[0x0902] = _even(answer.comment[:64], b" ")
    return encode_command_set(elements)


class Pdv(NamedTuple):
    """One presentation data value (PS3.8 9.3.5.1)."""

    context_id: int
    control: int
    fragment: memoryview


def pdv_at(body: memoryview, offset: int) -> Pdv | None:
    """The presentation data value that begins there; None when it does not end inside its PDU."""
    end = offset + 4 + int.from_bytes(body[offset : offset + 4], "big")
    if not offset + 6 <= end <= len(body):
        return None
    return Pdv(body[offset + 4], body[offset + 5], body[offset + 6 : end])


def p_data_tf(body: bytes | memoryview) -> bytes:
    """A whole P-DATA-TF PDU (PS3.8 9.3.5)."""
    return struct.pack(">BBI", P_DATA_TF_TYPE, 0, len(body)) + bytes(body)


class Message:
    """The C-STORE being received on an association."""

    def __init__(self) -> None:
        self.command = bytearray()
        self.held: list[bytes] = []
        """Its PDUs as they came, until it is known to be a C-STORE."""
        self.held_bytes = 0
        self.request: StoreRequest | None = None
        self.context_id = 0
        self.sink: StoreSink | None = None

    def hold(self, body: memoryview) -> None:
        """Keep a PDU for the case that this is no C-STORE."""
        self.held.append(p_data_tf(body))
        self.held_bytes += len(self.held[-1])

    def store_request(self, contexts: Mapping[int, PresentationContext]) -> StoreRequest | None:
        """The request, or None when it is not a well-formed C-STORE-RQ with a data set."""
        try:
            elements = parse_command_set(bytes(self.command))
            field, message_id, data_set = (
                struct.unpack("<H", elements[element])[0] for element in (0x0100, 0x0110, 0x0800)
            )
            if field != C_STORE_RQ or data_set == NO_DATA_SET:
                return None
            sop_class, instance = (
                elements[element].decode("ascii", "replace").rstrip("\0 ") for element in (0x0002, 0x1000)
            )
        except (KeyError, struct.error):
            return None
        return StoreRequest(message_id, sop_class, instance, contexts.get(self.context_id))
