"""What is said on an association is queued in memory: whoever says much waits until most of it has left."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pynetdicom.association import Association

MOST_WAITING = 16
"""P-DATA-TF PDUs that are queued; with 128 KiB each they are 2 MiB."""
LOOK_EVERY_S = 0.001


def wait_for_room(association: Association, within_s: float = 60.0) -> bool:
    """Wait until the peer has taken enough; False where it does not in time, or the association has ended."""
    until = time.monotonic() + within_s
    while association.dul.to_provider_queue.qsize() > MOST_WAITING:
        if time.monotonic() > until or not is_open(association):
            return False
        time.sleep(LOOK_EVERY_S)
    return is_open(association)


@contextmanager
def undisturbed(association: Association) -> Iterator[None]:
    """Take the answers on an association of our own here: pynetdicom's thread, which would, pauses meanwhile."""
    association._reactor_checkpoint.clear()
    while not association._is_paused:
        time.sleep(LOOK_EVERY_S)
    try:
        yield
    finally:
        association._reactor_checkpoint.set()


def is_open(association: Association) -> bool:
    """Whether both sides still talk, also while this one is busy and has not noticed an end."""
    return bool(association.is_established) and association.dul.state_machine.current_state == "Sta6"
