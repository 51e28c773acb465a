"""The file meta of what we receive: which instance it is, who brought it, and when."""

import json
import struct
from dataclasses import asdict, dataclass
from datetime import datetime

from pydicom.dataset import FileMetaDataset

from node.domain.reception import Reception

PRIVATE_CREATOR_UID = "2.25.231326865359477479071336481166390499942"
"""(0002,0100) of our files: says that (0002,0102) holds a Reception as JSON."""

IMPLEMENTATION_CLASS_UID = "2.25.109031846779693055800205579940602735386"


@dataclass(frozen=True)
class FileIdentity:
    """What a file meta must name (PS3.10 7.1)."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


def reception_of(meta: FileMetaDataset) -> Reception | None:
    """What the file meta of a file of ours says about its arrival; None for a file that is not ours, or is damaged."""
    try:
        if meta.get("PrivateInformationCreatorUID") != PRIVATE_CREATOR_UID:
            return None
        reception = Reception(**json.loads(meta.PrivateInformation.rstrip(b"\0 ")))
        if datetime.fromisoformat(reception.received_at).tzinfo is None:
            return None
    except (AttributeError, TypeError, ValueError):
        return None
    return reception


def part10_prefix(identity: FileIdentity, reception: Reception) -> bytes:
    """Preamble and file meta (PS3.10 7.1), Explicit VR Little Endian; written by hand so that no odd UID is refused."""
    elements = (
        _long_element(0x0001, b"OB", b"\x00\x01"),
        _element(0x0002, b"UI", identity.sop_class_uid),
        _element(0x0003, b"UI", identity.sop_instance_uid),
        _element(0x0010, b"UI", identity.transfer_syntax_uid),
        _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
        _element(0x0016, b"AE", reception.calling_ae_title),
        _element(0x0100, b"UI", PRIVATE_CREATOR_UID),
        _long_element(0x0102, b"OB", json.dumps(asdict(reception)).encode()),
    )
    body = b"".join(elements)
    return b"\0" * 128 + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(body)) + body


def _element(element: int, vr: bytes, value: str) -> bytes:
    raw = value.encode("ascii", "replace")
    raw += (b"\0" if vr == b"UI" else b" ") * (len(raw) % 2)
    return struct.pack("<HH2sH", 2, element, vr, len(raw)) + raw


def _long_element(element: int, vr: bytes, raw: bytes) -> bytes:
    raw += b" " * (len(raw) % 2)
    return struct.pack("<HH2sHI", 2, element, vr, 0, len(raw)) + raw
