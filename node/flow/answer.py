"""What receivers answer from the catalog and its files: who matches a query, and what is to be retrieved."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from node.catalog import holdings, peers, query
from node.catalog.session import Catalog
from node.domain.matching import Key, Value
from node.domain.peers import Destination
from node.domain.query import IN_FILE, KEYS, Query
from node.domain.retrieval import Holding
from node.errors import BadInput
from node.headers.asked import values_of


class Answers:
    """Reads; safe for several threads at once. Raises what the database raises."""

    def __init__(self, catalog: Catalog, absolute: Callable[[str], Path]) -> None:
        self._catalog = catalog
        self._absolute = absolute

    def find(self, wanted: Query) -> Iterator[Mapping[str, Value] | None]:
        """Every entity that matches a query, newest study first; None for each one that was looked at and does not."""
        with self._catalog.reading() as session:
            for found in query.find(session, wanted):
                values = self._completed(found, wanted)
                yield values if wanted.selects(values) else None

    def _completed(self, found: query.Found, wanted: Query) -> Mapping[str, Value]:
        """With what only the file says; without it where that is gone or damaged."""
        known = KEYS[wanted.level]
        absent = {name: Key(known[name]) for name in wanted.keys if name in known and name not in found.values}
        asked = absent | {name: key for name, key in wanted.in_file.items() if name in IN_FILE[wanted.level]}
        if not asked or found.path is None:
            return found.values
        with suppress(BadInput, OSError):
            return {**found.values, **values_of(self._absolute(found.path), asked)}
        return found.values

    def held(self, wanted: Query, most: int) -> list[Holding]:
        """What the unique keys of a retrieval name, at most so many and one more."""
        with self._catalog.reading() as session:
            return holdings.held(session, wanted, most)

    def destination(self, ae_title: str) -> Destination | None:
        """A destination that images may be moved to."""
        with self._catalog.reading() as session:
            known = [each.destination for each in peers.destinations(session)]
        return next((each for each in known if each.ae_title == ae_title and each.retrieve), None)
