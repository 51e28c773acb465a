"""Results to each destination: the loops that send them, and those that ask whether they are kept."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from node.catalog import peers
from node.catalog.session import Catalog
from node.dicom import commit_scu, store_scu
from node.domain.commitment import Proof
from node.flow import commit, deliver
from node.flow.loop import HANGS_AFTER_S, Loop
from node.settings import Settings

CONFIRM_EVERY_S = 5.0
"""What was just delivered is asked about at once; this is for what is to be asked again."""
WAITS_OF_A_DELIVERY = 3
"""For the association, a C-STORE and the release; what its size grants a result, 900 s for 112 MB, is in the rest."""


def loops(
    catalog: Catalog, settings: Settings, absolute: Callable[[str], Path], now: Callable[[], datetime]
) -> tuple[list[Loop], list[Loop]]:
    """For each destination: results are sent, and it is asked whether it has them where the settings say so."""
    with catalog.reading() as session:
        known = peers.destinations(session)
    patience = store_scu.Patience(answer_s=settings.answer_timeout_s)
    send = partial(store_scu.connected, settings.ae_title, patience)
    ask = partial(commit_scu.connected, settings.ae_title, patience)
    hangs_after_s = HANGS_AFTER_S + WAITS_OF_A_DELIVERY * settings.answer_timeout_s
    within = timedelta(seconds=settings.commitment_timeout_s)
    sending, confirming = [], []
    for each in known:
        title, jitter, proven = each.destination.ae_title, random.Random(each.id), []
        if each.destination.commitment is not Proof.OFF:
            asking = commit.Confirming(catalog, each, ask, within, jitter, now)
            proven = [Loop(f"commit {title}", asking.step, CONFIRM_EVERY_S, hangs_after_s=hangs_after_s)]
        delivery = deliver.Delivery(catalog, each, send, absolute, jitter, now)
        sending.append(Loop(f"deliver {title}", delivery.step, 0.5, proven, hangs_after_s))
        confirming += proven
    return sending, confirming
