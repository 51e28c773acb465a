"""What happens on the listening side, synced to disk until it is in the audit trail: SQL may be away, and we may die.

Layout under the data directory: `spool/journal/<start>-<pid>-<number>.jsonl`, one event a line, mode 0600, no patient.
Each process writes files of its own and holds a lock (flock) on the one it writes: a file that can be locked grows no
more. A name is used once, so that how far a file was read (table `journal`) is true for ever.
"""

import fcntl
import itertools
import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from pydantic import TypeAdapter

from node.domain.reception import (
    AssociationClosed,
    AssociationRefused,
    AuditLogUsed,
    CommitmentReported,
    CommitmentReportRefused,
    CountRefused,
    CountTold,
    InstanceRefused,
    PromiseAsked,
    QueryAnswered,
    Retrieved,
    StepRequestRefused,
)
from node.spool import sync_directory

log = logging.getLogger(__name__)

FILE_BYTES = 1 << 20
"""A file that has grown so long is followed by another, so that what was read can be removed."""
MOST_BYTES = 256 << 20
"""Of all files: with SQL away for long, events beyond this are only logged."""

Journaled = (
    AssociationClosed
    | AssociationRefused
    | InstanceRefused
    | QueryAnswered
    | Retrieved
    | CommitmentReported
    | CommitmentReportRefused
    | StepRequestRefused
    | AuditLogUsed
    | CountTold
    | CountRefused
    | PromiseAsked
)
_KINDS: dict[str, TypeAdapter[Journaled]] = {kind.__name__: TypeAdapter(kind) for kind in get_args(Journaled)}


def line_of(event: Journaled) -> bytes:
    """One line of JSON."""
    values = {"event": type(event).__name__, **asdict(event), "at": event.at.isoformat()}
    return json.dumps(values).encode() + b"\n"


def event_of(line: bytes) -> Journaled:
    """The opposite of `line_of`. Raises ValueError for a line that is none of ours, or not whole."""
    try:
        values = json.loads(line)
        event = _KINDS[values.pop("event")].validate_python(values)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("This line is no event.") from error
    if event.at.tzinfo is None:
        raise ValueError("This event does not say in which time zone it happened.")
    return event


class JournalWriter:
    """The journal of one process. What it cannot write it logs: reception goes on without it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._file = -1
        self._size = 0
        self._unsynced = threading.Event()

    def write(self, event: Journaled) -> None:
        """Write one event: it survives our death now, and a power cut after the next `sync`."""
        try:
            with self._lock:
                self._append(line_of(event))
        except OSError as error:
            known = {"event": type(event).__name__, "calling_ae_title": event.calling_ae_title}
            said = {"address": event.address, "error": type(error).__name__}
            log.error("an event could not be written to the journal", extra=known | said)

    def keep(self, event: Journaled) -> None:
        """Write one event that survives a power cut from now on. Raises OSError where that cannot be had."""
        with self._lock:
            self._append(line_of(event))
            os.fsync(self._file)

    def _append(self, line: bytes) -> None:
        if self._file < 0 or self._size >= FILE_BYTES:
            self._begin_another()
        try:
            if os.write(self._file, line) != len(line):
                raise OSError("the disk is full")
        except OSError:
            os.ftruncate(self._file, self._size)  # no half line in front of the next one
            raise
        self._size += len(line)
        self._unsynced.set()

    def _begin_another(self) -> None:
        self._end_this()
        if sum(map(_size_of, self._folder.iterdir())) > MOST_BYTES:
            raise OSError("the journal is full")
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}-{next(self._numbers)}.jsonl"
        aside = self._folder / f".{name}"
        file = os.open(aside, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)  # before it has the name that readers look for
            aside.rename(self._folder / name)
            sync_directory(self._folder)
        except OSError:
            os.close(file)
            for path in (aside, self._folder / name):
                path.unlink(missing_ok=True)
            raise
        self._file, self._size = file, 0

    def _end_this(self) -> None:
        if self._file >= 0:
            os.fsync(self._file)
            os.close(self._file)
            self._file = -1

    def sync(self, wait_s: float = 0.0) -> None:
        """Make what was written durable; with `wait_s` wait so long (s) for something to be written first."""
        if not self._unsynced.wait(wait_s):
            return
        with self._lock:
            self._unsynced.clear()
            if self._file < 0:
                return
            file = os.dup(self._file)  # writers need not wait for the disk
        try:
            os.fsync(file)
        except OSError as error:
            log.error("the journal could not be synced", extra={"error": type(error).__name__})
        finally:
            os.close(file)

    def close(self) -> None:
        """End: readers may remove the file when they have read it."""
        with self._lock, suppress(OSError):
            self._end_this()


@dataclass(frozen=True)
class Part:
    """The next events of a file."""

    events: list[Journaled]
    unreadable: int
    """Lines that were cut by a power failure, or are no events."""
    position: int
    """Bytes of the file that are read with this part."""
    finished: bool
    """Nothing follows, and nobody will write more."""


class JournalReader:
    """All journals of a node, as one process reads them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Files, oldest first."""
        names = os.listdir(self._folder)  # noqa: PTH208 - asked several times a second; raises where it is away
        return sorted(name for name in names if name.endswith(".jsonl") and not name.startswith("."))

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return (self._folder / name).stat().st_size

    def read(self, name: str, position: int, most: int) -> Part:
        """At most so many lines from a position on."""
        with (self._folder / name).open("rb") as file:
            grows = not _has_no_writer(file.fileno())  # asked first: what is read then is all there will be
            file.seek(position)
            lines = list(itertools.islice(file, most))
            if lines and not lines[-1].endswith(b"\n") and grows:
                lines.pop()  # being written
            end = position + sum(map(len, lines))
            finished = not grows and end >= os.fstat(file.fileno()).st_size
        events = list(_events(lines))
        return Part(events, len(lines) - len(events), end, finished)

    def is_finished(self, name: str, position: int) -> bool:
        """Whether nobody writes a file any more that was read so far."""
        with (self._folder / name).open("rb") as file:
            return _has_no_writer(file.fileno()) and position >= os.fstat(file.fileno()).st_size

    def remove(self, name: str) -> None:
        """Forget a file whose events are all in SQL."""
        (self._folder / name).unlink()
        sync_directory(self._folder)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # it was read and removed, or has its final name now
        return 0


def _has_no_writer(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _events(lines: list[bytes]) -> Iterator[Journaled]:
    for line in lines:
        with suppress(ValueError):
            yield event_of(line)
