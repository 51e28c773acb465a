"""Results that nobody saved: the folders of claims that were lost are removed; retention removes the others."""

import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from node.catalog import jobs
from node.catalog.session import Catalog

log = logging.getLogger(__name__)

AT_ONCE = 500
LOOK_BACK_S = 2 * 3600.0
"""Beyond the longest job; what is older was seen before, or at the start of the node."""


class Sweep:
    """Looks through the folder of results: at all of it first, then at what changed lately."""

    def __init__(self, catalog: Catalog, results: Path) -> None:
        self._catalog = catalog
        self._results = results
        self._since = 0.0

    def step(self) -> bool:
        """Remove what nobody saved; what cannot be removed is tried again. Never in a hurry for the next turn."""
        begun = time.time()
        for folder in list(orphans(self._catalog, self._results, self._since)):
            shutil.rmtree(folder, ignore_errors=True)
            log.info("the unsaved results of a lost claim were removed", extra={"job": folder.parent.name})
        self._since = begun - LOOK_BACK_S
        return False


def orphans(catalog: Catalog, results: Path, since: float = 0.0) -> Iterator[Path]:
    """Folders results/<job>/<claim>/ of claims that neither run nor saved anything.

    `since`: only of jobs whose folder changed after that moment, in seconds since 1970. The disk is asked before the
    catalog: a claim that is running when its folder is seen has either saved it or lost it when the catalog is asked.
    """
    found = list(_claims(results, since))
    for first in range(0, len(found), AT_ONCE):
        yield from _forgotten(catalog, found[first : first + AT_ONCE])


def _claims(results: Path, since: float) -> Iterator[Path]:
    for job in results.iterdir() if results.is_dir() else ():
        with suppress(FileNotFoundError, NotADirectoryError):  # retention removes some at the same time
            if job.name.isdecimal() and job.stat().st_mtime >= since:
                yield from list(job.iterdir())


def _forgotten(catalog: Catalog, folders: Sequence[Path]) -> list[Path]:
    claims = {(int(folder.parent.name), folder.name): folder for folder in folders}
    with catalog.reading() as session:
        return [claims[claim] for claim in jobs.forgotten_claims(session, claims)]
