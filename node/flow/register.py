"""Spool file to catalog row: in batches, and rebuilt from the spool after a crash."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pydicom.filereader import read_file_meta_info
from sqlalchemy.orm import Session

from node.catalog import audit, retention, studies
from node.catalog.session import Catalog
from node.domain.audit import Detail, Event, EventKind, EventOutcome
from node.domain.reception import Reception
from node.domain.study import Arrival, Version, VersionKind
from node.flow.inbox import BATCH, Inbox
from node.flow.loop import goes_on
from node.flow.versions import Pair, compared_files, kind_of
from node.headers import read_header
from node.headers.decoding import Decoder
from node.headers.meta import reception_of
from node.removal import came_after
from node.spool import Spool

log = logging.getLogger(__name__)

Compared = dict[Pair, VersionKind]
TRIES = 5
"""Turns in a row that a file which cannot be read may cost; then it is told, and the others go on."""


def step(catalog: Catalog, spool: Spool, inbox: Inbox) -> bool:
    """Register what waits; True when there may be more. Raises OSError or MemoryError a few times in a row."""
    try:
        more = _step(catalog, spool, inbox)
    except (OSError, MemoryError):
        inbox.unread_turns += 1
        raise
    inbox.unread_turns = 0
    return more


def _step(catalog: Catalog, spool: Spool, inbox: Inbox) -> bool:
    if inbox.incomplete_since is not None:
        rescan(catalog, spool, inbox)
    batch = inbox.peek()
    if batch:
        register(catalog, spool, batch, last_try=inbox.unread_turns >= TRIES)
        inbox.drop(len(batch))
        inbox.damaged -= {arrival.path for arrival in batch}  # came again, whole
    return len(batch) == BATCH


def rescan(catalog: Catalog, spool: Spool, inbox: Inbox) -> None:
    """Register every file of the spool that has no row."""
    begun_at = datetime.now(UTC)
    with catalog.reading() as session:
        known = studies.all_paths(session)
    missing = [path for path in spool.files() if path not in known]
    missing.sort(key=partial(_written_at, spool))  # as they came
    inbox.damaged &= set(missing)
    found = 0
    for batch in _batches(filter(None, (_arrival_on_disk(spool, inbox, path) for path in missing))):
        register(catalog, spool, batch, last_try=inbox.unread_turns >= TRIES)
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


def _written_at(spool: Spool, path: str) -> int:
    goes_on()
    try:
        return spool.written_at(path)
    except OSError:  # reading it will fail as well, and be told then
        return 0


def _arrival_on_disk(spool: Spool, inbox: Inbox, path: str) -> Arrival | None:
    """A file as it came; None where it is gone, or damaged: it stays where it is, and is told once."""
    goes_on()
    file = spool.absolute(path)
    try:
        header = read_header(file)
        reception = reception_of(read_file_meta_info(file)) or _unknown(file)
        return Arrival(header, reception, path, file.stem.partition("-")[2], file.stat().st_size)
    except Exception as error:  # noqa: BLE001 - a broken disk or file meta raises anything; the others must not wait
        if isinstance(error, FileNotFoundError) and file.parent.is_dir():  # retention removed it; no volume is missing
            inbox.damaged.discard(path)
        elif path not in inbox.damaged:
            inbox.damaged.add(path)
            log.error("a file of the spool cannot be read", extra={"file": file.name, "error": type(error).__name__})
        return None


def _unknown(file: Path) -> Reception:
    return Reception("", "", "", "", datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat())


def register(catalog: Catalog, spool: Spool, batch: Sequence[Arrival], *, last_try: bool = False) -> None:
    """Enter one batch. A file that has a row is left alone, so a batch may be entered twice.

    Versions of one instance are compared between transactions: to read large files takes as long as it takes. Raises
    OSError and MemoryError where one cannot be read now; on the last try it is a conflict, for an operator to settle.
    """
    with Decoder() as decoder:
        comparing = partial(compared_files, decoded=decoder.digest, last_try=last_try)
        for part in _parts(batch):
            _register_part(catalog, spool, part, lambda pair, others: kind_of(spool, pair, others, comparing))


def _register_part(
    catalog: Catalog, spool: Spool, part: Sequence[Arrival], compare: Callable[[Pair, list[str]], VersionKind]
) -> None:
    compared: Compared = {}
    while True:
        try:
            return _enter(catalog, spool, part, compared)
        except _Uncompared as first:
            for pair, others in first.pairs.items():
                goes_on()
                compared[pair] = compare(pair, others)


def _parts(batch: Sequence[Arrival]) -> list[list[Arrival]]:
    """One transaction each: two files of one instance never meet in one, so each is compared with what has a row."""
    parts: list[dict[str, Arrival]] = []
    for arrival in batch:
        uid = arrival.header.sop_instance_uid
        free = next((part for part in parts if uid not in part), None)
        if free is None:
            parts.append(free := {})
        free[uid] = arrival
    return [list(part.values()) for part in parts]


class _Uncompared(Exception):
    """Pairs of versions that must be compared first, and the other versions of each."""

    def __init__(self, pairs: dict[Pair, list[str]]) -> None:
        super().__init__()
        self.pairs = pairs


def _enter(catalog: Catalog, spool: Spool, batch: Sequence[Arrival], compared: Compared) -> None:
    """Enter a batch, or nothing of it. Raises _Uncompared."""
    with catalog.writing() as session:
        known = studies.known_paths(session, [arrival.path for arrival in batch])
        _come_again(session, spool, [arrival for arrival in batch if arrival.path in known])
        new = [arrival for arrival in batch if arrival.path not in known]
        versions = studies.versions_of(session, [arrival.header.sop_instance_uid for arrival in new])
        unknown = {}
        for arrival in new:
            if earlier := versions.get(arrival.header.sop_instance_uid):
                pair = (earlier[0].path, arrival.path)
                unknown[pair] = [version.path for version in earlier[1:]]
        unknown = {pair: others for pair, others in unknown.items() if pair not in compared}
        if unknown:
            raise _Uncompared(unknown)
        settled = _settled(session, new, versions, compared)
        if settled:
            studies.register(session, settled)
        _tell(session, batch, settled)


def _come_again(session: Session, spool: Spool, known: Sequence[Arrival]) -> None:
    """Of files that have a row some may have been removed before they came, and are here again."""
    gone = retention.purged_among(session, [arrival.path for arrival in known])
    back = [each for each in known if each.path in gone and came_after(spool.absolute(each.path), gone[each.path])]
    if back:
        studies.come_again(session, back)


def _settled(
    session: Session, new: Sequence[Arrival], versions: Mapping[str, Sequence[Version]], compared: Compared
) -> list[Arrival]:
    """Say of each new file what it is; one that describes its image otherwise counts, unless results are out."""
    own = studies.own_results(session, [arrival.header.sop_instance_uid for arrival in new])
    settled = []
    for arrival in new:
        earlier = versions.get(uid := arrival.header.sop_instance_uid)
        kind = compared[earlier[0].path, arrival.path] if earlier else VersionKind.AUTHORITATIVE
        if earlier and uid in own:
            kind = VersionKind.DUPLICATE  # a PACS may describe our results as it likes
        settled.append(replace(arrival, version=kind, own=uid in own))
    described = {a.header.study_instance_uid for a in settled if a.version is VersionKind.DEMOGRAPHICS}
    unsent = {study_uid for study_uid in sorted(described) if studies.hold_back(session, study_uid)}
    return [_corrected(arrival, versions, unsent) for arrival in settled]


def _corrected(arrival: Arrival, versions: Mapping[str, Sequence[Version]], unsent: set[str]) -> Arrival:
    if arrival.version is not VersionKind.DEMOGRAPHICS or arrival.header.study_instance_uid not in unsent:
        return arrival
    counted = versions[arrival.header.sop_instance_uid][0].path
    return replace(arrival, version=VersionKind.AUTHORITATIVE, replaces=counted)


def _tell(session: Session, batch: Sequence[Arrival], settled: Sequence[Arrival]) -> None:
    """One audit row per association and study of a batch, one for other demographics, and one for each conflict."""
    new = {arrival.path: arrival for arrival in settled}
    groups: dict[tuple[str, str], list[Arrival]] = {}
    for arrival in batch:
        groups.setdefault((arrival.header.study_instance_uid, arrival.reception.association_id), []).append(arrival)
    for (_, association_id), arrivals in groups.items():
        fresh = [new[arrival.path] for arrival in arrivals if arrival.path in new]
        detail: Detail = {"association": association_id, "new": len(fresh), "again": len(arrivals) - len(fresh)}
        _append(session, arrivals[0], EventKind.INSTANCES_REGISTERED, EventOutcome.SUCCESS, detail)
        _tell_of_demographics(session, fresh)
    for arrival in settled:
        if arrival.version is VersionKind.CONFLICT:
            log.error("an instance came again with other content", extra={"study": arrival.header.study_instance_uid})
            detail = {"sop_instance_uid": arrival.header.sop_instance_uid}
            _append(session, arrival, EventKind.INSTANCE_CONFLICT, EventOutcome.SERIOUS_FAILURE, detail)


def _tell_of_demographics(session: Session, fresh: Sequence[Arrival]) -> None:
    """Images of one study and association that came again under other patient or study attributes."""
    late = [arrival for arrival in fresh if arrival.version is VersionKind.DEMOGRAPHICS]
    taken = [arrival for arrival in fresh if arrival.replaces]
    if late:
        log.error("other demographics came after results were sent", extra={"study": late[0].header.study_instance_uid})
    if late or taken:
        outcome = EventOutcome.SERIOUS_FAILURE if late else EventOutcome.SUCCESS
        detail: Detail = {"taken": len(taken), "too_late": len(late)}
        _append(session, fresh[0], EventKind.DEMOGRAPHICS_CHANGED, outcome, detail)


def _append(session: Session, of: Arrival, kind: EventKind, outcome: EventOutcome, detail: Detail) -> None:
    by, study_uid = of.reception, of.header.study_instance_uid
    audit.append(session, Event(kind, outcome, by.calling_ae_title, by.address, study_uid, detail=detail))
