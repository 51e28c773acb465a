"""Opens the database, migrates it, and hands out transactions that close with their audit rows."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, CursorResult, Delete, Engine, Update, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session

from node.catalog import audit
from node.errors import CatalogError, SettingsError

BUSY_TIMEOUT_MS = 30_000
LARGEST_WAL_BYTES = 64 << 20
"""What is kept of SQLite's log after a long reader, such as a backup, let it grow."""
DEADLINES: dict[str, str | int] = {
    "connect_timeout": 5,  # s
    "tcp_user_timeout": 10_000,  # ms, for what was sent and is not acknowledged
    "options": "-c statement_timeout=60000",  # ms
}
"""Parameters of libpq, and one of the server."""


class Catalog:
    """The database of a node. Cheap to create; connects on first use."""

    def __init__(self, url: str, audit_key: bytes) -> None:
        self.engine = _engine(url)
        self.audit_key = audit_key

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that changes nothing, and sees one moment however long it lasts."""
        with Session(_one_moment(self.engine)) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction: all of it, with its audit rows, or nothing. On SQLite BEGIN IMMEDIATE: it never upgrades."""
        with (
            self.engine.connect().execution_options(nodus_writes=True) as connection,
            Session(connection) as session,
            session.begin(),
        ):
            yield session
            audit.chain(session, self.audit_key)

    def migrate(self) -> None:
        """Bring a fresh or older database to the newest migration. Raises CatalogError, as when it is a newer one."""
        with self._said_in_a_sentence(), self.engine.connect() as connection:
            if _is_behind(connection):
                _upgrade(connection)

    def require_migrated(self) -> None:
        """Change nothing. Raises CatalogError for a database that is older, or newer, or none."""
        with self._said_in_a_sentence(), self.engine.connect() as connection:
            if _is_behind(connection):
                raise CatalogError(
                    "The database is older than this Nodus: `nodus up` brings it up to date; before that only the "
                    "version that made it can use it and back it up."
                )

    @contextmanager
    def _said_in_a_sentence(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, CommandError) as error:
            raise CatalogError(f"The database cannot be opened or migrated ({type(error).__name__}).") from error

    def close(self) -> None:
        """Give every connection back."""
        self.engine.dispose()


def _is_behind(connection: Connection) -> bool:
    """Whether there are migrations that a database does not have. Raises CatalogError when it is of a newer Nodus."""
    scripts = ScriptDirectory.from_config(alembic_config())
    current = MigrationContext.configure(connection).get_current_revision()
    connection.rollback()
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        raise CatalogError(
            f"The database is of a newer Nodus (migration {current}): install that, or restore a backup."
        )
    return current != scripts.get_current_head()


def _upgrade(connection: Connection) -> None:
    """All migrations in one transaction. SQLite alters a table by making it anew, and while foreign keys are watched
    it cannot drop the old one (sqlite.org/lang_altertable.html, 7): they are checked at the end instead."""
    config = alembic_config()
    config.attributes["connection"] = connection
    _watch_foreign_keys(connection, "OFF")
    try:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")  # a large table takes what it takes
        command.upgrade(config, "head")
        if connection.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
            raise CatalogError("The database cannot be migrated: some of its rows refer to others that are not there.")
        connection.commit()
    finally:
        connection.rollback()
        _watch_foreign_keys(connection, "ON")


def _watch_foreign_keys(connection: Connection, how: str) -> None:
    """Outside of transactions only: inside it has no effect."""
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite":
        driver.execute(f"PRAGMA foreign_keys={how}")


def alembic_config() -> Config:
    """Alembic's settings for the migrations that ship with the package."""
    config = Config()
    config.set_main_option("script_location", str(Path(str(files("migrations")))))
    return config


def _engine(url: str) -> Engine:
    """Raises SettingsError, without the URL in it: that may hold a password."""
    try:
        if make_url(url).get_backend_name() == "sqlite":
            return _sqlite(url)
        if make_url(url).get_backend_name() == "postgresql":
            return create_engine(url, hide_parameters=True, pool_pre_ping=True, connect_args=_deadlines(url))
    except (ArgumentError, ImportError, ValueError):
        pass
    raise SettingsError(
        "The database_url is none that Nodus can use: postgresql+psycopg://USER:PASSWORD@HOST/NAME, or none for SQLite."
    )


def _deadlines(url: str) -> dict[str, str | int]:
    """What the URL does not say itself. They end waits for a host that is gone or a lock that is held; not for a
    server that is stopped and whose host still acknowledges: who cannot wait for that asks with a deadline."""
    return {name: value for name, value in DEADLINES.items() if name not in make_url(url).query}


def _sqlite(url: str) -> Engine:
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    if not (engine.url.database or ":").startswith((":", "file:")):
        event.listen(engine, "do_connect", _keep_private)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _one_moment(engine: Engine) -> Engine:
    """SQLite reads so by itself."""
    postgres = engine.dialect.name == "postgresql"
    return engine.execution_options(isolation_level="REPEATABLE READ") if postgres else engine


def _keep_private(_dialect, _record, arguments, _named) -> None:  # type: ignore[no-untyped-def]
    """Patients are in it: the file is made closed to others, or closed now; SQLite gives those beside it its mode.

    A file that is there is never opened here: closing it would drop the locks that SQLite holds on it in this process
    (sqlite.org/howtocorrupt.html, 2.2), and another process would take the database for unused.
    """
    path = Path(arguments[0])
    with suppress(OSError):  # SQLite says it better
        if not path.exists():
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o600))
        elif path.stat().st_mode & 0o077:
            path.chmod(0o600)


def _prepare_sqlite(connection, _record) -> None:  # type: ignore[no-untyped-def]
    connection.isolation_level = None  # the driver's own BEGIN would come late and deferred
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON",
                   f"journal_size_limit={LARGEST_WAL_BYTES}"):  # fmt: skip
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("nodus_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def changed(session: Session, statement: Update | Delete) -> int:
    """Run a statement and return how many rows it changed."""
    return cast("CursorResult[Any]", session.execute(statement)).rowcount
