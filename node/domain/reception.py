"""What happens on the listening side: associations, and instances that came or were refused."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True)
class Reception:
    """Who brought an instance, when and how."""

    association_id: str
    calling_ae_title: str
    called_ae_title: str
    address: str
    received_at: str
    """ISO 8601, UTC: in the file when its first byte came, in the catalog when the whole of it was durable."""


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


ListeningEvent = AssociationOpened | AssociationClosed | AssociationRefused | InstanceRefused | QueryAnswered


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
