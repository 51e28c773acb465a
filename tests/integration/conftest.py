"""Nodes that many tests share: one on SQLite, one on PostgreSQL."""

from collections.abc import Iterator

import pytest

from tests.servers import Nodus, nodus


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
