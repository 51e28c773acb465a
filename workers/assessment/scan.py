"""One scan: what is known of it, and what the pipeline read from it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from node.domain.finding import NoduleType
from node.errors import BadInput
from workers.evaluation.matching import Truth
from workers.networks.operating import OperatingPoint
from workers.pipeline import Reading
from workers.volume import Mask

EVERY_SCORE = OperatingPoint(candidate_score=0.01, most_candidates=48, finding_score=0.0, most_findings=48)
"""The shipped chain with nothing held back, so that the FROC is not cut; no more second looks than are shipped."""


@dataclass(frozen=True)
class Nodule:
    """The truth about one nodule; None is "not known"."""

    truth: Truth
    type: NoduleType | None = None
    volume_mm3: float | None = None
    mask: Mask | None = None


@dataclass(frozen=True)
class Scan:
    """A scan after it was read."""

    name: str
    """Series Instance UID, or the seed of a phantom."""
    nodules: tuple[Nodule, ...]
    groups: Mapping[str, str]
    """Kind of group to the scan's place in it: slice thickness, kernel, ..."""
    reading: Reading | None
    """None where the pipeline refused the images: every nodule of it is missed."""
    refusal: str = ""


@dataclass(frozen=True)
class Source:
    """Scans to measure on, read one after the other as they are asked for."""

    on: str
    """What a model card says that was measured on."""
    count: int
    scans: Iterator[Scan]
    notes: tuple[str, ...] = ()


def attempt(read: Callable[[], Reading]) -> tuple[Reading | None, str]:
    """The reading, or why there is none."""
    try:
        return read(), ""
    except BadInput as error:
        return None, str(error)
