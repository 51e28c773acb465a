"""A study and its series, as the flow sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from node.domain.instance import InstanceHeader
from node.domain.reception import Reception


class Completeness(StrEnum):
    """Whether more is expected."""

    RECEIVING = "receiving"
    COMPLETE = "complete"


class VersionKind(StrEnum):
    """What one file of an instance is. Of each instance one counts; every file is kept.

    The first counts, until one comes that shows the same under other patient or study attributes: as long as no
    destination was offered a result of the study, the newest of those counts, and the rows of patient and study follow
    it. What is the same again never counts, so that an old file that is sent once more undoes no correction.
    """

    AUTHORITATIVE = "authoritative"
    """It counts: it is read and reported on."""
    DUPLICATE = "duplicate"
    """The same as another that is here: only the encoding differs, or what nothing depends on."""
    REPLACED = "replaced"
    """It counted until a newer one with other patient or study attributes came, or an operator chose another."""
    DEMOGRAPHICS = "demographics"
    """Other patient or study attributes, after a result was sent: told to the operator, who decides."""
    CONFLICT = "conflict"
    """Other pixels or geometry: never read, its series waits, told to the operator, who decides."""
    REJECTED = "rejected"
    """An operator decided against it."""


UNDECIDED = (VersionKind.DEMOGRAPHICS, VersionKind.CONFLICT)
"""What waits for an operator."""


def age_days(study_date: str, on: date) -> int:
    """Days since a StudyDate (DA, PS3.5 Table 6.2-1); 0 where it is absent or no date: then it counts as new."""
    try:
        return (on - datetime.strptime(study_date, "%Y%m%d").date()).days
    except ValueError:
        return 0


@dataclass(frozen=True)
class Version:
    """One file of an instance, as an operator sees it."""

    id: int
    series_id: int
    sop_instance_uid: str
    path: str
    digest: str
    """SHA-256 of the data set, hex."""
    received_at: datetime
    calling_ae_title: str
    kind: VersionKind


CURRENT, NEWEST = "current", "newest"


def chosen(versions: Sequence[Version], keep: str) -> Version | None:
    """The version to keep: CURRENT is the one that counts, NEWEST the last that waits, else what a digest begins with.

    None where the digest is of none of them, or of several.
    """
    if keep == CURRENT:
        return next((each for each in versions if each.kind is VersionKind.AUTHORITATIVE), None)
    if keep == NEWEST:
        waiting = (each for each in versions if each.kind in UNDECIDED)
        return max(waiting, key=lambda each: (each.received_at, each.id), default=None)
    named = [each for each in versions if each.digest.startswith(keep.lower())]
    return named[0] if len(named) == 1 else None


@dataclass(frozen=True)
class OpenSeries:
    """A series of which more may come."""

    id: int
    study_id: int
    series_instance_uid: str
    first_received_at: datetime
    last_received_at: datetime
    last_association_id: str
    calling_ae_title: str
    address: str


@dataclass(frozen=True)
class OpenStudy:
    """A study of which more may come."""

    id: int
    study_instance_uid: str
    first_received_at: datetime
    last_received_at: datetime
    last_association_id: str
    calling_ae_title: str
    address: str
    series_open: int
    gapless: bool
    """Every series in it is complete by the evidence of a gapless stack, or of a count."""
    revision: int


@dataclass(frozen=True)
class Arrival:
    """One durable file, as the catalog takes it in."""

    header: InstanceHeader
    reception: Reception
    path: str
    digest: str
    size: int
    version: VersionKind = VersionKind.AUTHORITATIVE
    replaces: str = ""
    """Path of the version that counted until this one came."""
    own: bool = False
    """We produced it ourselves: it came back from a PACS and changes nothing."""
