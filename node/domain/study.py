"""A study and its series, as the flow sees them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from node.domain.instance import InstanceHeader
from node.domain.reception import Reception


class Completeness(StrEnum):
    """Whether more is expected."""

    RECEIVING = "receiving"
    COMPLETE = "complete"


class VersionKind(StrEnum):
    """What one file of an instance is."""

    AUTHORITATIVE = "authoritative"
    """The first that came: what is read and reported on."""
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    """Other content under the same SOP Instance UID: kept, never read, told to the operator."""


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
    """Every series in it is complete by the evidence of a gapless stack."""
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
    own: bool = False
    """We produced it ourselves: it came back from a PACS and changes nothing."""
