"""Which workers are lost: judged by what changes while we look, never by comparing the clocks of two hosts."""

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

LONGEST_LOOK_S = 5.0
"""Silence is counted only while we look: when the database was away, workers could not be heard either."""


@dataclass
class _Heard:
    sign: Hashable
    """What the worker wrote at its last sign of life."""
    silent_s: float


class LeaseWatch:
    """Watches the leases of running jobs. Its own monotonic clock does not jump."""

    def __init__(self, lease_s: float, ticks: Callable[[], float] = time.monotonic) -> None:
        self._lease_s = lease_s
        self._ticks = ticks
        self._looked_at = ticks()
        self._heard: dict[int, _Heard] = {}

    def lost(self, signs: Mapping[int, Hashable]) -> list[int]:
        """Job ids, of all that run now, whose worker's last sign of life has not changed for longer than a lease."""
        now = self._ticks()
        passed, self._looked_at = min(now - self._looked_at, LONGEST_LOOK_S), now
        self._heard = {job_id: self._listen(job_id, sign, passed) for job_id, sign in signs.items()}
        return [job_id for job_id, heard in self._heard.items() if heard.silent_s > self._lease_s]

    def _listen(self, job_id: int, sign: Hashable, passed: float) -> _Heard:
        heard = self._heard.get(job_id)
        return _Heard(sign, heard.silent_s + passed if heard and heard.sign == sign else 0.0)
