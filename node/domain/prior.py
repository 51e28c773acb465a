"""What became of each nodule since an earlier exam of the same patient, and why that may not be known."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from node.domain.finding import NoduleType, Point, Side


@dataclass(frozen=True)
class Person:
    """Who an exam is of, as far as its images say; empty is not known. Names change, and say nothing here."""

    patient_id: str
    issuer: str
    birth_date: str
    sex: str


def is_same_person(one: Person, other: Person) -> bool:
    """Whether two exams are of one person: the same id of the same issuer, and nothing that contradicts it."""
    if not one.patient_id.strip() or one.patient_id.strip() != other.patient_id.strip():
        return False
    if one.issuer.strip() != other.issuer.strip():
        return False
    return not _contradict(one.birth_date, other.birth_date) and not _contradict(one.sex.upper(), other.sex.upper())


def _contradict(one: str, other: str) -> bool:
    return bool(one.strip() and other.strip()) and one.strip() != other.strip()


def day(study_date: str) -> date | None:
    """A StudyDate (DA, PS3.5 Table 6.2-1); None where it is absent or none."""
    try:
        return datetime.strptime(study_date.strip(), "%Y%m%d").date()
    except ValueError:
        return None


def days_between(earlier: str, later: str) -> int | None:
    """From one StudyDate to another; None where one is none, or the first does not come before."""
    before, then = day(earlier), day(later)
    return (then - before).days if before and then and before < then else None


class Seen(StrEnum):
    """What the earlier exam has in the place of a nodule."""

    MATCHED = "matched"
    """A nodule that is taken for the same."""
    NEW = "new"
    """The model found none there, on images that show the place and were read without limits."""
    UNSURE = "unsure"
    """None was found, but one may have been there."""


class Trend(StrEnum):
    """How the size of a nodule changed, by more than error of measurement or not."""

    INCREASED = "increased"
    DECREASED = "decreased"
    STABLE = "stable"


class Unsure(StrEnum):
    """Why nobody knows whether a nodule was there."""

    LIMITED = "the earlier exam could be read with limits only"
    OUTSIDE = "the place lies outside of the earlier images"
    NOT_FOUND = "the place was not found again with certainty"


class Unmeasured(StrEnum):
    """Why the sizes of a nodule are not compared."""

    THICKNESS = "slices are of different thickness or distance"
    KERNEL = "the images were reconstructed with different kernels"
    TYPE = "it was of another type"


@dataclass(frozen=True)
class EarlierNodule:
    """A nodule of the earlier exam."""

    tracking_uid: str
    """Under which it was reported; empty where it never was."""
    type: NoduleType
    side: Side
    center_lps_mm: Point
    """In the frame of the earlier exam."""
    mean_diameter_mm: float
    volume_mm3: float | None


@dataclass(frozen=True)
class Growth:
    """How much a nodule changed. Each is None where it was not measured in both exams."""

    trend: Trend
    by_volume: bool
    """Else by the mean diameter."""
    diameter_mm: float
    """Later less earlier mean diameter."""
    volume_share: float | None
    """Later less earlier volume, by the earlier one."""
    doubling_days: float | None
    """Of the volume; only of what increased."""


@dataclass(frozen=True)
class NoduleChange:
    """One nodule since the earlier exam."""

    ordinal: int
    """Of the finding."""
    seen: Seen
    unsure: Unsure | None = None
    """Set where `seen` is UNSURE."""
    earlier: EarlierNodule | None = None
    """Set where it was matched."""
    growth: Growth | None = None
    """Of a matched one, where sizes can be compared..."""
    unmeasured: Unmeasured | None = None
    """...and why not, where not."""


class Missing(StrEnum):
    """What is said of a nodule of the earlier exam that none of this one matches."""

    NOT_FOUND = "the model did not find it again"
    OUTSIDE = "its place lies outside of these images"
    TOO_SMALL = "nodules of its size are not assessed on these images"


@dataclass(frozen=True)
class GoneNodule:
    """A nodule of the earlier exam alone."""

    earlier: EarlierNodule
    why: Missing


@dataclass(frozen=True)
class ImageReference:
    """An image of the earlier exam."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


class Hindrance(StrEnum):
    """Why there is no comparison."""

    NOT_ALIGNED = "the lungs of the two exams could not be laid over each other well enough"
    NOT_READ = "its images could not be read"
    GIVEN_UP = "the comparison did not come to its end"


@dataclass(frozen=True)
class PriorComparison:
    """An exam beside an earlier one of the same patient."""

    study_instance_uid: str
    """Of the earlier exam; empty where none was looked at, and `notice` says why."""
    study_date: str
    """DA, of the earlier exam: all that reports say of it."""
    days: int
    """From then to now."""
    source: str
    """SHA-256 over what the comparison rests on: images and findings of the earlier exam."""
    images: tuple[ImageReference, ...] = ()
    changes: tuple[NoduleChange, ...] = ()
    """One for each finding, in order; none where there is a hindrance."""
    gone: tuple[GoneNodule, ...] = ()
    hindrance: Hindrance | None = None
    notice: str = ""
    """A sentence on exams that could not be looked for."""
    earlier_limited: bool = False
    """The earlier exam could be read with limits only."""

    @property
    def is_made(self) -> bool:
        """Whether nodules were compared."""
        return bool(self.study_instance_uid) and self.hindrance is None

    def of(self, ordinal: int) -> NoduleChange | None:
        """What became of one nodule."""
        return next((each for each in self.changes if each.ordinal == ordinal), None)


def tracked(changes: Iterable[NoduleChange]) -> dict[int, str]:
    """Ordinal to the Tracking UID that a nodule keeps from the earlier exam."""
    return {each.ordinal: each.earlier.tracking_uid for each in changes if each.earlier and each.earlier.tracking_uid}


def summary(kept: Mapping[str, Any]) -> str:
    """One line about a comparison as SQL has it, for people; empty where there is none."""
    said = [kept.get("notice", "")]
    if kept.get("study_instance_uid"):
        with_what = f"the CT of {kept['study_date']} ({kept['days']} days earlier)"
        if kept["hindrance"]:
            said.append(f"not compared with {with_what}: {kept['hindrance']}.")
        else:
            grown = [each["growth"]["trend"] if each["growth"] else each["seen"] for each in kept["changes"]]
            changes = ", ".join(f"N{each['ordinal']} {what}" for each, what in zip(kept["changes"], grown, strict=True))
            gone = f"{len(kept['gone'])} not found again"
            said.append(f"compared with {with_what}: {', '.join(filter(None, (changes, gone)))}.")
    return " ".join(filter(None, said))
