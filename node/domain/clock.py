"""The system's clock beside one that nobody can set: who set the first, and by how much."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Clocks:
    """Both, read at the same moment."""

    wall: datetime
    steady_s: float
    """Seconds since some fixed moment."""

    def jump_to(self, later: "Clocks") -> timedelta:
        """How far the system's clock was set forward (negative: back) between the two."""
        return (later.wall - self.wall) - timedelta(seconds=later.steady_s - self.steady_s)

    def set_at(self, later: "Clocks") -> datetime:
        """The earliest moment, by the clock as it is now, at which it can have been set."""
        return later.wall - timedelta(seconds=later.steady_s - self.steady_s)
