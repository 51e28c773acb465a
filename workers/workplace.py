"""What a worker process works with: the settings, and the catalog of the node whose images it reads."""

from datetime import timedelta
from functools import cached_property
from pathlib import Path

from node.catalog import installation
from node.catalog.session import Catalog
from node.errors import Unavailable
from node.settings import Settings


class Workplace:
    """Opened on first use, so that a forked child opens its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog, with the key of its audit chain. Raises Unavailable before a node has run, CatalogError while
        the database is of another version, and SettingsError for one whose files are not in the data directory: results
        saved there would be nobody's.
        """
        key = self.settings.data / "audit.key"
        if not key.exists():
            raise Unavailable(f"No node has run on {self.settings.data} yet: it holds no audit key.")
        catalog = Catalog(self.settings.database, key.read_bytes())
        catalog.require_migrated()
        with catalog.reading() as session:
            installation.require_own(self.settings.data, installation.known(session))
        return catalog

    @property
    def lease(self) -> timedelta:
        """How long a claim holds without a heartbeat."""
        return timedelta(seconds=self.settings.lease_s)

    def results_of(self, job_id: int, token: str) -> Path:
        """Where a claim keeps its results: who lost the lease cannot overwrite what another saved."""
        return self.settings.data / "results" / str(job_id) / token
