"""Refusals of one caller summed up: the first is told at once, the rest once in a while, and a flood is a few rows."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from node.domain.reception import AssociationRefused, Wish

NAMES_OF_AN_ADDRESS = 10
"""Callers of one address that are told apart within a while: who makes AE titles up gets one row for the rest."""
CALLERS = 500
"""Callers of all addresses that are told apart within a while."""

_Caller = tuple[str, str, str]
"""AE title, address, reason."""


@dataclass
class _While:
    since: float
    summed: AssociationRefused | None = None


class Refusals:
    """What was told of whom, and what is summed up since. One while for each caller and reason."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._told: dict[_Caller, _While] = {}

    def take(self, refused: AssociationRefused, now: float) -> AssociationRefused | None:
        """A refusal at a moment (monotonic, s): what to tell at once, or None when it is summed up."""
        refused = self._in_the_crowd(refused)
        known = self._told.get(_caller(refused))
        if known is None:
            self._told[_caller(refused)] = _While(now)
            return refused
        count = known.summed.count if known.summed else 0
        known.summed = replace(refused, count=count + refused.count)
        return None

    def due(self, now: float) -> Iterator[AssociationRefused]:
        """Sums whose while is over; callers that were not refused again are forgotten."""
        for caller, known in list(self._told.items()):
            if now - known.since < self._every_s:
                continue
            if known.summed is None:
                del self._told[caller]
            else:
                yield known.summed
                self._told[caller] = _While(now)

    def rest(self) -> Iterator[AssociationRefused]:
        """Every sum, at the end."""
        yield from (known.summed for known in self._told.values() if known.summed)
        self._told.clear()

    def _in_the_crowd(self, refused: AssociationRefused) -> AssociationRefused:
        """Nameless, and at last without an address, where too many callers are told apart already."""
        if _caller(refused) in self._told:
            return refused
        if sum(address == refused.address for _, address, _ in self._told) >= NAMES_OF_AN_ADDRESS:
            refused = replace(refused, calling_ae_title="", called_ae_title="", unknown_caller=False, wish=Wish())
        if _caller(refused) not in self._told and len(self._told) >= CALLERS:
            refused = replace(refused, calling_ae_title="", called_ae_title="", address="", unknown_caller=False)
        return refused


def _caller(refused: AssociationRefused) -> _Caller:
    return refused.calling_ae_title, refused.address, refused.reason
