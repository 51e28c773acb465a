"""What came to a PACS, C-STORE by C-STORE."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info

from node.domain.delivery import ResultKind


def _sets() -> dict[str, set[str]]:
    return defaultdict(set)


@dataclass
class Came:
    """What a PACS stored of one study."""

    uids: dict[str, set[str]] = field(default_factory=_sets)
    """SOP Instance UIDs by kind of result."""
    contents: dict[str, set[str]] = field(default_factory=_sets)
    """SHA-256 of the files by SOP Instance UID."""
    stored: int = 0
    """C-STOREs, those of the same instance again included."""


def what_came(files: Iterable[Path]) -> dict[str, Came]:
    """By Study Instance UID, from one file for each C-STORE."""
    by_uid: dict[str, list[bytes]] = defaultdict(list)
    for path in files:
        if uid := _instance_uid(path):
            by_uid[uid].append(path.read_bytes())
    came: dict[str, Came] = defaultdict(Came)
    for uid, contents in by_uid.items():
        image = dcmread(BytesIO(max(contents, key=len)), stop_before_pixels=True)
        one = came[str(image.StudyInstanceUID)]
        one.uids[ResultKind(image.Modality)].add(uid)
        whole = [each for each in contents if not _is_cut(each, contents)]
        one.contents[uid] |= {hashlib.sha256(each).hexdigest() for each in whole}
        one.stored += len(whole)
    return came


def _instance_uid(path: Path) -> str:
    """Empty where the PACS was killed before it had written that much."""
    try:
        return str(read_file_meta_info(path).get("MediaStorageSOPInstanceUID", ""))
    except (InvalidDicomError, EOFError):
        return ""


def _is_cut(content: bytes, others: list[bytes]) -> bool:
    """A PACS that was killed while it wrote leaves the beginning of a file, and has stored nothing."""
    return any(len(content) < len(other) and other.startswith(content) for other in others)
