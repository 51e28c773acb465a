"""When the blow falls: a moment of one of the five stages, waited for where it can be seen."""

import random
import threading
from collections.abc import Callable
from enum import StrEnum

from tests.endurance import observed
from tests.endurance.modalities import Ledger
from tests.endurance.site import Site
from tests.servers import eventually

COMES_WITHIN_S = 180.0
"""On a busy machine, with workers that have just been killed and a message that got lost."""


class Stage(StrEnum):
    """The arrows of the data's way."""

    RECEPTION = "reception"
    REGISTRATION = "registration"
    ANALYSIS = "analysis"
    RELEASE = "release"
    DELIVERY = "delivery"


LONGEST_DELAY_S = {
    Stage.RECEPTION: 0.05,
    Stage.REGISTRATION: 0.05,
    Stage.ANALYSIS: 2.0,
    Stage.RELEASE: 0.2,
    Stage.DELIVERY: 0.1,
}
"""After a stage has begun: about as long as it takes."""


def wait_for(stage: Stage, site: Site, ledger: Ledger, rng: random.Random) -> bool:
    """Return somewhere within a stage. False: it was over before its moment came."""
    if stage is Stage.RECEPTION:
        assert ledger.wait_for(rng.randint(1, 30), COMES_WITHIN_S), "nothing is acknowledged any more"
    happens = _happens(stage, site, ledger)
    eventually(happens, COMES_WITHIN_S, f"there is {stage}")
    threading.Event().wait(rng.uniform(0.0, LONGEST_DELAY_S[stage]))
    return happens()


def _happens(stage: Stage, site: Site, ledger: Ledger) -> Callable[[], bool]:
    node = site.node
    return {
        Stage.RECEPTION: lambda: ledger.sending > 0,
        Stage.REGISTRATION: lambda: _has_unregistered(site, ledger),
        Stage.ANALYSIS: lambda: observed.is_analysing(node),
        Stage.RELEASE: lambda: observed.holds_results(node),
        Stage.DELIVERY: lambda: observed.is_delivering(node),
    }[stage]


def _has_unregistered(site: Site, ledger: Ledger) -> bool:
    """Whether something is acknowledged that has no row yet."""
    registered = observed.images(site.node)
    return registered is not None and len(ledger.acknowledged) > registered
