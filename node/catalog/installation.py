"""Who this installation is: a serial number made once, that every result carries, and that its data directory knows."""

import secrets
from pathlib import Path

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from node.catalog.tables import installation
from node.errors import CatalogError, SettingsError
from node.spool import write_durably

INSTALLATION = "installation"
"""Holds the serial number of the installation whose files are here: another database knows nothing of them."""


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


def require_own(data: Path, serial: str | None) -> None:
    """Refuse the database of another installation; what is here would look like nobody's. Raises SettingsError."""
    if (data / INSTALLATION).exists() and (data / INSTALLATION).read_text().strip() != serial:
        raise SettingsError(
            f"The database is not the one that {data} belongs to: correct database_url. If that one is lost for good, "
            f"remove {data / INSTALLATION}, and what was received is registered anew."
        )


def own(data: Path, serial: str) -> None:
    """Write down to which installation a data directory belongs, where nothing says so yet."""
    if not (data / INSTALLATION).exists():
        write_durably(data / INSTALLATION, f"{serial}\n".encode())
