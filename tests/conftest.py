"""Fixtures of the node's tests: a catalog on SQLite and on PostgreSQL, a spool, a scratch folder for servers."""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node import cli
from node.catalog.session import Catalog
from node.spool import Spool
from tests import sites, thorough
from tests.servers import Postgres, postgres
from tests.sites import Site

AUDIT_KEY = b"k" * 32
Typed = Callable[..., tuple[int, str]]
CORPUS = Path(__file__).parents[2] / "shared" / "data" / "corpus"


def pytest_report_header() -> str:
    """What this run leaves out, and why."""
    return thorough.told()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave to `make soak` what is its own."""
    left = [item for item in items if thorough.left_out(item)]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if not thorough.left_out(item)]


@pytest.fixture(autouse=True)
def own_log_handlers() -> Iterator[None]:
    """A test that configures logging, as commands do, leaves no handler that writes to a stream of its own."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """That of most shells; a node that runs in a test's own process sets another."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """One PostgreSQL for all tests, with a migrated template. Its user must reach the folder: not under tmp_path."""
    folder = Path(tempfile.mkdtemp(prefix="nodus-test-"))
    folder.chmod(0o755)
    try:
        with postgres(folder / "postgres") as server:
            server.execute(f"CREATE DATABASE {server.TEMPLATE}")
            migrated(server.url(server.TEMPLATE))
            yield server
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "nodus.db"
    migrated(f"sqlite:///{path}")
    return path


def migrated(url: str) -> None:
    """Migrate a database and leave it."""
    catalog = Catalog(url, AUDIT_KEY)
    catalog.migrate()
    catalog.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database of its own; each test that asks for it runs on both."""
    if request.param == "sqlite":
        path = tmp_path / "nodus.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
    else:
        with request.getfixturevalue("postgres_server").database() as url:
            yield url


@pytest.fixture
def catalog(database_url: str) -> Iterator[Catalog]:
    """A catalog on each database."""
    opened = Catalog(database_url, AUDIT_KEY)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def prepared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the spool's folders, which take longer to make than most tests."""
    data = tmp_path_factory.mktemp("data")
    Spool(data, minimum_free_bytes=0, minimum_free_fraction=0.0).prepare()
    return data


@pytest.fixture
def data(prepared_data: Path) -> Iterator[Path]:
    """The data directory of one test: nothing but the spool's folders is in it before, and after."""
    yield prepared_data
    for other in {*prepared_data.iterdir()} - {prepared_data / "spool"}:
        shutil.rmtree(other) if other.is_dir() else other.unlink()
    for folder, _, files in os.walk(prepared_data):
        for name in files:
            Path(folder, name).unlink()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Certificates of a hospital."""
    return sites.site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def spool(data: Path) -> Spool:
    """An empty spool that takes everything."""
    return Spool(data, minimum_free_bytes=0, minimum_free_fraction=0.0)


@pytest.fixture
def left_catalog(data: Path, sqlite_template: Path) -> Iterator[Catalog]:
    """The catalog in a data directory that a node has left."""
    shutil.copy(sqlite_template, data / "nodus.db")
    (data / "audit.key").write_bytes(AUDIT_KEY)
    (data / "audit.key").chmod(0o600)
    opened = Catalog(f"sqlite:///{data}/nodus.db", AUDIT_KEY)
    yield opened
    opened.close()


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Typed:
    """`nodus ARGUMENTS`, typed in an empty folder, on a disk of any size; the exit code and what was printed."""
    monkeypatch.setenv("NODUS_MINIMUM_FREE_GIB", "0")
    monkeypatch.setenv("NODUS_MINIMUM_FREE_FRACTION", "0")
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["nodus", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    return invoke


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Odd DICOM files of other projects."""
    if not CORPUS.is_dir():
        pytest.skip(f"real data is absent: {CORPUS}")
    return CORPUS
