"""What results are made from, and what they are: bytes of a Part-10 file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pydicom import Dataset
from pydicom.uid import SegmentationStorage

from node.domain.delivery import ResultKind
from node.domain.finding import Finding
from node.domain.outcome import Conclusion, Outcome
from node.domain.uids import ResultIdentity
from node.errors import AnalysisError
from workers.volume import Mask, Volume


@dataclass(frozen=True)
class Model:
    """The network set that read the images."""

    name: str
    version: str


@dataclass(frozen=True)
class Equipment:
    """The node that made the results (Enhanced General Equipment)."""

    ae_title: str
    installation_id: str
    """Device Serial Number; the device observer's UID derives from it."""
    software_versions: tuple[str, ...]
    model_name: str = "Nodus"
    manufacturer: str = "Nodus"


@dataclass(frozen=True)
class Predecessor:
    """An earlier report that this one replaces."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True)
class EncodedResult:
    """One object for the PACS, encoded once; sent again as it is."""

    kind: ResultKind
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    data: bytes
    """A complete Part-10 file, Explicit VR Little Endian."""


@dataclass(frozen=True)
class ResultRequest:
    """One reading, complete; encoding it twice gives the same bytes."""

    conclusion: Conclusion
    headers: tuple[Dataset, ...]
    """Of every image read, without pixels, in volume order; for NOT_ANALYSED at least one image of the study."""
    identity: ResultIdentity
    equipment: Equipment
    model: Model
    created: datetime
    """With time zone; every date and time that is written derives from it."""
    volume: Volume | None = None
    """None for NOT_ANALYSED."""
    findings: tuple[Finding, ...] = ()
    """Ordinals 1..n in order."""
    masks: tuple[Mask, ...] = ()
    """One per finding, same order."""
    more_findings: bool = False
    """There may be more nodules than `findings` names: their number is no total."""
    predecessors: Mapping[str, Predecessor] = field(default_factory=dict)
    """By SOP Class UID."""

    def __post_init__(self) -> None:
        """Raise AnalysisError where the parts contradict each other: such a report must not be written."""
        outcome, found = self.conclusion.outcome, bool(self.findings)
        if found != (outcome is Outcome.FINDINGS) and outcome is not Outcome.PARTIAL:
            raise AnalysisError(f"The outcome is '{outcome}' but there are {len(self.findings)} findings.")
        if outcome is Outcome.NOT_ANALYSED and found:
            raise AnalysisError("A study that was not analysed has no findings.")
        if outcome is not Outcome.NOT_ANALYSED and self.volume is None:
            raise AnalysisError("A study that was analysed has a volume.")
        if not self.headers or len(self.masks) != len(self.findings) or self.created.tzinfo is None:
            raise AnalysisError("A result needs a source image, a mask for each finding and a time with its zone.")
        if [finding.ordinal for finding in self.findings] != list(range(1, len(self.findings) + 1)):
            raise AnalysisError("Findings are not numbered from 1.")

    def instance_uid(self, sop_class_uid: str) -> str:
        """SOP Instance UID of the result of this class."""
        return self.identity.uid("instance", sop_class_uid)

    def series_uid(self, sop_class_uid: str) -> str:
        """Series Instance UID of the result of this class; each has a series of its own."""
        return self.identity.uid("series", sop_class_uid)

    def tracking_uid(self, finding: Finding) -> str:
        """Tracking UID of a nodule, the same in SR and SEG."""
        return self.identity.uid("nodule", "", finding.ordinal)

    @property
    def seg_uid(self) -> str:
        """SOP Instance UID of the SEG."""
        return self.instance_uid(SegmentationStorage)
