"""Drives the arrows of the flow by hand, at times of its own choosing: a study comes, jobs are done, results go."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import Table, select

from node.catalog import audit, jobs, outbox, peers, tables
from node.catalog.jobs import Job
from node.catalog.outbox import StoredResult
from node.catalog.revisions import record_failure
from node.catalog.session import Catalog
from node.domain.audit import Entry
from node.domain.delivery import ResultKind
from node.domain.instance import InstanceHeader
from node.domain.job import Failure, JobState
from node.domain.outcome import Outcome
from node.domain.peers import Destination, Protocol
from node.domain.reception import AssociationClosed, AssociationOpened, Ending, OpenAssociations
from node.domain.uids import derived_uid
from node.flow import complete, register
from node.flow.clock import Clock
from node.spool import Spool
from tests.sender import Payload
from tests.studies import AT, Series, after, arrivals, keep_all, reception

LEASE = timedelta(seconds=60)
SEG_CLASS, SR_CLASS, PLAIN_SR_CLASS = (
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.88.34",
    "1.2.840.10008.5.1.4.1.1.88.33",
)
NO_SPOOL = Spool(Path("/nonexistent"), minimum_free_bytes=0, minimum_free_fraction=0.0)
"""For arrivals whose files nobody looks at."""


@dataclass
class Flow:
    """A node without its processes and loops."""

    catalog: Catalog
    spool: Spool = NO_SPOOL
    associations: OpenAssociations = field(default_factory=OpenAssociations)
    data: Path | None = None
    """Where the files of made-up results are, if anywhere."""
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    def receive(
        self,
        headers: Iterable[InstanceHeader],
        at: datetime = AT,
        ending: Ending | None = Ending.RELEASED,
        calling: str = "CT1",
    ) -> str:
        """One association brings some images at one moment, and ends (or stays open); returns its id."""
        association = f"a-{next(self._numbers)}"
        by = reception(at, association, calling)
        self.associations.take(AssociationOpened(association, calling, by.address, at))
        register.register(self.catalog, self.spool, arrivals(headers, by))
        if ending is not None:
            self.close(association, ending, at, calling)
        return association

    def take(self, payloads: Iterable[Payload], at: datetime = AT) -> None:
        """One association brings some instances, their files included."""
        association = f"a-{next(self._numbers)}"
        by = reception(at, association)
        self.associations.take(AssociationOpened(association, "CT1", by.address, at))
        register.register(self.catalog, self.spool, keep_all(self.spool, payloads, by))
        self.close(association, Ending.RELEASED, at)

    def close(self, association: str, ending: Ending, at: datetime = AT, calling: str = "CT1") -> None:
        """An association ends."""
        self.associations.take(AssociationClosed(association, calling, "NODUS", "127.0.0.1", ending, 1, 0, at))

    def complete(self, at: datetime) -> None:
        """Take turns of `complete` at one moment until nothing more closes."""
        clock = Clock(lambda: at)
        while complete.step(self.catalog, self.associations, clock):
            pass

    def rows(self, table: Table, **where: Any) -> list[dict[str, Any]]:
        """Rows of a table, oldest first."""
        query = (
            select(table).order_by(*table.primary_key).where(*(table.c[name] == each for name, each in where.items()))
        )
        with self.catalog.reading() as session:
            return [dict(row) for row in session.execute(query).mappings()]

    def study(self, study_instance_uid: str) -> dict[str, Any]:
        """The row of a study."""
        (row,) = self.rows(tables.study, study_instance_uid=study_instance_uid)
        return row

    def jobs(self) -> list[dict[str, Any]]:
        """Every job, oldest first."""
        return self.rows(tables.job)

    def outbox(self) -> list[tuple[int, str, str]]:
        """(job id, kind, state) of everything in the outbox."""
        return [(row["job_id"], row["kind"], row["state"]) for row in self.rows(tables.outbox)]

    def audit(self, kind: str = "") -> list[Entry]:
        """The audit trail, or what it has of one kind."""
        with self.catalog.reading() as session:
            return list(audit.entries(session, kind=kind))

    def destination(self, *destinations: Destination) -> list[peers.KnownDestination]:
        """Make these the destinations."""
        with self.catalog.writing() as session:
            peers.configure_destinations(session, destinations)
            return peers.destinations(session, *Protocol)

    def claim(self, job_id: int, at: datetime = AT, token: str = "t") -> Job | None:
        """A worker takes a job."""
        with self.catalog.writing() as session:
            return jobs.claim(session, job_id, token, "worker", at, LEASE)

    def claimed(self, job_id: int = 1, at: datetime = AT, token: str = "t") -> Job:
        """The same, where it must succeed."""
        job = self.claim(job_id, at, token)
        assert job is not None
        return job

    def fail(self, job: Job, failure: Failure, at: datetime) -> None:
        """The worker that holds a job says that it failed."""
        with self.catalog.writing() as session:
            record_failure(session, jobs.holder(session, job.id, "t"), failure, "It broke.", at)

    def finish(
        self, job_id: int, at: datetime = AT, kinds: Sequence[ResultKind] = (ResultKind.SEG, ResultKind.SR)
    ) -> None:
        """A worker takes a job, does it at once and saves made-up results."""
        taken = self.claimed(job_id, at)
        notice = taken.kind == "notice"
        kinds = (ResultKind.SR,) if notice else kinds
        with self.catalog.writing() as session:
            outbox.keep_results(session, job_id, [each for kind in kinds for each in results(job_id, kind, self.data)])
            outbox.hold(session, job_id, kinds, notice, at)
            outcome = Outcome.NOT_ANALYSED if notice else Outcome.FINDINGS
            jobs.finish(session, job_id, "t", at, outcome=outcome)

    def job_in(self, state: JobState) -> dict[str, Any]:
        """The only job in a state."""
        (row,) = self.rows(tables.job, state=state)
        return row


def results(job_id: int, kind: ResultKind, data: Path | None = None) -> list[StoredResult]:
    """Every rung of one made-up result. Without `data` the files are not there, and would hold their own names."""
    classes = (SEG_CLASS,) if kind is ResultKind.SEG else (SR_CLASS, PLAIN_SR_CLASS)
    return [
        StoredResult(
            kind=kind,
            rung=rung,
            sop_class_uid=sop_class,
            sop_instance_uid=derived_uid("test result", str(job_id), kind, str(rung)),
            series_instance_uid=derived_uid("test result series", str(job_id), kind),
            path=(path := f"results/{job_id}-{kind}-{rung}.dcm"),
            sha256=hashlib.sha256((data / path).read_bytes() if data else path.encode()).hexdigest(),
        )
        for rung, sop_class in enumerate(classes)
    ]


def queued(catalog: Catalog, studies: int = 1) -> Flow:
    """A flow with one queued job for each of some studies, made at AT."""
    flow = Flow(catalog)
    for number in range(studies):
        flow.receive(Series(str(number)).headers(), after(-3))
    flow.complete(AT)
    return flow


def to_be_read(catalog: Catalog, spool: Spool, payloads: Iterable[Payload]) -> Flow:
    """A flow with a queued job for one series whose files are in the spool, and a PACS that wants its results."""
    flow = Flow(catalog, spool)
    flow.destination(Destination("PACS", "127.0.0.1", 104))
    flow.take(payloads)
    flow.complete(after(3))
    return flow
