"""What a running node has kept of what was sent to it."""

import hashlib
import struct
from pathlib import Path

from node.catalog import overview
from tests.sender import Payload
from tests.servers import Nodus, eventually
from tests.studies import Series


def kept(node: Nodus, payload: Payload) -> list[bytes]:
    """Data sets of every file with this SOP Instance UID."""
    key = hashlib.sha256(payload.sop_instance_uid.encode()).hexdigest()
    return [data_set_of(path) for path in (node.data / "spool" / "instances" / key[:3]).glob(f"{key}-*.dcm")]


def data_set_of(path: Path) -> bytes:
    """What stands behind the file meta."""
    raw = path.read_bytes()
    return raw[144 + struct.unpack_from("<I", raw, 140)[0] :]


def images(node: Nodus, study_uid: str) -> int:
    """How many images of a study the catalog knows."""
    with node.catalog.reading() as session:
        return sum(row["images"] for row in overview.studies(session) if row["study_instance_uid"] == study_uid)


def registered(node: Nodus, series: Series, count: int) -> None:
    eventually(lambda: images(node, series.study_uid) == count, what=f"{count} images are registered")


def slices(name: str, count: int = 1) -> list[Payload]:
    return Series(name).payloads(range(count))
