"""Spool file to catalog row: in batches, and rebuilt from the spool after a crash."""

import hashlib
import logging
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pydicom import Dataset, dcmread
from pydicom.tag import BaseTag
from sqlalchemy.orm import Session

from node.catalog import audit, studies
from node.catalog.session import Catalog
from node.domain.audit import Detail, Event, EventKind, EventOutcome
from node.domain.reception import Reception
from node.domain.study import Arrival, VersionKind
from node.errors import BadInput
from node.headers import read_header
from node.spool import Spool, reception_of

log = logging.getLogger(__name__)

Pair = tuple[str, str]
"""Paths of two versions of one instance, the older one first."""
Compared = dict[Pair, VersionKind]
BATCH = 300
INBOX_LIMIT = 20_000
"""Headers kept in memory while the database is away; beyond it the spool is read again instead."""


class Inbox:
    """New files on their way to the catalog. What does not fit is found again on disk."""

    def __init__(self) -> None:
        self._waiting: deque[Arrival] = deque()
        self._lock = threading.Lock()
        self._incomplete_since: datetime | None = datetime.now(UTC)
        self._last_gap_at = self._incomplete_since

    def put(self, arrival: Arrival) -> None:
        """A receiver has made a file durable."""
        with self._lock:
            if len(self._waiting) < INBOX_LIMIT:
                self._waiting.append(arrival)
            else:
                self._note_gap()

    def must_rescan(self) -> None:
        """A receiver died: it may have made a file durable without telling."""
        with self._lock:
            self._note_gap()

    def _note_gap(self) -> None:
        self._last_gap_at = datetime.now(UTC)
        self._incomplete_since = self._incomplete_since or self._last_gap_at

    def peek(self) -> list[Arrival]:
        """The next batch; it stays until `drop`."""
        with self._lock:
            return [self._waiting[place] for place in range(min(BATCH, len(self._waiting)))]

    def drop(self, count: int) -> None:
        """So many are in the catalog."""
        with self._lock:
            for _ in range(count):
                self._waiting.popleft()

    @property
    def incomplete_since(self) -> datetime | None:
        """Since when files may be on disk that nobody told of; None when there are none."""
        return self._incomplete_since

    def rescanned(self, begun_at: datetime) -> None:
        """The spool was read from this moment on, and everything found is in the catalog."""
        with self._lock:
            if self._incomplete_since is not None:
                self._incomplete_since = None if self._last_gap_at <= begun_at else begun_at

    def registered_until(self, now: datetime) -> datetime:
        """The moment up to which the catalog knows everything that came."""
        with self._lock:
            oldest = datetime.fromisoformat(self._waiting[0].reception.received_at) if self._waiting else now
            return min(now, oldest, self._incomplete_since or now)


def step(catalog: Catalog, spool: Spool, inbox: Inbox) -> bool:
    """Register what waits; True when there may be more."""
    if inbox.incomplete_since is not None:
        rescan(catalog, spool, inbox)
    batch = inbox.peek()
    if batch:
        register(catalog, spool, batch)
        inbox.drop(len(batch))
    return len(batch) == BATCH


def rescan(catalog: Catalog, spool: Spool, inbox: Inbox) -> None:
    """Register every file of the spool that has no row."""
    begun_at = datetime.now(UTC)
    with catalog.reading() as session:
        known = studies.all_paths(session)
    missing = sorted((path for path in spool.files() if path not in known), key=spool.written_at)  # as they came
    found = 0
    for batch in _batches(filter(None, (_arrival_on_disk(spool, path) for path in missing))):
        register(catalog, spool, batch)
        found += len(batch)
    inbox.rescanned(begun_at)
    if found:
        log.warning("files without a row were found in the spool and registered", extra={"files": found})


def _batches(arrivals: Iterable[Arrival]) -> Iterable[list[Arrival]]:
    batch: list[Arrival] = []
    for arrival in arrivals:
        batch.append(arrival)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _arrival_on_disk(spool: Spool, path: str) -> Arrival | None:
    file = spool.absolute(path)
    try:
        header = read_header(file)
        reception = reception_of(dcmread(file, specific_tags=[], stop_before_pixels=True).file_meta)
    except BadInput as error:
        log.error("a file of the spool cannot be read", extra={"file": file.name, "reason": str(error)})
        return None
    unknown = Reception("", "", "", "", datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat())
    return Arrival(header, reception or unknown, path, file.stem.partition("-")[2], file.stat().st_size)


def register(catalog: Catalog, spool: Spool, batch: Sequence[Arrival]) -> None:
    """Enter one batch in one transaction. A file that has a row is left alone, so a batch may be entered twice.

    Versions of one instance are compared between transactions: to read large files takes as long as it takes.
    """
    compared: Compared = {}
    while unknown := _enter(catalog, batch, compared):
        compared |= {pair: _version(spool, *pair) for pair in unknown}


def _enter(catalog: Catalog, batch: Sequence[Arrival], compared: Compared) -> set[Pair]:
    """Enter a batch, or nothing of it: then these must be compared first."""
    with catalog.writing() as session:
        new = list({arrival.path: arrival for arrival in batch}.values())
        known = studies.known_paths(session, [arrival.path for arrival in new])
        new = [arrival for arrival in new if arrival.path not in known]
        pairs = _pairs(session, new)
        unknown = {pair for pair in pairs if pair[0] != pair[1]} - compared.keys()
        if not unknown:
            settled = _settled(session, new, pairs, compared)
            if settled:
                studies.register(session, settled)
            _tell(session, batch, settled)
    return unknown


def _pairs(session: Session, new: Sequence[Arrival]) -> list[Pair]:
    """For each new file the one of the same instance that came first (itself, where it is the first) and itself."""
    firsts = studies.authoritative_paths(session, [arrival.header.sop_instance_uid for arrival in new])
    return [(firsts.setdefault(each.header.sop_instance_uid, each.path), each.path) for each in new]


def _settled(session: Session, new: Sequence[Arrival], pairs: Sequence[Pair], compared: Compared) -> list[Arrival]:
    """Say of each new file what it is: the first, the same again or a conflict; and whether we made it."""
    own = studies.own_results(session, [arrival.header.sop_instance_uid for arrival in new])
    return [
        replace(
            arrival,
            version=compared.get(pair, VersionKind.AUTHORITATIVE),
            own=arrival.header.sop_instance_uid in own,
        )
        for arrival, pair in zip(new, pairs, strict=True)
    ]


def _version(spool: Spool, first: str, second: str) -> VersionKind:
    """One file after the other in memory, never both."""
    contents = (_plain(dcmread(spool.absolute(path))) for path in (first, second))
    return VersionKind.DUPLICATE if next(contents) == next(contents) else VersionKind.CONFLICT


def same_content(first: Dataset, second: Dataset) -> bool:
    """Whether two data sets say the same, whatever their bytes: group lengths and trailing padding do not count."""
    return _plain(first) == _plain(second)


def _plain(ds: Dataset) -> dict[int, bytes]:
    """A digest of each value."""
    return {int(tag): _digest(ds, tag) for tag in list(ds.keys()) if tag.element != 0 and tag != 0xFFFCFFFC}


def _digest(ds: Dataset, tag: BaseTag) -> bytes:
    value = _value(ds, tag)
    raw = value if isinstance(value, bytes) else repr(value).encode("utf-8", "surrogatepass")
    return hashlib.sha256(raw).digest()


def _value(ds: Dataset, tag: BaseTag) -> object:
    try:
        return ds[tag].value
    except Exception:  # noqa: BLE001 - conversion of a broken value may raise anything; then its bytes are compared
        return ds.get_item(tag).value


def _tell(session: Session, batch: Sequence[Arrival], settled: Sequence[Arrival]) -> None:
    """One audit row per association and study of a batch; one more for each conflict."""
    new = {arrival.path: arrival.version for arrival in settled}
    groups: dict[tuple[str, str], list[Arrival]] = {}
    for arrival in batch:
        groups.setdefault((arrival.header.study_instance_uid, arrival.reception.association_id), []).append(arrival)
    for (study_uid, association_id), arrivals in groups.items():
        one = arrivals[0].reception
        fresh = sum(arrival.path in new for arrival in arrivals)
        detail: Detail = {"association": association_id, "new": fresh, "again": len(arrivals) - fresh}
        audit.append(session, Event(EventKind.INSTANCES_REGISTERED, actor=one.calling_ae_title, address=one.address,
                                    study_instance_uid=study_uid, detail=detail))  # fmt: skip
    for arrival in settled:
        if arrival.version is VersionKind.CONFLICT:
            log.error("an instance came again with other content", extra={"study": arrival.header.study_instance_uid})
            audit.append(session, Event(EventKind.INSTANCE_CONFLICT, EventOutcome.SERIOUS_FAILURE,
                                        actor=arrival.reception.calling_ae_title, address=arrival.reception.address,
                                        study_instance_uid=arrival.header.study_instance_uid,
                                        detail={"sop_instance_uid": arrival.header.sop_instance_uid}))  # fmt: skip
