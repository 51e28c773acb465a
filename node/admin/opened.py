"""The catalog of a data directory where a node has run, for the time of a command."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from node.catalog import installation
from node.catalog.session import Catalog
from node.directory import catalog_of, has_catalog
from node.errors import CatalogError, Unavailable
from node.settings import Settings


@contextmanager
def opened(settings: Settings) -> Iterator[Catalog]:
    """The catalog of a data directory where a node has run; never migrated here, for who upgrades may want a backup
    first. Raises Unavailable, SettingsError, CatalogError."""
    if not settings.data.is_dir():
        raise Unavailable(f"There is no data directory {settings.data}; name it with --data or NODUS_DATA.")
    if not has_catalog(settings):
        raise Unavailable(f"No node has run here: {settings.data} holds no catalog; `nodus up` makes one.")
    catalog = catalog_of(settings)
    try:
        catalog.require_migrated()
        with catalog.reading() as session:
            installation.require_own(settings.data, installation.known(session))
        yield catalog
    except OperationalError as error:
        raise CatalogError("The database does not answer, or is not one of Nodus.") from error
    finally:
        catalog.close()


@contextmanager
def reading(settings: Settings) -> Iterator[Session]:
    """One look at it. Raises Unavailable."""
    with opened(settings) as catalog, catalog.reading() as session:
        yield session
