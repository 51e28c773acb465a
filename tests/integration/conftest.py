"""Nodes that many tests share: one on SQLite, one on PostgreSQL; and where a worker works."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.catalog import installation
from node.catalog.session import Catalog
from node.settings import Settings
from tests.conftest import AUDIT_KEY
from tests.servers import Nodus, nodus
from workers.workplace import Workplace


@pytest.fixture(scope="session")
def sqlite_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodus]:
    """A node as it comes, without a worker."""
    with nodus(tmp_path_factory.mktemp("node") / "data", receivers=2) as node:
        yield node


@pytest.fixture(scope="session")
def postgres_node(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Nodus]:
    """The same on PostgreSQL."""
    server = request.getfixturevalue("postgres_server")
    with server.database() as url, nodus(tmp_path_factory.mktemp("node") / "data", database_url=url) as node:
        yield node


@pytest.fixture(params=["sqlite", "postgresql"])
def node(request: pytest.FixtureRequest) -> Nodus:
    """A running node on each database; other tests have sent to it, and will."""
    shared: Nodus = request.getfixturevalue(f"{request.param.replace('postgresql', 'postgres')}_node")
    return shared


@pytest.fixture
def workplace(catalog: Catalog, database_url: str, data: Path) -> Iterator[Workplace]:
    """Where a worker of this node works."""
    with catalog.writing() as session:
        installation.make(session)
    (data / "audit.key").write_bytes(AUDIT_KEY)
    (data / "audit.key").chmod(0o600)
    place = Workplace(Settings(data=data, database_url=database_url))
    yield place
    place.catalog.close()
