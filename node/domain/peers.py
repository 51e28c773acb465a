"""Who may send to us and whom we send to."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from node.domain.commitment import Proof
from node.domain.route import Pipeline

ANY_AE_TITLE = "*"


class Standing(StrEnum):
    """What an administrator decided about a caller."""

    ALLOWED = "allowed"
    PENDING = "pending"
    """It called, was refused, and waits for a decision."""
    DENIED = "denied"


class Regard(StrEnum):
    """What is known of an address before its caller says a word."""

    KNOWN = "known"
    """Somebody may be heard from there."""
    STRANGER = "stranger"
    """Nobody was decided about: it may say who it is, and wait for a decision."""
    DENIED = "denied"
    """Whoever calls from there was denied."""


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
    priority: int = 0
    """Of the analysis of its studies; higher goes first."""
    max_study_age_days: int | None = None
    """Older studies of it are kept and not read; None: none is too old."""
    pipeline: Pipeline = Pipeline.ANALYSE
    """What is done with its studies, where neither a rule nor the called AE title says so."""
    tls_required: bool = False
    """Whether it is heard over TLS alone."""
    called: tuple[str, ...] = ()
    """AE titles of ours that it may call; empty: any of them."""
    may_query: bool = True
    """Whether its C-FIND is answered."""
    may_retrieve: bool = False
    """Whether its C-MOVE and C-GET are answered."""

    certificate: str = ""
    """Name that its certificate must have; empty: it needs none, or any that the port takes."""
    count_at: str = ""
    """AE title of the destination that is asked how many images its studies have; empty: nobody."""
    commitment_port: int = 0
    """Where it takes our answers to its requests for storage commitment; 0: we commit to nothing."""
    commitment_tls: bool = False

    def may_call(self, ae_title: str) -> bool:
        """Whether it is heard at one of our AE titles."""
        return not self.called or ae_title in self.called


@dataclass(frozen=True)
class Secured:
    """How TLS is spoken to a peer: paths of PEM files."""

    ca: str = ""
    """Authorities that it is trusted by; empty: the system's."""
    certificate: str = ""
    """What it is shown; empty: nothing."""
    key: str = ""
    name: str = ""
    """That its certificate must have; empty: its host."""


class Protocol(StrEnum):
    """How a destination is spoken to."""

    DICOM = "dicom"
    HL7 = "hl7"
    """Version 2 messages over MLLP."""


@dataclass(frozen=True)
class Destination:
    """A PACS that gets results, or another system that is told of them."""

    ae_title: str
    host: str
    port: int
    results: tuple[str, ...] = ("SEG", "SR")
    """Kinds of results it gets, as `delivery.ResultKind` names them."""
    not_analysed: bool = True
    """Whether it gets a short SR (and the PDF, if it gets that) for a chest CT that was not analysed."""
    commitment: Proof = Proof.OFF
    """How it is asked to confirm that it has what it stored."""
    retrieve: bool = True
    """Whether a C-MOVE may name it."""
    secured: Secured | None = None
    """Set where it is spoken to over TLS."""
    protocol: Protocol = Protocol.DICOM

    @property
    def place(self) -> str:
        """AET@HOST:PORT, which names it for people."""
        return f"{self.ae_title}@{self.host}:{self.port}"


def plain_address(address: str) -> str:
    """An address as networks name it: IPv4 where IPv6 only wraps it (RFC 4291 2.5.5.2), without its interface."""
    host = ip_address(address.partition("%")[0])
    wrapped = host.ipv4_mapped if isinstance(host, IPv6Address) else None
    return str(wrapped or host)


def host_network(address: str) -> str:
    """The network of one address."""
    return str(ip_network(plain_address(address)))


def _decided(senders: Iterable[Sender], address: str) -> list[Sender]:
    """Decisions that speak of an address. What is pending was not decided."""
    host = ip_address(plain_address(address))
    decided = (each for each in senders if each.standing is not Standing.PENDING)
    return [each for each in decided if host in ip_network(each.network)]


def standing_of(senders: Iterable[Sender], ae_title: str, address: str) -> Sender | None:
    """The decision that speaks of a caller: the narrowest network first, then a named AE title before `*`.

    A host that was denied stays out whatever its AE title may do elsewhere.
    """
    return max(
        (sender for sender in _decided(senders, address) if sender.ae_title in (ANY_AE_TITLE, ae_title)),
        key=_narrowness,
        default=None,
    )


def covers(decision: Sender, ae_title: str, network: str) -> bool:
    """Whether a decision speaks of every caller of that name and network."""
    inner, outer = ip_network(network), ip_network(decision.network)
    if isinstance(inner, IPv4Network):
        inside = isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    else:
        inside = isinstance(outer, IPv6Network) and inner.subnet_of(outer)
    return inside and decision.ae_title in (ANY_AE_TITLE, ae_title)


def decision_about(senders: Iterable[Sender], ae_title: str, network: str, standing: Standing) -> Sender:
    """What an administrator decides about a caller. How its studies are treated stays as it was decided before, for it
    or for the network around it."""
    before = (each for each in senders if each.standing is not Standing.PENDING and covers(each, ae_title, network))
    nearest = max(before, key=_narrowness, default=Sender(ae_title, network, standing))
    return replace(nearest, ae_title=ae_title, network=network, standing=standing)


def _narrowness(sender: Sender) -> tuple[int, bool]:
    return ip_network(sender.network).prefixlen, sender.ae_title != ANY_AE_TITLE


def admits(senders: Iterable[Sender], ae_title: str, address: str) -> bool:
    """Whether a caller is known and allowed."""
    sender = standing_of(senders, ae_title, address)
    return sender is not None and sender.standing is Standing.ALLOWED


def regard_of(senders: Iterable[Sender], address: str) -> Regard:
    """What to expect of an address, before its caller has named itself."""
    decided = _decided(senders, address)
    titles = {ANY_AE_TITLE, *(each.ae_title for each in decided)}
    standings = {title: decision.standing for title in titles if (decision := standing_of(decided, title, address))}
    if Standing.ALLOWED in standings.values():
        return Regard.KNOWN
    return Regard.DENIED if ANY_AE_TITLE in standings else Regard.STRANGER
