"""Who may send to us and whom we send to."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address, ip_network

ANY_AE_TITLE = "*"


class Standing(StrEnum):
    """What an administrator decided about a caller."""

    ALLOWED = "allowed"
    PENDING = "pending"
    """It called, was refused, and waits for a decision."""
    DENIED = "denied"


@dataclass(frozen=True)
class Sender:
    """A caller, by AE title and network; `*` stands for any AE title."""

    ae_title: str
    network: str
    """CIDR; a single address is a network of one."""
    standing: Standing
    gapless_quiet_s: float = 3.0
    """Quiet after a gapless stack and a clean release, before a series counts as complete."""
    quiet_s: float = 15.0
    """Quiet without that evidence."""


@dataclass(frozen=True)
class Destination:
    """A PACS that gets results."""

    ae_title: str
    host: str
    port: int
    results: tuple[str, ...] = ("SEG", "SR")
    """Kinds of results it gets: SEG, SR, SC."""
    not_analysed: bool = True
    """Whether it gets a short SR for a chest CT that was not analysed."""


def _matches(sender: Sender, ae_title: str, address: str) -> bool:
    return sender.ae_title in (ANY_AE_TITLE, ae_title) and ip_address(address) in ip_network(sender.network)


def standing_of(senders: Iterable[Sender], ae_title: str, address: str) -> Sender | None:
    """The decision that speaks of a caller: the narrowest network first, then a named AE title before `*`.

    A host that was denied stays out whatever its AE title may do elsewhere. What is pending was not decided.
    """
    decided = (sender for sender in senders if sender.standing is not Standing.PENDING)
    matching = [sender for sender in decided if _matches(sender, ae_title, address)]
    return max(
        matching,
        key=lambda sender: (ip_network(sender.network).prefixlen, sender.ae_title != ANY_AE_TITLE),
        default=None,
    )


def admits(senders: Iterable[Sender], ae_title: str, address: str) -> bool:
    """Whether a caller is known and allowed."""
    sender = standing_of(senders, ae_title, address)
    return sender is not None and sender.standing is Standing.ALLOWED
