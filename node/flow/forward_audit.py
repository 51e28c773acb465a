"""Audit trail to audit repository: every row as its message, in order; a repository that is away loses nothing."""

import logging
import random
import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from node.audit import atna
from node.audit.syslog import Line, Said, connect, context_for, frame
from node.catalog import repository
from node.catalog.session import Catalog
from node.domain.audit import Entry
from node.domain.collector import Collector
from node.domain.delivery import back_off
from node.errors import PeerFailed, SettingsError
from node.flow.clock import steady_s
from node.flow.loop import Loop, goes_on
from node.settings import Settings

log = logging.getLogger(__name__)

AT_ONCE = 200
"""Rows of one batch: a few hundred kilobytes."""
LONGEST_PAUSE = timedelta(minutes=5)
SETTLES_AFTER_S = 10.0
"""A collector that has read a message may die before it has written it: what it read in its last moments is sent again.
"""


FORWARD_EVERY_S = 0.5


def configure(session: Session, settings: Settings) -> None:
    """Write down which repository it is. Raises SettingsError where its certificate files are useless."""
    asked = settings.audit_repository
    repository.configure(session, asked.collector().place if asked else "")
    if asked and asked.transport == "tls":
        context_for(asked.collector())
    elif asked and asked.patient_ids:
        log.warning("audit messages name patients and go in the clear", extra={"repository": asked.collector().place})


def loops(catalog: Catalog, settings: Settings, now: Callable[[], datetime]) -> list[Loop]:
    """The arrow, where there is a repository."""
    asked = settings.audit_repository
    if asked is None:
        return []
    us = atna.Node(settings.ae_title, socket.gethostname(), asked.site)
    forwarding = Forwarding(catalog, asked.collector(), us, asked.patient_ids, now, steady_s, random.Random())
    return [Loop("audit repository", forwarding.step, FORWARD_EVERY_S)]


@dataclass
class Forwarding:
    """Sends rows, and remembers in SQL how far the repository has them."""

    catalog: Catalog
    to: Collector
    node: atna.Node
    patient_ids: bool
    """Whether messages name patients by their id."""
    now: Callable[[], datetime]
    steady_s: Callable[[], float]
    jitter: random.Random
    open_line: Callable[[Collector], Line] = connect
    _line: Line | None = field(default=None, init=False)
    _settled: int = field(default=-1, init=False)
    """As SQL has it; -1 before it was asked."""
    _sent: int = field(default=-1, init=False)
    """The last row that was read there on the line that stands."""
    _repeated: int = field(default=0, init=False)
    """Rows up to this one were sent twice to a collector that only likes to close its lines: that is enough."""
    _marks: deque[tuple[int, float]] = field(default_factory=deque, init=False)
    """What was read and is not settled: last row, and when."""
    _not_before_s: float = field(default=0.0, init=False)
    _failures: int = field(default=0, init=False)

    def step(self) -> bool:
        """Send the next rows. True when there are more."""
        if self.steady_s() < self._not_before_s:
            return False
        try:
            return self._forward()
        except (PeerFailed, SettingsError) as error:
            self._broke_off(str(error))
            return False

    def _forward(self) -> bool:
        if self._settled < 0:
            with self.catalog.reading() as session:
                self._settled = self._sent = repository.standing(session).seq
        line = self._standing_line()
        with self.catalog.reading() as session:
            rows = repository.rows_after(session, self._sent, AT_ONCE)
            frames = self._frames(session, rows)
        if rows:
            goes_on()
            line.send(frames)
            line.finish()
            self._line = None
            self._sent = rows[-1].seq
            self._marks.append((self._sent, self.steady_s()))
            self._line = self.open_line(self.to)  # and where that fails, what was just read is sent again
        self._settle()
        return len(rows) == AT_ONCE

    def _standing_line(self) -> Line:
        """The line that stood since the last batch; another where it broke meanwhile, and what was read shortly before
        is sent again."""
        if self._line is not None and not self._line.is_open():
            read = self._sent
            self._leave()
            self._line = self.open_line(self.to)
            self._repeated = read if self.to.tls else 0  # it did not die: it is there
        if self._line is None:
            self._line = self.open_line(self.to)
        if self._failures:
            self._failures = 0
            log.info("the audit repository answers again", extra={"repository": self.to.place})
            with self.catalog.writing() as session:
                repository.answers(session, self.to.place, self.now())
        return self._line

    def _frames(self, session: Session, rows: Sequence[Entry]) -> list[bytes]:
        uids = {row.study_instance_uid for row in rows if row.study_instance_uid}
        jobs = {row.job_id for row in rows if row.job_id is not None}
        facts = atna.Facts(
            repository.patient_ids(session, uids) if self.patient_ids and uids else {},
            repository.receivers(session, jobs) if jobs else {},
        )
        return [frame(Said(row.at, atna.message(row, self.node, facts)), self.node.host) for row in rows]

    def _settle(self) -> None:
        """What the collector read, and outlived by some seconds, it has."""
        before = self._settled
        while self._marks and self._is_settled(*self._marks[0]):
            self._settled, _ = self._marks.popleft()
        if self._settled != before:
            with self.catalog.writing() as session:
                repository.took(session, self._settled, self.to.place, self.now())

    def _is_settled(self, seq: int, at_s: float) -> bool:
        return seq <= self._repeated or self.steady_s() - at_s >= SETTLES_AFTER_S

    def _leave(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line = None
        self._sent = self._settled
        self._marks.clear()

    def _broke_off(self, reason: str) -> None:
        self._leave()
        self._failures += 1
        wait_s = back_off(self._failures, self.jitter, longest=LONGEST_PAUSE).total_seconds()
        self._not_before_s = self.steady_s() + wait_s
        details = {"repository": self.to.place, "reason": reason, "wait_s": round(wait_s, 1)}
        log.warning("the audit trail could not be forwarded", extra=details)
        with self.catalog.writing() as session:
            repository.failed(session, self.to.place, reason, self.now())
