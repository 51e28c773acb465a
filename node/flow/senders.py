"""The table of senders: from the settings to SQL, at the start and whenever asked, and from there to the receivers."""

import logging
import threading
from collections.abc import Callable, Sequence

from sqlalchemy.orm import Session

from node.catalog import audit, peers
from node.catalog.session import Catalog
from node.domain.audit import Event, EventKind
from node.domain.peers import Sender, Standing
from node.errors import SettingsError

log = logging.getLogger(__name__)


def configure(session: Session, wanted: Sequence[Sender]) -> None:
    """Make the configured senders those of the settings, and write down where that changes something."""
    old = _decided(session)
    peers.configure_senders(session, wanted)
    new = _decided(session)
    detail = {
        "added": " ".join(sorted(new.keys() - old.keys())),
        "removed": " ".join(sorted(old.keys() - new.keys())),
        "changed": " ".join(sorted(place for place in new.keys() & old.keys() if new[place] != old[place])),
    }
    if any(detail.values()):
        audit.append(session, Event(EventKind.SENDER_CHANGED, actor="settings", detail=detail))


def _decided(session: Session) -> dict[str, Sender]:
    known = (each for each in peers.senders(session) if each.standing is not Standing.PENDING)
    return {f"{each.ae_title}@{each.network}": each for each in known}


class Senders:
    """Keeps receivers up to date; `read` gives the senders of the settings as they are now."""

    def __init__(
        self, catalog: Catalog, tell: Callable[[tuple[Sender, ...]], object], read: Callable[[], Sequence[Sender]]
    ) -> None:
        self._catalog = catalog
        self._tell = tell
        self._read = read
        self._asked = threading.Event()

    def read_again(self) -> None:
        """Read the settings' senders anew with the next step; to be called from a signal handler."""
        self._asked.set()

    def step(self) -> bool:
        """Tell the receivers who may send."""
        if self._asked.is_set():
            self._asked.clear()
            try:
                self._configure()
            except Exception:
                self._asked.set()
                raise
        self._tell(self.known())
        return False

    def known(self) -> tuple[Sender, ...]:
        """Everybody who was decided about, or waits for it."""
        with self._catalog.reading() as session:
            return tuple(peers.senders(session))

    def _configure(self) -> None:
        try:
            wanted = self._read()
        except SettingsError as error:
            log.error("the settings cannot be read: senders stay as they are", extra={"error": str(error)})
            return
        with self._catalog.writing() as session:
            configure(session, wanted)
