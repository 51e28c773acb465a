"""The whole database at one moment as a file, and back into an empty one: by SQLite, or by PostgreSQL's programs."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, func, inspect, make_url, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from node.catalog.session import Catalog
from node.catalog.tables import audit, instance, job, outbox, result, study
from node.errors import CatalogError, Unavailable

AT_ONCE = 500
COUNTED = {"studies": study, "images": instance, "jobs": job, "results": result, "outbox": outbox, "audit": audit}


@contextmanager
def snapshot(catalog: Catalog, file: Path) -> Iterator[Session]:
    """Copy the database into a new file (mode 0600); the session sees exactly what is in it.

    Raises CatalogError, and Unavailable where PostgreSQL's programs are missing.
    """
    file.touch(mode=0o600)
    if catalog.engine.dialect.name == "postgresql":
        with catalog.reading() as session:
            name = session.scalars(text("SELECT pg_export_snapshot()")).one()
            _run("pg_dump", _url(catalog), "--format=custom", f"--snapshot={name}", f"--file={file}")
            yield session
    else:
        _vacuum_into(catalog, file)
        copy = create_engine("sqlite://", creator=lambda: _opened(file), poolclass=NullPool, hide_parameters=True)
        with Session(copy) as session:
            yield session


def _vacuum_into(catalog: Catalog, file: Path) -> None:
    connection = catalog.engine.raw_connection()
    try:
        connection.cursor().execute("VACUUM INTO ?", (str(file),))  # sees one moment, and blocks no writer
    except sqlite3.Error as error:
        raise CatalogError(f"The database could not be copied ({type(error).__name__}): is the disk full?") from error
    finally:
        connection.close()


def _opened(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.absolute().as_uri()}?immutable=1", uri=True)


def is_empty(catalog: Catalog) -> bool:
    """Whether a database holds no tables. Raises CatalogError when it does not answer."""
    try:
        return not inspect(catalog.engine).get_table_names()
    except SQLAlchemyError as error:
        raise CatalogError("The database does not answer.") from error


def put_back(catalog: Catalog, file: Path) -> None:
    """Make an empty PostgreSQL database what a snapshot of one holds: all of it, or nothing."""
    _run("pg_restore", _url(catalog), "--exit-on-error", "--single-transaction", str(file))


def _url(catalog: Catalog) -> Any:
    return catalog.engine.url


def _run(program: str, url: Any, *options: str) -> None:
    """One of PostgreSQL's programs; the password goes through its environment, which other users cannot see."""
    path = shutil.which(program)
    if path is None:
        raise Unavailable(f"{program} is not installed: install the client programs of PostgreSQL (postgresql-client).")
    known = make_url(url).set(drivername="postgresql", password=None).render_as_string()
    environment = {**os.environ, **({"PGPASSWORD": str(url.password)} if url.password else {})}
    command = [path, f"--dbname={known}", "--no-owner", "--no-privileges", "--no-password", *options]
    ended = subprocess.run(command, env=environment, check=False, umask=0o077)
    if ended.returncode:
        raise CatalogError(f"{program} ended with exit code {ended.returncode}; what it said stands above.")


def revision(session: Session) -> str:
    """The migration that the database is at."""
    return str(session.scalars(text("SELECT version_num FROM alembic_version")).one())


def counts(session: Session) -> dict[str, int]:
    """How many rows there are of what matters."""
    return {name: session.scalars(select(func.count()).select_from(table)).one() for name, table in COUNTED.items()}


def files(session: Session) -> Iterator[str]:
    """Paths of every image and result that should be there."""
    for table in (instance, result):
        query = select(table.c.path).where(table.c.purged_at.is_(None)).order_by(table.c.id)
        yield from session.scalars(query.execution_options(yield_per=1000))


def without_row(session: Session, paths: Iterator[str]) -> list[str]:
    """Which of these files of the spool have no row (yet), or one that says that they are gone: they came again."""
    found = []
    while some := list(islice(paths, AT_ONCE)):
        here = instance.c.path.in_(some) & instance.c.purged_at.is_(None)
        known = set(session.scalars(select(instance.c.path).where(here)))
        found += [path for path in some if path not in known]
    return found
