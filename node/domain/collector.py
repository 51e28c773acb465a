"""An audit repository: who collects what the audit trail says, and how it is reached."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

AWAY_AFTER = timedelta(minutes=15)
"""A repository that takes nothing for so long is more than restarting."""


@dataclass(frozen=True)
class Collector:
    """Where audit messages go."""

    host: str
    port: int
    tls: bool
    """By TLS, else by UDP."""
    authorities: Path | None = None
    """PEM file of who may sign its certificate; None: whom this system trusts."""
    name: str = ""
    """Of its certificate, where that is not its host."""
    certificate: Path | None = None
    key: Path | None = None

    @property
    def place(self) -> str:
        """For people."""
        return f"{'tls' if self.tls else 'udp'}://{self.host}:{self.port}"
