"""Received files on disk: written aside, synced, linked to their final name, later removed.

Layout under the data directory::

    spool/incoming/…                                                       being written; removed at start
    spool/instances/<3 digits>/sha256(SOPInstanceUID)-sha256(data set).dcm   durable, never changed
    spool/journal/…                                                        what happened meanwhile (node/journal.py)

The folders of the first three digits are made once, so that publishing a file syncs the file and one folder: with a
folder for each instance a third sync, of its parent, took half as long again.

A file is a Part 10 file (PS3.10): our file meta, then the data set byte for byte as it came.
"""

import errno
import fcntl
import hashlib
import itertools
import json
import mmap
import os
import shutil
import struct
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from pydicom.dataset import FileMetaDataset

from node.domain.reception import Reception
from node.errors import StoreRefused
from node.headers import read_header

PRIVATE_CREATOR_UID = "2.25.231326865359477479071336481166390499942"
"""(0002,0100) of our files: says that (0002,0102) holds a Reception as JSON."""

IMPLEMENTATION_CLASS_UID = "2.25.109031846779693055800205579940602735386"
FOLDERS = 0x1000
OUT_OF_RESOURCES = 0xA700
DATA_SET_MISMATCH = 0xA900


@dataclass(frozen=True)
class FileIdentity:
    """What a file meta must name (PS3.10 7.1)."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


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
            return Incoming(self, aside, _part10_prefix(identity, reception))

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
                created = _link(self._aside, f"{folder}/{name}")
                os.fsync(handle)
            finally:
                os.close(handle)
        return StoredInstance(f"spool/instances/{name[:3]}/{name}", digest, self._size, created)


def _require_same_study(folder: str, name: str, study_instance_uid: str) -> None:
    """Compare with any version of the instance that is here; the caller holds the folder's lock."""
    key = name[: name.index("-")]
    version = next((each for each in os.listdir(folder) if each.startswith(key)), None)  # noqa: PTH208
    if version is not None and read_header(Path(folder, version)).study_instance_uid != study_instance_uid:
        raise StoreRefused(DATA_SET_MISMATCH, "This SOP Instance UID was received under another Study Instance UID.")


def reception_of(meta: FileMetaDataset) -> Reception | None:
    """What the file meta of a file of ours says about its arrival; None for a file that is not ours."""
    if meta.get("PrivateInformationCreatorUID") != PRIVATE_CREATOR_UID:
        return None
    return Reception(**json.loads(meta.PrivateInformation.rstrip(b"\0 ")))


def _part10_prefix(identity: FileIdentity, reception: Reception) -> bytes:
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


def _link(aside: str, final: str) -> bool:
    try:
        os.link(aside, final)
    except FileExistsError:
        os.utime(final, ns=(time.time_ns(), os.stat(final).st_mtime_ns))  # noqa: PTH116 - tells node/removal.py that it came again
        return False
    return True


@contextmanager
def _disk_errors_as_refusal() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "OSError")
        raise StoreRefused(OUT_OF_RESOURCES, f"The spool cannot be written ({name}).") from error
