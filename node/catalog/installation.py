"""Who this installation is: a serial number made once, that every result carries."""

import secrets

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from node.catalog.tables import installation
from node.errors import CatalogError


def make(session: Session) -> str:
    """The serial number; a fresh database is given one."""
    if known(session) is None:
        session.execute(insert(installation).values(id=1, serial=secrets.token_hex(8).upper()))
    return serial(session)


def serial(session: Session) -> str:
    """Device Serial Number of this installation. Raises CatalogError before the first start of a node."""
    found = known(session)
    if found is None:
        raise CatalogError("The database has no serial number yet; start the node once.")
    return found


def known(session: Session) -> str | None:
    """The same, or None before the first start of a node."""
    found = session.execute(select(installation.c.serial)).scalar_one_or_none()
    return None if found is None else str(found)
