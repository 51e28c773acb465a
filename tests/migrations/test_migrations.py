"""migrations/ on both databases: from nothing to the tables of the code, and back."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import JSON, Column, Engine, create_engine, inspect, text

from node.catalog import audit
from node.catalog.session import Catalog, alembic_config
from node.catalog.tables import metadata
from node.domain.audit import GENESIS, Anchor
from node.errors import CatalogError

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with nothing in it."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/nodus.db"
    else:
        with request.getfixturevalue("postgres_server").database("template1") as url:
            yield url


@pytest.fixture
def engine(empty_url: str) -> Iterator[Engine]:
    """A plain connection to it, without any of our settings."""
    made = create_engine(empty_url)
    yield made
    made.dispose()


def migrate(url: str) -> None:
    catalog = Catalog(url, b"")
    try:
        catalog.migrate()
    finally:
        catalog.close()


def tables_in(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names()) - {"alembic_version"}


def test_from_nothing_to_exactly_the_tables_of_the_code(empty_url: str, engine: Engine) -> None:
    migrate(empty_url)
    assert tables_in(engine) == set(metadata.tables)

    def same_default(_: object, __: object, column: Column[Any], *___: object) -> bool | None:
        return False if isinstance(column.type, JSON) else None  # PostgreSQL has no = for json; None: Alembic compares

    defaults_too = same_default if engine.dialect.name == "postgresql" else False  # SQLite shows '' as ('')
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": defaults_too})
        assert compare_metadata(context, metadata) == []


def test_migrating_again_changes_nothing(empty_url: str, engine: Engine) -> None:
    migrate(empty_url)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO installation (id, serial) VALUES (7, 'kept')"))
    migrate(empty_url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT serial FROM installation")).scalar_one() == "kept"


def test_a_fresh_database_has_the_head_of_an_empty_audit_chain(empty_url: str) -> None:
    migrate(empty_url)
    catalog = Catalog(empty_url, b"")
    with catalog.reading() as session:
        assert audit.head(session) == Anchor(0, GENESIS)
    catalog.close()


def test_every_step_can_be_taken_back_and_again(empty_url: str, engine: Engine) -> None:
    config = alembic_config()
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())
    migrate(empty_url)
    for script in scripts:
        run(engine, "downgrade", str(script.down_revision or "base"))
    assert tables_in(engine) == set()
    for script in reversed(scripts):
        run(engine, "upgrade", script.revision)
    assert tables_in(engine) == set(metadata.tables)


def run(engine: Engine, direction: str, revision: str) -> None:
    config = alembic_config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        getattr(command, direction)(config, revision)
        connection.commit()


def test_migrations_are_one_numbered_line() -> None:
    scripts = list(ScriptDirectory.from_config(alembic_config()).walk_revisions())
    assert [script.revision for script in reversed(scripts)] == [f"{n:04}" for n in range(1, len(scripts) + 1)]
    assert all(Path(script.path).name.startswith(f"{script.revision}_") for script in scripts)


def test_a_database_of_a_newer_nodus_is_refused_in_a_sentence(empty_url: str, engine: Engine) -> None:
    migrate(empty_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    sentence = r"^The database is of a newer Nodus \(migration 9999\): install that, or restore a backup\.$"
    with pytest.raises(CatalogError, match=sentence):
        migrate(empty_url)


@pytest.mark.parametrize("arguments", [["upgrade", "head"], ["check"], ["downgrade", "base"]])
def test_alembic_works_for_developers_from_pyproject(
    tmp_path: Path, sqlite_template: Path, arguments: list[str]
) -> None:
    database = tmp_path / "nodus.db"
    shutil.copy(sqlite_template, database)
    environment = {**os.environ, "NODUS_DATABASE_URL": f"sqlite:///{database}"}
    ended = subprocess.run(
        [sys.executable, "-m", "alembic", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
