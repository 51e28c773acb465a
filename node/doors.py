"""The sockets that callers come to: plain DICOM, DICOM over TLS, and the web."""

import os
import socket
from dataclasses import dataclass

from node.errors import SettingsError
from node.settings import Settings


@dataclass(frozen=True)
class Doors:
    """Where associations are begun; at least one is there."""

    plain: socket.socket | None
    secure: socket.socket | None = None
    """What comes in here must speak TLS."""

    def ports(self) -> dict[str, int]:
        """For the READY line. Who knows of one port only is told the one there is."""
        secure = {"tls_port": self.secure.getsockname()[1]} if self.secure else {}
        plain = self.plain.getsockname()[1] if self.plain else secure["tls_port"]
        return {"dicom_port": plain, **secure}


def bind(host: str, port: int, setting: str) -> socket.socket:
    """A listening socket. Raises SettingsError when the address cannot be had."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        both = host == "::" and socket.has_dualstack_ipv6()  # every address of this host, IPv4 included
        return socket.create_server((host, port), family=family, backlog=256, dualstack_ipv6=both)
    except OSError as error:
        said = os.strerror(error.errno) if error.errno else "not possible"
        raise SettingsError(f"Cannot listen on {host}:{port} ({said}); choose another {setting}.") from None


def open_doors(settings: Settings) -> Doors:
    """The DICOM ports of a node. Raises SettingsError."""
    plain = bind(settings.host, settings.port, "--port") if settings.plain_dicom else None
    secure = bind(settings.host, settings.tls_port, "tls_port") if settings.tls_certificate else None
    return Doors(plain, secure)
