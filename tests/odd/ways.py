"""Three ways to a running node: as bytes verbatim, as broken copies of them, and through DCMTK's dcmsend."""

import hashlib
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pynetdicom.sop_class import Verification

from tests.odd.files import Odd, mutants, odd_files
from tests.received import data_set_of
from tests.sender import Scanner
from tests.servers import Nodus, run_dcmtk

ECHO = (str(Verification), "1.2.840.10008.1.2")
NAMED = {0x0000, 0x0122, 0xA700, 0xA900, 0xC000}
"""What a node may answer to a C-STORE: success, or a refusal that says why. 0110 would be an error of ours."""


@dataclass(frozen=True)
class Try:
    """One instance, offered once."""

    odd: Odd
    status: int | None
    """None: the presentation context was refused, so nothing was sent."""
    comment: str = ""

    @property
    def row(self) -> str:
        """Of the table of file, path, status, stored or refused."""
        status = "no context" if self.status is None else f"0x{self.status:04X}"
        ending = "stored" if self.status == 0 else f"refused {self.comment}"
        return f"{self.odd.file}\t{self.odd.way}\t{status}\t{ending}".rstrip()


def file_of(odd: Odd) -> Path:
    """Where a node must keep exactly these bytes, relative to its data directory."""
    payload = odd.payload
    key = hashlib.sha256(payload.sop_instance_uid.encode()).hexdigest()
    digest = hashlib.sha256(payload.data_set).hexdigest()
    return Path("spool", "instances", key[:3], f"{key}-{digest}.dcm")


def is_kept(node: Nodus, odd: Odd) -> bool:
    """Whether these very bytes are on disk."""
    path = node.data / file_of(odd)
    return path.is_file() and data_set_of(path) == odd.payload.data_set


def offer(node: Nodus, odds: Sequence[Odd]) -> list[Try]:
    """Offer some instances of one kind over one association, which must be usable after each and released in order."""
    kind = (odds[0].payload.sop_class_uid, odds[0].payload.transfer_syntax_uid)
    one = Scanner(node.dicom_port, [kind, ECHO], "ODD")
    try:
        tries = [_offered(one, odd) if kind in one.accepted else Try(odd, None) for odd in odds]
        echo(one)
        one.release()
    finally:
        one.socket.close()
    return tries


def _offered(one: Scanner, odd: Odd) -> Try:
    answer = one.store(odd.payload)
    return Try(odd, answer.status, answer.comment)


def echo(one: Scanner) -> None:
    """C-ECHO on an association that offered ECHO; fails when it is not answered with success."""
    one.command(ECHO, {0x0002: b"1.2.840.10008.1.1\0", 0x0100: struct.pack("<H", 0x0030)})
    assert one.answer().status == 0


def offer_all(node: Nodus, corpus: Path, progress: Callable[[int], object] = bool, broken: int = 6) -> list[Try]:
    """Every file verbatim, then some broken copies of it, over an association a file."""
    tries: list[Try] = []
    for number, odd in enumerate(odd_files(corpus)):
        tries += offer(node, [odd, *mutants(odd, broken)])
        progress(number)
    return tries


def dcmsend(node: Nodus, corpus: Path, report: Path) -> dict[str, str]:
    """Everything that dcmsend reads, in the syntax it is stored in; file to what the node said."""
    options = ("-dn", "-nh", "-nuc", "+sd", "+r", "-aet", "DCMSEND", "-aec", node.aet, "+crf", str(report))
    run_dcmtk("dcmsend", *options, "127.0.0.1", str(node.dicom_port), str(corpus), check=False)
    said = re.findall(r"Filename +: (.+)(?:\n.+)*\nDIMSE Status +: (.+)", report.read_text())
    return {str(Path(name).relative_to(corpus)): status for name, status in said}
