"""What a listener may be told that is no DICOM, or not now: seeded, one connection each."""

import random
import struct
from collections.abc import Callable

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom.sop_class import Verification

from tests.sender import ABORT, ASSOCIATE_AC, COMMAND, DATA, LAST, RELEASE_RP, RELEASE_RQ, command_set
from tests.sender import _item as item
from tests.sender import _pdu as pdu
from tests.studies import Series

CT, ECHO = (CTImageStorage, ExplicitVRLittleEndian), (str(Verification), "1.2.840.10008.1.2")
CONTEXTS = {1: CT, 3: ECHO}
DATA_SET = Series("pdu").payloads([0])[0].data_set


def request(contexts: int = 0, called: bytes = b"NODUS", calling: bytes = b"FUZZ", user: bytes = b"") -> bytes:
    """The body of an A-ASSOCIATE-RQ with CONTEXTS and as many more as are wanted."""
    items = item(0x10, b"1.2.840.10008.3.1.1.1")
    proposed = {**CONTEXTS, **{number % 256: CT for number in range(5, 5 + contexts)}}
    for number, (sop_class, syntax) in proposed.items():
        parts = item(0x30, sop_class.encode()) + item(0x40, syntax.encode())
        items += item(0x20, bytes((number, 0, 0, 0)) + parts)
    items += item(0x20, bytes((5, 0, 0, 0)) + item(0x30, CT[0].encode()) + item(0x40, CT[1].encode())) * contexts
    items += item(0x50, user or item(0x51, struct.pack(">I", 1 << 16)) + item(0x52, b"1.2.826.0.1.3680043.9.9999"))
    return struct.pack(">HH16s16s32x", 1, 0, called.ljust(16), calling.ljust(16)) + items


def pdv(content: bytes, control: int, context: int = 1, lie: int = 0) -> bytes:
    """A presentation data value whose length may lie."""
    return struct.pack(">IBB", max(0, len(content) + 2 + lie), context, control) + content


def command(context: int = 1, **changes: bytes | None) -> bytes:
    """A P-DATA-TF with a C-STORE-RQ; `e0002=b"..."` changes an element, None leaves it out."""
    elements = {
        0x0002: CT[0].encode() + b"\0",
        0x0100: struct.pack("<H", 1),
        0x0110: struct.pack("<H", 1),
        0x0700: struct.pack("<H", 0),
        0x0800: struct.pack("<H", 1),
        0x1000: b"1.2.3.4\0",
    }
    for name, value in changes.items():
        if value is None:
            elements.pop(int(name[1:], 16))
        else:
            elements[int(name[1:], 16)] = value
    return pdu(DATA, pdv(command_set(elements), COMMAND | LAST, context))


BEFORE: dict[str, bytes] = {
    "data before association": pdu(DATA, pdv(DATA_SET, LAST)),
    "release before association": pdu(RELEASE_RQ, bytes(4)),
    "abort before association": pdu(ABORT, bytes(4)),
    "an acceptance instead of a request": pdu(ASSOCIATE_AC, request()),
    "an unknown type": pdu(0x42, b"abcd"),
    "nothing in a request": pdu(1, b""),
    "a cut request": pdu(1, request()[:70]),
    "a request that ends in a head": pdu(1, request() + b"\x20\0"),
    "a longer length than comes": pdu(1, request())[:5] + b"\xff" + request(),
    "the largest length": struct.pack(">BBI", 1, 0, 0xFFFFFFFF) + request(),
    "an item longer than its PDU": pdu(1, request() + struct.pack(">BBH", 0x20, 0, 0xFFFF)),
    "no protocol version": pdu(1, b"\0\0" + request()[2:]),
    "not our title": pdu(1, request(called=b"SOMEBODY")),
    "titles that are no text": pdu(1, request(called=b"\xff\0\x1b", calling=b"\0" * 16)),
    "thousands of contexts": pdu(1, request(contexts=2000)),
    "a maximum length of one": pdu(1, request(user=item(0x51, struct.pack(">I", 1)))),
    "a maximum length of two bytes": pdu(1, request(user=item(0x51, b"\0\1"))),
    "every user item twice": pdu(1, request(user=(item(0x51, bytes(4)) + item(0x52, b"1.2") + item(0x55, b"X")) * 2)),
    "an identity that is none": pdu(1, request(user=item(0x58, b"\x63\1" + struct.pack(">H", 60000)))),
    "http": b"GET / HTTP/1.1\r\nHost: nodus\r\n\r\n",
    "tls": bytes.fromhex("16030100c8010000c40303") + bytes(100),
}
"""Sent on a fresh connection."""

AFTER: dict[str, bytes] = {
    "a data set without a command": pdu(DATA, pdv(DATA_SET, LAST)),
    "a PDV shorter than it says": pdu(DATA, pdv(DATA_SET, LAST, lie=9999)),
    "a PDV longer than it says": pdu(DATA, pdv(DATA_SET, LAST, lie=-9)),
    "a PDV of no length": pdu(DATA, bytes(4)),
    "an empty PDU": pdu(DATA, b"") * 50,
    "a PDU larger than announced": pdu(DATA, pdv(bytes(1 << 18), 0)),
    "the largest PDU": struct.pack(">BBI", DATA, 0, 0xFFFFFFFF),
    "a context that was not accepted": command(context=99) + pdu(DATA, pdv(DATA_SET, LAST, 99)),
    "two messages at once": command() + command() + pdu(DATA, pdv(DATA_SET, LAST)) * 2,
    "another context in the middle": command() + pdu(DATA, pdv(DATA_SET[:99], 0)) + pdu(DATA, pdv(b"x", LAST, 3)),
    "a command in the middle": command() + pdu(DATA, pdv(DATA_SET[:99], 0)) + command(context=3),
    "an endless command": pdu(DATA, pdv(bytes(60_000), COMMAND)) * 4,
    "a command of garbage": pdu(DATA, pdv(b"\xff" * 99, COMMAND | LAST)),
    "a command cut in an element": pdu(DATA, pdv(command_set({0x0100: b"\1\0"})[:-1], COMMAND | LAST)),
    "no command field": command(e0100=None) + pdu(DATA, pdv(DATA_SET, LAST)),
    "an unknown command field": command(e0100=b"\x34\x12") + pdu(DATA, pdv(DATA_SET, LAST)),
    "a response that nobody asked for": command(e0100=b"\x01\x80", e0800=b"\1\1"),
    "a cancel of nothing": command(e0100=b"\xff\x0f", e0800=b"\1\1"),
    "no message id": command(e0110=None) + pdu(DATA, pdv(DATA_SET, LAST)),
    "an odd message id": command(e0110=b"\1") + pdu(DATA, pdv(DATA_SET, LAST)),
    "no class": command(e0002=None) + pdu(DATA, pdv(DATA_SET, LAST)),
    "no instance": command(e1000=None) + pdu(DATA, pdv(DATA_SET, LAST)),
    "a large instance": command(e1000=b"1" * 50_000) + pdu(DATA, pdv(DATA_SET, LAST)),
    "a store without a data set": command(e0800=b"\1\1"),
    "an echo with a data set": command(3, e0100=b"\x30\0") + pdu(DATA, pdv(DATA_SET, LAST, 3)),
    "a find on a storage context": command(e0100=b"\x20\0") + pdu(DATA, pdv(DATA_SET, LAST)),
    "a get": command(e0100=b"\x10\0") + pdu(DATA, pdv(DATA_SET, LAST)),
    "an N-ACTION": command(e0100=b"\x30\1", e0003=b"1.2 ", e1001=b"1.2 ") + pdu(DATA, pdv(DATA_SET, LAST)),
    "data after release": pdu(RELEASE_RQ, bytes(4)) + command() + pdu(DATA, pdv(DATA_SET, LAST)),
    "release twice": pdu(RELEASE_RQ, bytes(4)) * 2,
    "an answer to no release": pdu(RELEASE_RP, bytes(4)),
    "a second request": pdu(1, request()),
    "release inside a data set": command() + pdu(DATA, pdv(DATA_SET[:99], 0)) + pdu(RELEASE_RQ, bytes(4)),
    "abort inside a data set": command() + pdu(DATA, pdv(DATA_SET[:99], 0)) + pdu(ABORT, bytes(4)),
}
"""Sent on an association with CONTEXTS."""


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """Some bytes of it changed, lost or doubled."""
    out = bytearray(raw)
    for _ in range(chance.randint(1, 6)):
        place, how = chance.randrange(len(out)), chance.randrange(4)
        if how == 0:
            out[place] = chance.randrange(256)
        elif how == 1:
            out[place] ^= 1 << chance.randrange(8)
        elif how == 2 and len(out) > 8:
            del out[place : place + chance.randint(1, 4)]
        else:
            out[place:place] = chance.randbytes(chance.randint(1, 4))
    return bytes(out)


def random_requests(seed: int, count: int) -> list[bytes]:
    """Random bytes, and requests with random faults."""
    chance = random.Random(seed)
    makers: tuple[Callable[[], bytes], ...] = (
        lambda: chance.randbytes(chance.randint(1, 300)),
        lambda: mutated(pdu(1, request()), chance),
        lambda: pdu(1, mutated(request(), chance)),
    )
    return [makers[number % len(makers)]() for number in range(count)]


def random_messages(seed: int, count: int) -> list[bytes]:
    """C-STORE requests with random faults in PDU, PDV, command set and data set."""
    chance = random.Random(seed)
    whole = command() + pdu(DATA, pdv(DATA_SET[:400], LAST))
    return [mutated(whole, chance) if number % 4 else chance.randbytes(200) for number in range(count)]
