"""What modalities send: tiny CTs that cannot be read, and small chests in which the shipped models find nodules."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

from pydicom import Dataset, dcmread

from node.domain.delivery import ResultKind
from node.domain.outcome import Outcome
from node.domain.uids import derived_uid
from tests.sender import Payload, payload_of
from tests.studies import Series
from workers.phantom import Spec, chest
from workers.phantom.series import write_series

CHEST = Spec(seed=2, nodules=3, matrix=290, step_mm=5.0, thickness_mm=5.0, smallest_mm=14.0)
"""As coarse as can be read (node/domain/eligibility.py), so that one reading takes two seconds."""
MIDDLE = slice(15, 55)
"""As few slices as can be read; three nodules are in them."""


@dataclass(frozen=True)
class Exam:
    """One study to send, and what must come of it."""

    study_uid: str
    payloads: tuple[Payload, ...]
    results: frozenset[ResultKind]
    """What each destination gets of it, one of each."""

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """How it may end; thick slices are always a limitation."""
        return (Outcome.PARTIAL,) if ResultKind.SEG in self.results else (Outcome.NOT_ANALYSED,)


def head(name: str) -> Exam:
    """A CT that nobody expects to be read: it ends without a result."""
    texts = {"BodyPartExamined": "HEAD", "StudyDescription": "CT Head", "SeriesDescription": "Head 2.5"}
    return _tiny(Series(name, count=6).having(**texts))


def short_chest(name: str) -> Exam:
    """A chest CT of too few slices: it ends with a report that says so."""
    return _tiny(Series(name, count=8), ResultKind.SR)


def _tiny(series: Series, *results: ResultKind) -> Exam:
    return Exam(series.study_uid, tuple(series.payloads()), frozenset(results))


@dataclass(frozen=True)
class Chest:
    """One synthetic chest with nodules, sent again and again as another patient's."""

    files: Sequence[Path]

    @cached_property
    def _slices(self) -> list[Dataset]:
        return [dcmread(path) for path in self.files]

    def exam(self, name: str) -> Exam:
        """A copy under names of its own."""
        study_uid = derived_uid("endurance study", name)
        for number, image in enumerate(self._slices):
            image.StudyInstanceUID = study_uid
            image.SeriesInstanceUID = derived_uid("endurance series", name)
            image.FrameOfReferenceUID = derived_uid("endurance frame", name)
            image.SOPInstanceUID = derived_uid("endurance image", name, str(number))
            image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
            image.PatientID = image.AccessionNumber = name[:16]
        return Exam(study_uid, tuple(map(payload_of, self._slices)), frozenset({ResultKind.SEG, ResultKind.SR}))


def make_chest(folder: Path) -> Chest:
    """Draw it once; every copy has its pixels."""
    return Chest(write_series(chest(CHEST), folder)[MIDDLE])


def heads(name: str) -> Iterator[Exam]:
    """Without end."""
    return (head(f"{name}-{number}") for number in count(1))


def chests(chest: Chest, name: str) -> Iterator[Exam]:
    """Without end; each other one has too few slices to be read."""
    for number in count(1):
        yield chest.exam(f"{name}-{number}")
        yield short_chest(f"{name}-short-{number}")
