"""Copies one file so that it is whole or not there, private, and durable; its SHA-256 comes with it."""

import hashlib
import os
from pathlib import Path

from node.spool import sync_directory

PIECE = 1 << 20


def private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, closed to others."""
    if not folder.is_dir():
        private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_directory(folder.parent)


def copy(source: Path, target: Path) -> str:
    """Copy a file to its place, mode 0600; returns the SHA-256 of what was written. Raises OSError."""
    private(target.parent)
    aside = target.with_name(f".{target.name}.aside")
    digest = hashlib.sha256()
    with source.open("rb") as reading, os.fdopen(_created(aside), "wb") as writing:
        while piece := reading.read(PIECE):
            digest.update(piece)
            writing.write(piece)
        writing.flush()
        os.fsync(writing.fileno())
    aside.replace(target)
    return digest.hexdigest()


def _created(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)


def sync_folders(paths: set[Path]) -> None:
    """Make the names in these folders durable."""
    for folder in sorted(paths):
        sync_directory(folder)
