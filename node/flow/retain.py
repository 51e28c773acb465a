"""Finished study to freed disk: what is old, or in the way of what comes, is marked in SQL and then removed."""

import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from node.catalog import audit, retention, studies
from node.catalog.retention import Purged
from node.catalog.session import Catalog
from node.domain.audit import Detail, Event, EventKind
from node.domain.clock import Clocks
from node.domain.retention import Finished, Retention, Why, going
from node.flow.loop import goes_on
from node.pictures import strips_in
from node.quarantine import jobs_in_quarantine, quarantined
from node.removal import remove
from node.spool import Spool, sync_directory

log = logging.getLogger(__name__)

BATCH = 20
"""Studies of one turn."""
AT_ONCE = 500
FAR_AHEAD = timedelta(days=1)
"""No clock that is mended moves so far."""
SWEEP_EVERY = timedelta(days=1)
WORKER_FORGOTTEN_AFTER = timedelta(days=7)
MESSAGE_STALE_AFTER = timedelta(days=1)
"""A queue message that nobody took; its job gets another."""


@dataclass
class Retain:
    """What removing files needs."""

    catalog: Catalog
    spool: Spool
    data: Path
    rule: Retention
    alone: Callable[[], AbstractContextManager[bool]]
    """Gives True while no backup is being made, and lets none begin."""
    now: Callable[[], datetime]
    steady_s: Callable[[], float] | None = None
    """Seconds by a clock that nobody sets; None: a person watches."""
    _swept_at: datetime | None = field(default=None, init=False)
    _begun: Clocks | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._begun = self._clocks()

    def step(self) -> bool:
        """Take one turn. True when there may be more to remove."""
        with self.alone() as alone:
            if not alone:
                return False
            self._sweep_daily()
            return len(self.remove_some()) == BATCH

    def remove_some(self) -> list[tuple[Finished, Why]]:
        """Remove what goes now, a batch of it; the caller is alone."""
        return [(study, why) for study, why in self.plan()[:BATCH] if self.purge(study, why)]

    def plan(self) -> list[tuple[Finished, Why]]:
        """What would go now, oldest first."""
        usage = shutil.disk_usage(self.data)
        rule = replace(self.rule, after=None) if self._clock_is_ahead() else self.rule
        shortage = rule.shortage(usage.free, usage.total)
        if rule.after is None and shortage <= 0:
            return []
        with self.catalog.reading() as session:
            oldest = retention.finished(session, limit=10 * BATCH)
        return list(going(rule, oldest, self.now(), shortage))

    def _clocks(self) -> Clocks | None:
        return Clocks(self.now(), self.steady_s()) if self.steady_s else None

    def _clock_is_ahead(self) -> bool:
        """Whether somebody set it so far forward that no age means anything; a restart says that it is right."""
        clocks = self._clocks()
        return bool(self._begun and clocks and self._begun.jump_to(clocks) > FAR_AHEAD)

    def purge(self, study: Finished, why: Why, *, decided: bool = False) -> Purged | None:
        """Remove the files of one study; None when it may not go (any more)."""
        goes_on()
        moment = self.spool.time()
        with self.catalog.writing() as session:
            purged = retention.purge(session, study.id, moment, decided=decided)
            if purged is None:
                return None
            audit.append(session, _event(study, why, purged))
        stayed = [path for path in purged.images if not remove(self.spool.absolute(path), moment)]
        self._bring_back(stayed)
        for path in purged.results:
            self._remove_result(path)
        for job_id in purged.jobs:
            self._remove_quarantined(job_id)
        log.info("files of a study were removed", extra={"study": study.study_instance_uid, "why": why})
        return replace(purged, images=tuple(path for path in purged.images if path not in stayed))

    def _bring_back(self, paths: Sequence[str]) -> None:
        """Who sent these again was told that they are here, maybe before their rows said that they are gone."""
        if not paths:
            return
        with self.catalog.writing() as session:
            for study_uid, count in studies.stay(session, paths, self.now()).items():
                detail: Detail = {"association": "", "new": 0, "again": count}
                audit.append(
                    session, Event(EventKind.INSTANCES_REGISTERED, study_instance_uid=study_uid, detail=detail)
                )

    def _remove_result(self, path: str) -> None:
        file = self.data / path
        for each in (file, *strips_in(file.parent)):
            each.unlink(missing_ok=True)
        with suppress(OSError):  # others are in it
            for folder in (file.parent, file.parent.parent):
                if folder != self.data / "results":
                    folder.rmdir()
        sync_directory(self.data / "results")

    def _remove_quarantined(self, job_id: int) -> None:
        for file in quarantined(self.data, job_id):
            file.unlink(missing_ok=True)

    def _sweep_daily(self) -> None:
        """Remove what a crash left behind: at the start, then once a day."""
        now = self.now()
        if self._swept_at is None or abs(now - self._swept_at) >= SWEEP_EVERY:
            self.sweep(now)
            self._swept_at = now

    def sweep(self, now: datetime) -> None:
        """Remove files whose rows say that they are gone, and what else only grows."""
        with self.catalog.reading() as session:
            purged = retention.anything_purged(session)
        if purged:
            self._sweep_spool()
            self._sweep_results()
            self._sweep_quarantine()
        for message in (self.data / "broker" / "messages").glob("*.msg"):
            with suppress(FileNotFoundError):
                if message.stat().st_mtime < (now - MESSAGE_STALE_AFTER).timestamp():
                    message.unlink()
        with self.catalog.writing() as session:
            retention.forget_workers(session, now - WORKER_FORGOTTEN_AFTER)

    def _sweep_spool(self) -> None:
        files = self.spool.files()
        while paths := list(islice(files, AT_ONCE)):
            goes_on()
            with self.catalog.reading() as session:
                gone = retention.purged_among(session, paths)
            self._bring_back([path for path, since in gone.items() if not remove(self.spool.absolute(path), since)])

    def _sweep_results(self) -> None:
        folder = self.data / "results"
        job_ids = [int(each.name) for each in folder.glob("*") if each.name.isdecimal()]
        for first in range(0, len(job_ids), AT_ONCE):
            goes_on()
            with self.catalog.reading() as session:
                gone = retention.purged_results(session, job_ids[first : first + AT_ONCE])
            for path in gone:
                self._remove_result(path)

    def _sweep_quarantine(self) -> None:
        job_ids = jobs_in_quarantine(self.data)
        with self.catalog.reading() as session:
            gone = retention.jobs_of_purged(session, job_ids)
        for job_id in gone:
            self._remove_quarantined(job_id)


def _event(study: Finished, why: Why, purged: Purged) -> Event:
    detail: Detail = {"why": str(why), "images": len(purged.images), "results": len(purged.results),
                      "bytes": purged.size}  # fmt: skip
    actor = "operator" if why is Why.OPERATOR else "node"
    return Event(EventKind.STUDY_PURGED, actor=actor, study_instance_uid=study.study_instance_uid, detail=detail)
