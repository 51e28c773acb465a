"""From the first release to this one, with something in every state: nothing is lost, and a node goes on with it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, create_engine, select

from node import cli
from node.catalog import audit, tables
from node.catalog.session import Catalog
from node.domain.audit import verify
from tests.conftest import AUDIT_KEY
from tests.flow import Flow
from tests.migrations.first_release import JOBS, FirstRelease, uid
from tests.migrations.test_migrations import run
from tests.servers import HASTY, Nodus, StoreScp, eventually, nodus, storescp


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with nothing in it; SQLite where a node in `tmp_path/data` looks for it."""
    (tmp_path / "data").mkdir(mode=0o700)
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/data/nodus.db"
    else:
        with request.getfixturevalue("postgres_server").database("template1") as made:
            yield made


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[StoreScp]:
    with storescp(tmp_path / "pacs") as started:
        yield started


@pytest.fixture
def engine(url: str, tmp_path: Path, pacs: StoreScp) -> Iterator[Engine]:
    """What the first release left."""
    data = tmp_path / "data"
    (data / "audit.key").write_bytes(AUDIT_KEY)
    (data / "audit.key").chmod(0o600)
    made = create_engine(url)
    run(made, "upgrade", "0001")
    with made.begin() as connection:
        FirstRelease(made, data, pacs.port, AUDIT_KEY).fill(connection)
    yield made
    made.dispose()


def everything(engine: Engine, old: MetaData | None = None) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table; with `old` only what that knows."""
    known = old or MetaData()
    if old is None:
        known.reflect(engine)
    with engine.connect() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in known.sorted_tables
            if table.name != "alembic_version"
        }


def test_every_row_of_the_first_release_is_still_there(engine: Engine, url: str) -> None:
    first = MetaData()
    first.reflect(engine)
    before = everything(engine, first)
    assert {name for name, rows in before.items() if not rows} == set()
    catalog = Catalog(url, AUDIT_KEY)
    catalog.migrate()
    assert everything(engine, first) == before
    with catalog.reading() as session:
        assert verify(audit.entries(session), audit.head(session), [], AUDIT_KEY) == []
        assert {*session.scalars(select(tables.destination.c.breaker))} == {"closed"}
        assert session.execute(select(tables.job.c.turn_at, tables.job.c.created_at)).all() == [
            (row, row) for row in session.scalars(select(tables.job.c.created_at))
        ]
        steps = session.scalars(select(tables.workitem.c.job_id).order_by(tables.workitem.c.id)).all()
        readings = select(tables.job.c.id).where(tables.job.c.kind == "analysis").order_by(tables.job.c.id)
        assert steps == session.scalars(readings).all()
    catalog.close()


@pytest.mark.parametrize("arguments", ["status", "senders allow CT1@10.0.0.5", "backup kept"])
def test_a_command_leaves_a_database_of_the_first_release_to_the_start_of_the_node(
    engine: Engine, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: str,
) -> None:  # fmt: skip
    before = everything(engine)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NODUS_DATABASE_URL", "" if url.startswith("sqlite") else url)
    monkeypatch.setattr("sys.argv", ["nodus", *arguments.split(), "--data", str(tmp_path / "data")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        "nodus: The database is older than this Nodus: `nodus up` brings it up to date; before that only the version "
        "that made it can use it and back it up.\n"
    )
    assert everything(engine) == before
    assert not (tmp_path / "kept").exists()


def job(node: Nodus, name: str) -> dict[str, Any]:
    """The newest job of a study."""
    flow = Flow(node.catalog)
    return flow.rows(tables.job, study_id=flow.study(uid(name))["id"])[-1]


def deliveries(node: Nodus, name: str) -> list[str]:
    """Where the results of the newest job of a study stand."""
    return [str(row["state"]) for row in Flow(node.catalog).rows(tables.outbox, job_id=job(node, name)["id"])]


def test_a_node_goes_on_with_what_the_first_release_left(
    engine: Engine, url: str, tmp_path: Path, pacs: StoreScp
) -> None:
    engine.dispose()
    database = {} if url.startswith("sqlite") else {"database_url": url}
    peer = f"PACS@127.0.0.1:{pacs.port}"
    with nodus(tmp_path / "data", "--pacs", peer, senders=HASTY, lease_s=2.0, **database) as node:
        eventually(lambda: job(node, "queued")["published_at"], what="a queued job is published")
        opened = Flow(node.catalog).study(uid("receiving"))["id"]
        eventually(lambda: Flow(node.catalog).rows(tables.job, study_id=opened, state="queued"), 30,
                   "a study that was open is complete, and read")  # fmt: skip
        for name in ("held", "due", "superseded"):
            eventually(lambda name=name: deliveries(node, name) == ["delivered"] * 2, 30, f"what was {name} is sent")
        eventually(lambda: job(node, "running")["state"] == "queued", 30, "the job of a lost worker waits for another")
        assert deliveries(node, "refused") == ["refused"] * 2
        states = [each["state"] for each in Flow(node.catalog).jobs()]
        assert [states.count(state) for state in ("dead", "superseded", "cancelled")] == [1, 2, 1]
        assert len(pacs.files()) == 6
        assert node.json("audit", "verify")["problems"] == []
        assert {each["study_instance_uid"] for each in node.json("studies")} == {uid(name) for name in JOBS}
        assert node.web("/readyz").status == 200
