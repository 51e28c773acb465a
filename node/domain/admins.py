"""Who may ask for the node's own state over DICOM, and order or stop work: named in the settings, nobody else."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from node.domain.peers import plain_address


@dataclass(frozen=True)
class Admin:
    """An AE title, and where it calls from."""

    ae_title: str
    network: str
    """CIDR."""


@dataclass(frozen=True)
class Caller:
    """Who asks."""

    ae_title: str
    address: str
    is_admin: bool = False


def is_admin(admins: Iterable[Admin], ae_title: str, address: str) -> bool:
    """Whether a caller is an admin: by name and by address."""
    host = ip_address(plain_address(address))
    return any(each.ae_title == ae_title and host in ip_network(each.network) for each in admins)
