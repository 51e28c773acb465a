"""What results are made from, and what they are: bytes of a Part-10 file."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydicom import Dataset
from pydicom.uid import SegmentationStorage

from node.domain.delivery import ResultKind
from node.domain.finding import Finding, SolidPart
from node.domain.guidance import Guidance, NoduleGuidance
from node.domain.language import Language
from node.domain.outcome import Conclusion, Outcome
from node.domain.prior import PriorComparison, tracked
from node.domain.uids import ResultIdentity, derived_uid
from node.errors import AnalysisError
from workers.results.language import Speech
from workers.volume import Mask, Volume
from workers.volume.heat import HeatMap


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
class Style:
    """How results say what was read, whatever was read."""

    language: Language = Language.EN
    outlines: bool = True
    """The report also outlines each nodule on its key image (TID 1410)."""

    def digest(self, settings_digest: str) -> str:
        """A digest of settings with this style: UIDs of one style are never those of another."""
        if self == Style():
            return settings_digest
        return hashlib.sha256(f"{settings_digest}\n{self!r}".encode()).hexdigest()


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
    refers_to: tuple[str, ...] = ()
    """SOP Instance UIDs of results that a destination must have before this one makes sense there."""


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
    guidance: Guidance | None = None
    """What clinical rules say; None where they were not applied."""
    comparison: PriorComparison | None = None
    """What became of the nodules since an earlier exam; None where there is none to tell of."""
    heat: HeatMap | None = None
    """The detector's scores; None where it gives none."""
    shadow: bool = False
    """It was read by a model that is only tried: nothing of it is for a radiologist."""
    predecessors: Mapping[str, Predecessor] = field(default_factory=dict)
    """By SOP Class UID."""
    style: Style = field(default_factory=Style)

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
        if (
            self.comparison is not None
            and self.comparison.is_made
            and len(self.comparison.changes) != len(self.findings)
        ):
            raise AnalysisError("A comparison says of each finding what became of it.")
        if self.guidance is not None and self.guidance.lung_rads and self.conclusion.limitations:
            raise AnalysisError("A reading that is limited has no Lung-RADS category.")

    def instance_uid(self, sop_class_uid: str, refers_to: Sequence[str] = ()) -> str:
        """SOP Instance UID of the result of this class; of several, of the one that refers to these others."""
        return self.identity.uid(" ".join(("instance", *refers_to)), sop_class_uid)

    def series_uid(self, sop_class_uid: str) -> str:
        """Series Instance UID of the result of this class; each has a series of its own."""
        return self.identity.uid("series", sop_class_uid)

    def tracking_uid(self, finding: Finding) -> str:
        """Tracking UID of a nodule, the same in SR and SEG: that of an earlier exam where it was reported there."""
        kept = tracked(self.comparison.changes) if self.comparison else {}
        return kept.get(finding.ordinal) or self.identity.uid("nodule", "", finding.ordinal)

    @property
    def solid_parts(self) -> tuple[tuple[Finding, SolidPart], ...]:
        """Those that were measured, each with its nodule."""
        return tuple((each, each.solid_part) for each in self.findings if each.solid_part)

    def solid_tracking(self, finding: Finding) -> tuple[str, str]:
        """Tracking Identifier and UID of a nodule's solid part: kept as long as the nodule's own."""
        return f"{finding.label}-solid", derived_uid("nodus", "solid part", self.tracking_uid(finding))

    def guidance_on(self, finding: Finding) -> NoduleGuidance | None:
        """What clinical rules say of one nodule."""
        advised = self.guidance.nodules if self.guidance else ()
        return next((each for each in advised if each.ordinal == finding.ordinal), None)

    @property
    def say(self) -> Speech:
        """In its language."""
        return Speech(self.style.language)

    @property
    def seg_uid(self) -> str:
        """SOP Instance UID of the SEG."""
        return self.instance_uid(SegmentationStorage)
