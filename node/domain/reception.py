"""What happens on the listening side: associations, and instances that came or were refused."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from node.domain.announcement import StepState, Teller


@dataclass(frozen=True)
class Reception:
    """Who brought an instance, when and how."""

    association_id: str
    calling_ae_title: str
    called_ae_title: str
    address: str
    received_at: str
    """ISO 8601, UTC: in the file when its first byte came, in the catalog when the whole of it was durable."""
    secured: bool = False
    """Whether it came over TLS."""


class Ending(StrEnum):
    """How an association ended. Only a release says that the sender had nothing more to send."""

    RELEASED = "released"
    ABORTED = "aborted"
    LOST = "lost"
    """The process that served it died."""


@dataclass(frozen=True)
class AssociationOpened:
    """A known sender is connected."""

    association_id: str
    calling_ae_title: str
    address: str
    at: datetime

    def lost(self, at: datetime) -> "AssociationClosed":
        """Its process died; what came over it is known from the instances."""
        return AssociationClosed(
            self.association_id, self.calling_ae_title, "", self.address, Ending.LOST, stored=0, refused=0, at=at
        )


@dataclass(frozen=True)
class AssociationClosed:
    """The end of an association that was opened."""

    association_id: str
    calling_ae_title: str
    called_ae_title: str
    """Empty where the association was lost."""
    address: str
    ending: Ending
    stored: int
    """Instances answered with success."""
    refused: int
    at: datetime
    secured: bool = False
    """Whether it was one over TLS."""
    user: str = ""
    """Who the caller proved that its user is."""


@dataclass(frozen=True)
class Wish:
    """What a caller asked for, as it said itself: for whoever decides about it."""

    abstract_syntaxes: tuple[str, ...] = ()
    """UIDs, each once."""
    implementation: str = ""
    """Its implementation version name, else its implementation class UID."""


@dataclass(frozen=True)
class AssociationRefused:
    """Somebody who may not send here, or not now, tried to."""

    calling_ae_title: str
    """Empty where the connection was refused before it named itself."""
    called_ae_title: str
    address: str
    reason: str
    unknown_caller: bool
    """Nobody has allowed it; otherwise it only asked for the wrong AE title, or for too much at once."""
    at: datetime
    count: int = 1
    """Refusals that this one stands for."""
    wish: Wish = Wish()
    alarming: bool = False
    """It could not prove who it is: no TLS handshake, another's certificate, no such user."""


@dataclass(frozen=True)
class InstanceRefused:
    """A C-STORE answered with anything but success."""

    association_id: str
    calling_ae_title: str
    address: str
    sop_instance_uid: str
    status: int
    reason: str
    at: datetime


@dataclass(frozen=True)
class QueryAnswered:
    """A C-FIND and how it was answered; what was asked for names patients, and is not here."""

    calling_ae_title: str
    address: str
    level: str
    """Empty where the query had none that is known."""
    answers: int
    status: int
    """The last one that was sent."""
    at: datetime


@dataclass(frozen=True)
class Retrieved:
    """A C-MOVE or C-GET and how it was answered."""

    calling_ae_title: str
    address: str
    service: str
    level: str
    """Empty where it had none that is known, or was not looked at."""
    destination: str
    """Of a C-MOVE: the AE title it named."""
    instances: int
    """Sub-operations."""
    ended: tuple[tuple[str, str, int], ...]
    """(Study Instance UID, how, instances) of the sub-operations that ended."""
    status: int
    """The last one that was sent."""
    at: datetime


@dataclass(frozen=True)
class StepRequestRefused:
    """A request about a procedure step that was not granted."""

    calling_ae_title: str
    address: str
    operation: str
    sop_instance_uid: str
    status: int
    at: datetime


@dataclass(frozen=True)
class AuditLogUsed:
    """An admin was shown what the node knows of itself, its audit trail included (PS3.15 A.5.3.2)."""

    calling_ae_title: str
    address: str
    keys: tuple[str, ...]
    at: datetime


@dataclass(frozen=True)
class CommitmentReported:
    """A destination answered on an association of its own: it was told that we have its answer."""

    calling_ae_title: str
    address: str
    transaction_uid: str
    committed: tuple[str, ...]
    """SOP Instance UIDs, of those that it was asked about."""
    failed: tuple[tuple[str, int], ...]
    """(SOP Instance UID, Failure Reason), of those that it was asked about."""
    at: datetime


@dataclass(frozen=True)
class CommitmentReportRefused:
    """An answer to what nobody asked, or not of this caller."""

    calling_ae_title: str
    address: str
    transaction_uid: str
    status: int
    at: datetime


@dataclass(frozen=True)
class CountTold:
    """A modality or an archive told how many instances a study has, and was told that we have it."""

    calling_ae_title: str
    address: str
    teller: Teller
    uid: str
    """SOP Instance UID of the step or notification."""
    study_instance_uid: str
    """Empty in what follows the first of a step."""
    state: StepState
    series: tuple[tuple[str, int], ...]
    """(Series Instance UID, instances)."""
    at: datetime


@dataclass(frozen=True)
class CountRefused:
    """Somebody told what cannot be taken."""

    calling_ae_title: str
    address: str
    teller: str
    uid: str
    status: int
    at: datetime


@dataclass(frozen=True)
class PromiseAsked:
    """A sender asked us to keep what it sent, and was told that it will get an answer."""

    calling_ae_title: str
    address: str
    transaction_uid: str
    wanted: tuple[tuple[str, str], ...]
    """(SOP Class UID, SOP Instance UID)."""
    at: datetime


ListeningEvent = (
    AssociationOpened
    | AssociationClosed
    | AssociationRefused
    | InstanceRefused
    | QueryAnswered
    | Retrieved
    | CommitmentReportRefused
    | StepRequestRefused
    | AuditLogUsed
    | CountRefused
)


class OpenAssociations:
    """Who is connected now, and how the last associations ended. Not durable: after a restart nobody knows."""

    REMEMBERED = 10_000

    def __init__(self) -> None:
        self._open: dict[str, tuple[str, str]] = {}
        self._endings: dict[str, Ending] = {}

    def take(self, event: ListeningEvent) -> None:
        """Follow one event."""
        if isinstance(event, AssociationOpened):
            self._open[event.association_id] = (event.calling_ae_title, event.address)
        elif isinstance(event, AssociationClosed):
            self._open.pop(event.association_id, None)
            self._endings[event.association_id] = event.ending
            if len(self._endings) > self.REMEMBERED:
                self._endings.pop(next(iter(self._endings)))

    def forget(self, association_ids: set[str]) -> None:
        """The process that served these is gone; how they ended is not known."""
        for association_id in association_ids:
            self._open.pop(association_id, None)

    def done(self, association_id: str, calling_ae_title: str, address: str) -> bool:
        """Whether an association was released and its sender has none open."""
        sending = (calling_ae_title, address) in self._open.values()
        return self._endings.get(association_id) is Ending.RELEASED and not sending

    def standing(self, association_id: str, calling_ae_title: str, address: str) -> str:
        """How an association stands, for people: open while its sender has one, else how it ended, if that is known."""
        if (calling_ae_title, address) in self._open.values():
            return "open"
        return self._endings.get(association_id, "unknown")

    def __len__(self) -> int:
        return len(self._open)
