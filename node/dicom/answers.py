"""Answers on associations that we asked for reach who waits for them.

pynetdicom's own thread of an association takes messages, too, and has to rest while somebody waits for an answer. It
says that it rests before it looks whether it has to: who believes it a moment too early asks, and the thread takes the
answer, which is lost. Seen once in some 4,000 C-STOREs on a busy machine; the peer seems not to have answered.
"""

import threading

from pynetdicom.association import Association

LOOK_EVERY_S = 0.05


class Checkpoint:
    """Stands in for the event at which an association's thread rests: `clear` returns when it does."""

    def __init__(self, association: Association) -> None:
        self._association = association
        self._changed = threading.Condition()
        self._is_open = True
        self._rests = False

    def is_set(self) -> bool:
        """Whether the thread may go on."""
        return self._is_open

    def set(self) -> None:
        """Let it go on."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Let it rest, and wait until it does; it cannot wait for itself, nor anybody for one that has ended."""
        with self._changed:
            self._is_open = False
            while not self._rests and self._is_running():
                self._changed.wait(LOOK_EVERY_S)

    def wait(self, timeout: float | None = None) -> bool:
        """Rest until it may go on; called by the association's thread alone."""
        with self._changed:
            while not self._is_open:
                self._rests = True
                self._changed.notify_all()
                if not self._changed.wait(timeout):
                    break
            self._rests = False
            return self._is_open

    def _is_running(self) -> bool:
        thread = self._association
        return thread.is_alive() and not thread._kill and threading.current_thread() is not thread


def keep_answers(association: Association) -> Association:
    """The same association, of whose answers none is lost; right after it was established, before anything is asked."""
    association._reactor_checkpoint = Checkpoint(association)
    return association
