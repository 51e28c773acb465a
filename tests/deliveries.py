"""Results on their way to a destination that answers as it is told."""

import random
import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from node.catalog import breakers, tables
from node.catalog.outbox import StoredResult
from node.catalog.peers import KnownDestination
from node.catalog.session import Catalog
from node.domain.breaker import Breaker, BreakerState
from node.domain.delivery import ResultKind
from node.domain.peers import Destination
from node.errors import PeerFailed
from node.flow import release
from node.flow.deliver import Delivery
from tests.flow import PLAIN_SR_CLASS, SEG_CLASS, SR_CLASS, Flow, results
from tests.sender import send
from tests.servers import Nodus, eventually
from tests.studies import AT, Series, after

PACS = Destination("PACS", "pacs.local", 104)
EVERYTHING = frozenset({SEG_CLASS, SR_CLASS, PLAIN_SR_CLASS})
SEG, SR = ResultKind.SEG, ResultKind.SR


@dataclass
class Pacs:
    """A destination at the far end of our own interface, which answers as it is told."""

    takes: frozenset[str] = EVERYTHING
    answers: list[int | Exception] = field(default_factory=list)
    """One for each C-STORE; then success."""
    away: bool = False
    got: list[str] = field(default_factory=list)
    """Paths that were sent, in order, whatever the answer."""
    associations: int = 0
    calls: int = 0
    """Associations that were asked for, made or not."""

    @property
    def accepted_sop_classes(self) -> frozenset[str]:
        return self.takes

    @contextmanager
    def connect(self, _: Destination) -> Iterator["Pacs"]:
        self.calls += 1
        if self.away:
            raise PeerFailed("PACS cannot be reached.")
        self.associations += 1
        yield self

    def send(self, path: Path, sop_class_uid: str) -> int:
        self.got.append(path.name)
        answer = self.answers.pop(0) if self.answers else 0x0000
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class Clock:
    """A time of our own."""

    at: datetime = AT

    def __call__(self) -> datetime:
        return self.at

    def goes_on(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class Delivering:
    """A flow, one destination, and a clock."""

    flow: Flow
    to: KnownDestination
    pacs: Pacs = field(default_factory=Pacs)
    clock: Clock = field(default_factory=Clock)
    made: set[str] = field(default_factory=set)
    """Files that are, or were, there."""

    def __post_init__(self) -> None:
        self.folder = Path(mkdtemp(prefix="nodus-results-"))
        weakref.finalize(self, shutil.rmtree, self.folder)

    def step(self) -> bool:
        jitter = random.Random(1)
        return Delivery(self.flow.catalog, self.to, self.pacs.connect, self.file, jitter, self.clock).step()

    def file(self, path: str) -> Path:
        """A result's file, made when it is first asked for: it holds its own name."""
        file = self.folder / path
        if path not in self.made:
            self.made.add(path)
            file.parent.mkdir(exist_ok=True)
            file.write_text(path)
        return file

    def rows(self) -> list[dict[str, object]]:
        return self.flow.rows(tables.outbox)

    def states(self) -> list[str]:
        return [str(row["state"]) for row in self.rows()]

    @property
    def breaker(self) -> Breaker:
        with self.flow.catalog.reading() as session:
            return breakers.of(session, self.to)

    def until_it_opens(self) -> None:
        """Fail, each time when something is due, until nothing is tried any more."""
        while self.breaker.state is BreakerState.CLOSED:
            self.step()
            self.clock.goes_on(60)


@dataclass
class Delivered:
    """A running node and what its outbox says of each destination; sites add their neighbours."""

    node: Nodus
    job: int

    def rows(self, ae_title: str) -> list[dict[str, object]]:
        """What the outbox says of one destination: SEG, then SR."""
        flow = Flow(self.node.catalog)
        (to,) = flow.rows(tables.destination, ae_title=ae_title)
        return sorted(flow.rows(tables.outbox, destination_id=to["id"]), key=lambda row: row["kind"])

    def states(self, ae_title: str) -> list[object]:
        """Where each of its results stands."""
        return [row["state"] for row in self.rows(ae_title)]


def two_destinations(catalog: Catalog, first_is: Pacs) -> tuple[Delivering, Delivering]:
    """One study's results at two destinations, released."""
    flow = Flow(catalog)
    first, second = flow.destination(PACS, Destination("OTHER", "h", 2))
    flow.receive(Series().headers())
    flow.complete(after(3))
    flow.finish(1, after(3))
    release.step(catalog, AT)
    return Delivering(flow, first, first_is), Delivering(flow, second)


def with_results(catalog: Catalog, studies: int = 1, released: bool = True) -> Delivering:
    """Results of some studies, each of one job, saved and released at AT."""
    flow = Flow(catalog)
    (to,) = flow.destination(PACS)
    for number in range(studies):
        flow.receive(Series(str(number)).headers(), after(-3))
    flow.complete(AT)
    for number in range(studies):
        flow.finish(number + 1)
    if released:
        assert release.step(catalog, AT)
    return Delivering(flow, to)


def names(*parts: tuple[int, ResultKind, int]) -> list[str]:
    return [f"{job}-{kind}-{rung}.dcm" for job, kind, rung in parts]


STUDY = Series("delivered")


def write_result(data: Path, result: StoredResult) -> None:
    """A small data set under the UIDs of a made-up result, where the node will look for it."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = result.sop_class_uid, result.sop_instance_uid
    ds.StudyInstanceUID, ds.SeriesInstanceUID = STUDY.study_uid, result.series_instance_uid
    ds.PatientName, ds.PatientID, ds.Modality = "Müller^Jürgen", "TEST-1", str(result.kind)
    ds.ContentLabel, ds.SeriesNumber, ds.InstanceNumber = "N1", "9", "1"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = data / result.path
    path.parent.mkdir(exist_ok=True)
    ds.save_as(path, enforce_file_format=True)


def analyse_by_hand(node: Nodus, series: Series) -> int:
    """Send a study, and do the worker's part with made-up results; returns the job."""
    send(node.dicom_port, series.payloads())
    return finish_by_hand(node)


def finish_by_hand(node: Nodus) -> int:
    """Do the worker's part for what is queued, with made-up results; returns the job."""
    flow = Flow(node.catalog, data=node.data)
    job = eventually(lambda: [each for each in flow.jobs() if each["state"] == "queued"])[0]
    for kind in (ResultKind.SEG, ResultKind.SR):
        for result in results(job["id"], kind):
            write_result(node.data, result)
    flow.finish(job["id"], job["not_before"])
    return int(job["id"])
