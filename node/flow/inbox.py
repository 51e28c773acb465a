"""New files on their way to the catalog, and whether there may be more on disk that nobody told of."""

import threading
from collections import deque
from datetime import UTC, datetime

from node.domain.study import Arrival

BATCH = 300
"""Files that are registered at a time."""
INBOX_LIMIT = 20_000
"""Headers kept in memory while the database is away; beyond it the spool is read again instead."""


class Inbox:
    """New files on their way to the catalog. What does not fit is found again on disk."""

    def __init__(self) -> None:
        self._waiting: deque[Arrival] = deque()
        self._lock = threading.Lock()
        self._incomplete_since: datetime | None = datetime.now(UTC)
        self._last_gap_at = self._incomplete_since
        self.damaged: set[str] = set()
        """Files of the spool without a row that cannot be read."""
        self.unread_turns = 0
        """Turns in a row that ended because a file could not be read."""

    def put(self, arrival: Arrival) -> None:
        """A receiver has made a file durable."""
        with self._lock:
            if len(self._waiting) < INBOX_LIMIT:
                self._waiting.append(arrival)
            else:
                self._note_gap()

    def must_rescan(self) -> None:
        """A receiver died: it may have made a file durable without telling."""
        with self._lock:
            self._note_gap()

    def _note_gap(self) -> None:
        self._last_gap_at = datetime.now(UTC)
        self._incomplete_since = self._incomplete_since or self._last_gap_at

    def peek(self) -> list[Arrival]:
        """The next batch; it stays until `drop`."""
        with self._lock:
            return [self._waiting[place] for place in range(min(BATCH, len(self._waiting)))]

    def drop(self, count: int) -> None:
        """So many are in the catalog."""
        with self._lock:
            for _ in range(count):
                self._waiting.popleft()

    @property
    def incomplete_since(self) -> datetime | None:
        """Since when files may be on disk that nobody told of; None when there are none."""
        return self._incomplete_since

    def rescanned(self, begun_at: datetime) -> None:
        """The spool was read from this moment on, and everything found is in the catalog."""
        with self._lock:
            if self._incomplete_since is not None:
                ahead = self._last_gap_at > datetime.now(UTC)  # noted before the clock was set back
                before = ahead or self._last_gap_at <= begun_at
                self._incomplete_since = None if before else begun_at

    def known_until(self, now: datetime) -> datetime:
        """The same, of what came before we ran, too: nothing is sure before the whole spool has been read."""
        return datetime.min.replace(tzinfo=UTC) if self._incomplete_since else self.registered_until(now)

    def registered_until(self, now: datetime) -> datetime:
        """The moment up to which the catalog knows everything that came."""
        with self._lock:
            oldest = datetime.fromisoformat(self._waiting[0].reception.received_at) if self._waiting else now
            return min(now, oldest, self._incomplete_since or now)
