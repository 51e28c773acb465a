"""Received files on disk: written aside, synced, linked to their final name, later removed.

Layout under the data directory::

    spool/incoming/…                                                       being written; removed at start
    spool/instances/<3 digits>/sha256(SOPInstanceUID)-sha256(data set).dcm   durable, never changed
    spool/journal/…                                                        what happened meanwhile (node/journal.py)
    spool/clock                                                            empty; tells the time of the file system

The folders of the first three digits are made once, so that publishing a file syncs the file and one folder: with a
folder for each instance a third sync, of its parent, took half as long again.

A file is a Part 10 file (PS3.10): our file meta, then the data set byte for byte as it came.
"""

import errno
import fcntl
import hashlib
import itertools
import mmap
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType

from node.domain.reception import Reception
from node.errors import BadInput, StoreRefused
from node.headers import data_set_digest, read_header
from node.headers.meta import FileIdentity, part10_prefix

FOLDERS = 0x1000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OUT_OF_RESOURCES = 0xA700
DATA_SET_MISMATCH = 0xA900


@dataclass(frozen=True)
class StoredInstance:
    """One durable file."""

    path: str
    """Relative to the data directory."""
    digest: str
    """SHA-256 of the data set, hex."""
    size: int
    """Bytes of the whole file."""
    created: bool
    """False: these very bytes were there already."""


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_durably(path: Path, content: bytes) -> None:
    """Write a whole file mode 0600, so that after a power cut either the old or the new content is there."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.aside")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)  # a full disk gets its room back
        raise
    sync_directory(path.parent)


def changed_at(file: Path) -> datetime:
    """Status change time of a file, to the microsecond that databases keep. Raises FileNotFoundError."""
    return EPOCH + timedelta(microseconds=file.stat().st_ctime_ns // 1000)


class Spool:
    """The folder of received instances. Safe for several processes at once."""

    def __init__(self, data: Path, *, minimum_free_bytes: int, minimum_free_fraction: float) -> None:
        self._data = data
        self._incoming = data / "spool" / "incoming"
        self._instances = data / "spool" / "instances"
        self._minimum_free_bytes = minimum_free_bytes
        self._minimum_free_fraction = minimum_free_fraction
        self._counter = itertools.count()
        self.syncing = ThreadPoolExecutor(thread_name_prefix="sync")
        """Waits for the disk on behalf of several associations."""

    def prepare(self) -> None:
        """Create the folders and drop what an earlier process left half written. Call before anything is received."""
        shutil.rmtree(self._incoming, ignore_errors=True)
        self._incoming.mkdir(parents=True, mode=0o700)
        self._instances.mkdir(exist_ok=True, mode=0o700)
        (self._data / "spool" / "journal").mkdir(exist_ok=True, mode=0o700)
        for number in range(FOLDERS):
            (self._instances / f"{number:03x}").mkdir(exist_ok=True, mode=0o700)
        for folder in (self._instances, self._instances.parent, self._data):
            sync_directory(folder)

    def drop_left_by(self, pid: int) -> None:
        """Remove what a process that was killed left half written; what the disk refuses waits for the next start."""
        with suppress(OSError):
            for path in self._incoming.glob(f"{pid}-*"):
                path.unlink(missing_ok=True)

    def free_space_is_low(self) -> bool:
        """Whether nothing more may be received: less is free than the larger of the two water marks."""
        state = os.statvfs(self._incoming)
        free = state.f_bavail * state.f_frsize
        return free < max(self._minimum_free_bytes, self._minimum_free_fraction * state.f_blocks * state.f_frsize)

    def receive(self, identity: FileIdentity, reception: Reception) -> "Incoming":
        """Open a file aside for one instance.

        Raises StoreRefused with A700 when the disk is low or will not take a file.
        """
        if self.free_space_is_low():
            raise StoreRefused(OUT_OF_RESOURCES, "The disk is low: free space or raise the water mark.")
        aside = f"{self._incoming}/{os.getpid()}-{next(self._counter)}"
        with _disk_errors_as_refusal():
            return Incoming(self, aside, part10_prefix(identity, reception))

    def final_name(self, sop_instance_uid: str, digest: str) -> tuple[str, str]:
        """Folder and name of one version of an instance."""
        key = hashlib.sha256(sop_instance_uid.encode()).hexdigest()
        return f"{self._instances}/{key[:3]}", f"{key}-{digest}.dcm"

    def absolute(self, path: str) -> Path:
        """The file of a StoredInstance."""
        return self._data / path

    def written_at(self, path: str) -> int:
        """When a file was received, to compare with others."""
        return self.absolute(path).stat().st_mtime_ns

    def time(self) -> datetime:
        """What time a file that comes now is given: by the clock of a file server, where there is one, not by ours."""
        mark = self._instances.parent / "clock"
        mark.touch(mode=0o600)
        return changed_at(mark)

    def files(self) -> Iterator[str]:
        """Every durable file, relative to the data directory."""
        for number in range(FOLDERS):
            folder = f"spool/instances/{number:03x}"
            yield from (f"{folder}/{name}" for name in os.listdir(self._data / folder))  # noqa: PTH208


class Incoming:
    """One instance on its way to the disk. Use as a context manager: leaving it without `publish` drops the file."""

    def __init__(self, spool: Spool, aside: str, prefix: bytes) -> None:
        self._spool = spool
        self._aside = aside
        self._syncing: Future[None] | None = None
        self._size = self.data_set_offset = len(prefix)
        self._file = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            self._append(memoryview(prefix))
        except OSError:
            self.__exit__(None, None, None)
            raise

    def __enter__(self) -> "Incoming":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._syncing is not None:
            wait([self._syncing])
        os.close(self._file)
        with suppress(FileNotFoundError):
            os.unlink(self._aside)  # noqa: PTH108 - a Path costs more than the call

    @property
    def descriptor(self) -> int:
        """The open file, to read back what was written."""
        return self._file

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._size

    def write(self, fragment: memoryview) -> None:
        """Append a part of the data set. Raises StoreRefused with A700 when the disk is full."""
        with _disk_errors_as_refusal():
            self._append(fragment)
        self._size += len(fragment)

    def _append(self, content: memoryview) -> None:
        written = 0
        while written < len(content):
            written += os.write(self._file, content[written:])

    def begin_sync(self) -> "Future[None]":
        """Everything is written: let the disk work while the data set is looked at and its digest computed."""
        if self._syncing is None:
            self._syncing = self._spool.syncing.submit(os.fsync, self._file)
        return self._syncing

    def _data_set_digest(self) -> str:
        with mmap.mmap(self._file, 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
            return hashlib.sha256(view[self.data_set_offset :]).hexdigest()

    def publish(self, sop_instance_uid: str, study_instance_uid: str) -> StoredInstance:
        """Make the file durable under its final name; when this returns it survives a power cut.

        Raises StoreRefused: A900 when the same SOP Instance UID is here under another study, A700 when the disk fails.
        """
        digest = self._data_set_digest()
        folder, name = self._spool.final_name(sop_instance_uid, digest)
        with _disk_errors_as_refusal():
            self.begin_sync().result()
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                _require_same_study(folder, name, study_instance_uid)
                created = _link(self._aside, f"{folder}/{name}", digest)
                os.fsync(handle)
            finally:
                os.close(handle)
        return StoredInstance(f"spool/instances/{name[:3]}/{name}", digest, self._size, created)


def _require_same_study(folder: str, name: str, study_instance_uid: str) -> None:
    """Compare with any version of the instance that is here; the caller holds the folder's lock."""
    key = name[: name.index("-")]
    version = next((each for each in os.listdir(folder) if each.startswith(key)), None)  # noqa: PTH208
    if version is not None and _study_in(Path(folder, version)) not in (study_instance_uid, None):
        raise StoreRefused(DATA_SET_MISMATCH, "This SOP Instance UID was received under another Study Instance UID.")


def _study_in(file: Path) -> str | None:
    """None where the file is damaged: that must not keep an instance out that comes again whole."""
    try:
        return read_header(file).study_instance_uid
    except (BadInput, OSError):
        return None


def _link(aside: str, final: str, digest: str) -> bool:
    try:
        os.link(aside, final)
    except FileExistsError:
        if not _holds(final, digest):  # it was damaged since
            os.replace(aside, final)  # noqa: PTH105
            return True
        os.utime(final, ns=(time.time_ns(), os.stat(final).st_mtime_ns))  # noqa: PTH116 - tells node/removal.py that it came again
        return False
    return True


def _holds(final: str, digest: str) -> bool:
    with suppress(BadInput, OSError):
        return data_set_digest(Path(final)) == digest
    return False


@contextmanager
def _disk_errors_as_refusal() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "OSError")
        raise StoreRefused(OUT_OF_RESOURCES, f"The spool cannot be written ({name}).") from error
