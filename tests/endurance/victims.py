"""Who is killed, and how it comes back."""

import random
from collections.abc import Callable
from enum import StrEnum

from tests.endurance.programs import Program, kill
from tests.endurance.site import Setup, Site
from tests.servers import eventually

BACK_WITHIN_S = 120.0


class Victim(StrEnum):
    """One process, or all of a server's."""

    NODE = "node"
    RECEIVER = "receiver"
    WORKER = "worker"
    POOL_CHILD = "pool child"
    BROKER = "broker"
    DATABASE = "database"


def victims_of(setup: Setup) -> list[Victim]:
    """A file has no process that could be killed."""
    return [each for each in Victim if setup is Setup.PRODUCTION or each not in (Victim.BROKER, Victim.DATABASE)]


def strike(site: Site, victim: Victim, rng: random.Random) -> None:
    """Kill it with SIGKILL, and start it again at once where nobody else does."""
    if victim is Victim.NODE:
        site.node.kill()
        site.node.start()
    elif victim is Victim.BROKER:
        _restart(site.broker)
    elif victim is Victim.DATABASE:
        _restart(site.database)
    else:
        kill(rng.choice(eventually(_alive(site, victim), BACK_WITHIN_S, f"a {victim} is there")))


def _restart(program: Program | None) -> None:
    """A server and all its processes: what they had in memory only is gone."""
    assert program is not None
    program.kill_all()
    program.start()


def _alive(site: Site, victim: Victim) -> Callable[[], list[int]]:
    return {
        Victim.RECEIVER: site.receivers,
        Victim.WORKER: site.worker_pids,
        Victim.POOL_CHILD: site.pool_children,
    }[victim]
