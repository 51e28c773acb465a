"""The head of the audit chain, written where the database cannot reach it."""

import json
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

from node.domain.audit import Anchor
from node.errors import SettingsError
from node.spool import sync_directory, write_durably

KEY_BYTES = 32


def load_or_make_key(path: Path) -> bytes:
    """The key of the chain, made on first use with mode 0600. Raises SettingsError when others can read it."""
    if not path.exists():
        write_durably(path, secrets.token_bytes(KEY_BYTES))
    if path.stat().st_mode & 0o077:
        raise SettingsError(f"The audit key {path} can be read by others: chmod 600 it.")
    return path.read_bytes()


class Anchors:
    """An append-only file, one line for each anchor."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = next(reversed(self.all()), None)
        self._torn = path.exists() and not path.read_bytes().endswith(b"\n")

    def add(self, anchor: Anchor) -> bool:
        """Write the head down, synced, unless it is the last one written. True when it was new."""
        if anchor == self._last:
            return False
        line = json.dumps({"at": datetime.now(UTC).isoformat(), "seq": anchor.seq, "hash": anchor.hash})
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(b"\n" * self._torn + line.encode() + b"\n")
                file.flush()
                os.fsync(handle)
        except OSError:
            self._torn = True  # a full disk may have taken half of it
            raise
        sync_directory(self._path.parent)
        self._last, self._torn = anchor, False
        return True

    def all(self) -> list[Anchor]:
        """Every anchor, oldest first; a line that a power cut left half written is skipped."""
        if not self._path.exists():
            return []
        return [anchor for line in self._path.read_text().splitlines() if (anchor := _anchor(line))]

    def up_to(self, seq: int) -> bytes:
        """The file as it would be had nothing been written after that row."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        known = [line for line in lines if (anchor := _anchor(line)) and anchor.seq <= seq]
        return "".join(f"{line}\n" for line in known).encode()


def _anchor(line: str) -> Anchor | None:
    try:
        values = json.loads(line)
        return Anchor(int(values["seq"]), str(values["hash"]))
    except (ValueError, KeyError, TypeError):
        return None
