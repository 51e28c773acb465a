"""A node that keeps files: studies that are read and delivered, and a retention that is run by hand."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from sqlalchemy import update

from node.catalog import studies, tables
from node.catalog.session import Catalog
from node.domain.delivery import OutboxState
from node.domain.outcome import Outcome
from node.domain.peers import Destination
from node.domain.retention import Retention
from node.domain.uids import derived_uid
from node.flow import release
from node.flow.retain import Retain
from node.spool import Spool
from tests.flow import Flow, results
from tests.sender import Payload
from tests.studies import AT, Series, after

IMAGES = 40
"""Fewer slices are not read."""
PACS = Destination("PACS", "pacs.local", 104)
MONTH = Retention(after=timedelta(days=30))
LATER = datetime.now(UTC) + timedelta(days=1)
"""After every file of a test was written; images say that they came at AT, years ago."""


@cache
def payloads(series: Series) -> tuple[Payload, ...]:
    """Slices as they go over the wire, made once for all tests."""
    return tuple(series.payloads())


@contextmanager
def nobody_else() -> Iterator[bool]:
    """No backup is being made."""
    yield True


def write_result(path: Path, sop_class_uid: str, sop_instance_uid: str, study_instance_uid: str, time: str) -> None:
    """A small object that a PACS takes."""
    result = Dataset()
    result.SOPClassUID, result.SOPInstanceUID, result.StudyInstanceUID = (
        sop_class_uid,
        sop_instance_uid,
        study_instance_uid,
    )
    result.SeriesInstanceUID, result.ContentTime = derived_uid("test result series", sop_instance_uid), time
    result.file_meta = FileMetaDataset()
    result.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    dcmwrite(path, result, enforce_file_format=True)


@dataclass
class Keeping:
    """A flow with files."""

    flow: Flow
    data: Path

    @classmethod
    def on(cls, catalog: Catalog, spool: Spool, data: Path) -> "Keeping":
        flow = Flow(catalog, spool, data=data)
        flow.destination(PACS)
        return cls(flow, data)

    def read(self, name: str, at: datetime = AT) -> Series:
        """A study comes, is read and released; its results are on disk."""
        series = Series(name, count=IMAGES)
        self.flow.take(payloads(series), at)
        self.flow.complete(at + timedelta(seconds=4))
        self.finish(at)
        return series

    def finish(self, at: datetime = AT) -> int:
        """The newest job is done, and its results are due."""
        job_id = int(self.flow.jobs()[-1]["id"])
        (self.data / "results").mkdir(exist_ok=True)
        for kind in ("SEG", "SR"):
            for rung in range(2):
                (self.data / f"results/{job_id}-{kind}-{rung}.dcm").write_text(f"{job_id}")
        self.flow.finish(job_id, at + timedelta(seconds=5))
        for row in self.flow.rows(tables.result, job_id=job_id):
            self._into_its_folder(row["id"], job_id, row["path"])
        with self.flow.catalog.writing() as session:
            studies.set_outcome(session, self.flow.jobs()[-1]["study_id"], Outcome.FINDINGS, ())
        release.step(self.flow.catalog, at + timedelta(seconds=6))
        return job_id

    def _into_its_folder(self, result_id: int, job_id: int, path: str) -> None:
        """As a worker does: results/<job>/<claim>/."""
        inside = f"results/{job_id}/claim/{Path(path).name}"
        (self.data / inside).parent.mkdir(parents=True, exist_ok=True)
        (self.data / path).rename(self.data / inside)
        with self.flow.catalog.writing() as session:
            session.execute(update(tables.result).where(tables.result.c.id == result_id).values(path=inside))

    def deliver(self, state: OutboxState = OutboxState.DELIVERED) -> None:
        """Everything in the outbox has an answer."""
        with self.flow.catalog.writing() as session:
            session.execute(update(tables.outbox).values(state=state))

    def finished(self, name: str, at: datetime = AT) -> Series:
        """A study of which nothing more is expected."""
        series = self.read(name, at)
        self.deliver()
        return series

    def retain(
        self,
        rule: Retention = MONTH,
        now: datetime = LATER,
        alone: Callable[[], AbstractContextManager[bool]] = nobody_else,
    ) -> Retain:
        return Retain(self.flow.catalog, self.flow.spool, self.data, rule, alone, lambda: now)

    def images(self) -> int:
        """Files in the spool."""
        return len(list(self.flow.spool.files()))

    def results(self) -> list[str]:
        """Files of results."""
        return sorted(path.name for path in (self.data / "results").rglob("*.dcm"))

    def purged(self) -> list[str]:
        """Studies that say that their files are gone."""
        gone = self.flow.rows(tables.study)
        return [str(row["study_instance_uid"]) for row in gone if row["purged_at"]]


__all__ = ["AT", "LATER", "MONTH", "Keeping", "after", "results"]
