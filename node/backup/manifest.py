"""What a backup says of itself; a folder without it holds none.

Layout of the folder::

    manifest.json                  names the state below; written last, in one step
    <UTC time>/database            SQLite file, or custom-format dump of PostgreSQL
    <UTC time>/audit.key  audit.anchors  journal/  models/
    <UTC time>/SHA256SUMS          of everything here: `sha256sum --check <UTC time>/SHA256SUMS` reads it, too
    spool/…  results/…             as in the data directory; they never change, and so are copied once
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from node.domain.audit import Anchor
from node.errors import Unavailable
from node.spool import write_durably

NAME, SUMS = "manifest.json", "SHA256SUMS"
Watched = Callable[[list[str]], Iterable[str]]
"""Shows a person how far a walk through these names is."""


@dataclass(frozen=True)
class Manifest:
    """One complete backup."""

    state: str
    """Folder of what differs from one backup to the next."""
    made_at: str
    nodus: str
    """Version."""
    database: str
    """sqlite or postgresql."""
    revision: str
    """Migration."""
    serial: str
    """Of the installation."""
    audit_seq: int
    audit_hash: str
    counts: dict[str, int]
    """Rows."""
    files: int
    missing: list[str]
    """Files that rows name and that were not there."""
    sums_sha256: str

    @property
    def head(self) -> Anchor:
        """Where the audit chain ended."""
        return Anchor(self.audit_seq, self.audit_hash)


def write(folder: Path, manifest: Manifest) -> None:
    """Say that the backup is complete."""
    write_durably(folder / NAME, json.dumps(asdict(manifest), indent=2).encode())


def read(folder: Path) -> Manifest:
    """Raises Unavailable when the folder holds no complete backup."""
    try:
        return Manifest(**json.loads((folder / NAME).read_bytes()))
    except FileNotFoundError:
        raise Unavailable(f"{folder} holds no complete backup: it has no {NAME}, which is written last.") from None
    except (OSError, ValueError, TypeError) as error:
        raise Unavailable(f"{folder / NAME} cannot be read ({type(error).__name__}).") from error


def write_sums(folder: Path, state: str, sums: dict[str, str]) -> str:
    """Write the sums down; returns the SHA-256 of what was written."""
    content = "".join(f"{digest}  {path}\n" for path, digest in sums.items()).encode()
    write_durably(folder / state / SUMS, content)
    return hashlib.sha256(content).hexdigest()


def read_sums(folder: Path, manifest: Manifest) -> dict[str, str]:
    """Path in the backup to SHA-256. Raises Unavailable when it is not what the manifest was written for."""
    try:
        content = (folder / manifest.state / SUMS).read_bytes()
    except OSError as error:
        raise Unavailable(f"{manifest.state}/{SUMS} of the backup cannot be read ({type(error).__name__}).") from error
    if hashlib.sha256(content).hexdigest() != manifest.sums_sha256:
        raise Unavailable(f"{manifest.state}/{SUMS} of the backup is not the one that its manifest names.")
    return {path: digest for digest, _, path in (line.partition("  ") for line in content.decode().splitlines())}


def digest_of(file: Path) -> str:
    """SHA-256 of a file, hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def verify(folder: Path, watched: Watched = iter) -> list[str]:
    """Read everything again; one sentence for each file that is not what was written. Raises Unavailable."""
    sums = read_sums(folder, read(folder))
    return list(_problems(folder, sums, watched))


def _problems(folder: Path, sums: dict[str, str], watched: Watched) -> Iterator[str]:
    for path in watched(list(sums)):
        try:
            if digest_of(folder / path) != sums[path]:
                yield f"{path} is not what was written."
        except OSError as error:
            yield f"{path} cannot be read ({type(error).__name__})."
