"""`nodus backup` while a node receives, and `nodus restore`: on SQLite and on PostgreSQL."""

import hashlib
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from node.catalog import jobs, tables
from node.domain.uids import derived_uid
from tests.flow import PLAIN_SR_CLASS, SEG_CLASS, SR_CLASS, Flow
from tests.integration.test_node_life import send_while
from tests.keeping import write_result
from tests.sender import send
from tests.servers import HASTY, Nodus, Postgres, StoreScp, eventually, nodus, storescp
from tests.studies import Series

COUNT = 40
Databases = Callable[[], dict[str, str]]


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    """The settings of a fresh database each time; none for SQLite in the data directory."""
    with ExitStack() as opened:

        def another() -> dict[str, str]:
            if request.param == "sqlite":
                return {}
            server: Postgres = request.getfixturevalue("postgres_server")
            return {"database_url": opened.enter_context(server.database("template1"))}

        yield another


@contextmanager
def site(data: Path, pacs: StoreScp, database: dict[str, str]) -> Iterator[Nodus]:
    """A node that delivers to a PACS; the test plays the worker."""
    settings = {"senders": HASTY, "lease_s": 2.0, **database}
    with nodus(data, "--pacs", f"PACS@127.0.0.1:{pacs.port}", **settings) as node:
        yield node


def play_worker(node: Nodus, job_id: int) -> None:
    """Do a job at once; the results are small, but are DICOM."""
    flow = Flow(node.catalog, data=node.data)
    (row,) = flow.rows(tables.job, id=job_id)
    (study,) = flow.rows(tables.study, id=row["study_id"])
    (node.data / "results").mkdir(exist_ok=True, mode=0o700)
    for kind, rung, sop_class in (("SEG", 0, SEG_CLASS), ("SR", 0, SR_CLASS), ("SR", 1, PLAIN_SR_CLASS)):
        uid = derived_uid("test result", str(job_id), kind, str(rung))
        said = f"{row['created_at']:%H%M%S.%f}"  # as our reports do
        write_result(
            node.data / f"results/{job_id}-{kind}-{rung}.dcm", sop_class, uid, study["study_instance_uid"], said
        )
    flow.finish(job_id, datetime.now(UTC))


def job_of(node: Nodus, series: Series) -> int:
    """The job of a study, when there is one."""
    flow = Flow(node.catalog)
    found = eventually(
        lambda: [job for study in flow.rows(tables.study, study_instance_uid=series.study_uid)
                 for job in flow.rows(tables.job, study_id=study["id"])],
        what="a job",
    )  # fmt: skip
    return int(found[-1]["id"])


def received(node: Nodus, name: str) -> Series:
    series = Series(name, count=COUNT)
    assert {each.status for each in send(node.dicom_port, series.payloads())} == {0}
    return series


def keys_of(*names: str) -> set[str]:
    """What the names of their files in the spool begin with."""
    uids = [each.sop_instance_uid for name in names for each in Series(name, count=COUNT).payloads()]
    return {hashlib.sha256(uid.encode()).hexdigest() for uid in uids}


def states(node: Nodus) -> list[str]:
    """Of the outbox."""
    return [str(row["state"]) for row in Flow(node.catalog).rows(tables.outbox)]


def sums_of(folder: Path) -> dict[str, str]:
    """What a PACS holds."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def images_of(data: Path) -> dict[str, str]:
    """Names in the spool, and what the files hold."""
    files = (data / "spool" / "instances").rglob("*.dcm")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def work(node: Nodus) -> int:
    """Three studies: one delivered, one due, and the job of one that runs, which is returned."""
    play_worker(node, job_of(node, received(node, "delivered")))
    eventually(lambda: states(node) == ["delivered"] * 2, what="the first study is delivered")
    node.command("destinations", "pause", "PACS")
    play_worker(node, job_of(node, received(node, "due")))
    running = job_of(node, received(node, "running"))
    with node.catalog.writing() as session:
        jobs.claim(session, running, "lost", "worker", datetime.now(UTC), timedelta(seconds=1))
    return running


def restored(kept: Path, data: Path, database: dict[str, str]) -> None:
    """`nodus restore`."""
    Nodus(data, {f"NODUS_{name.upper()}": value for name, value in database.items()}).command("restore", str(kept))


def test_a_node_comes_back_from_a_backup_that_was_made_while_it_received(tmp_path: Path, databases: Databases) -> None:
    kept, again = tmp_path / "kept", databases()
    with storescp(tmp_path / "pacs") as pacs:
        with site(tmp_path / "data", pacs, databases()) as node:
            running = work(node)
            acknowledged = send_while(node, lambda: node.json("backup", str(kept)), senders=1)
            assert len(acknowledged) > 5
            assert node.json("backup", "verify", str(kept))["problems"] == []
            node.command("destinations", "resume", "PACS")
            eventually(lambda: states(node) == ["delivered"] * 4, what="more is delivered after the backup")
            there, images = sums_of(pacs.folder), images_of(node.data)
            node.kill()
        restored(kept, tmp_path / "again", again)
        check_is_private(tmp_path / "again")
        back = images_of(tmp_path / "again")
        assert back.items() <= images.items()
        assert keys_of("delivered", "due", "running") <= {name[:64] for name in back}
        with site(tmp_path / "again", pacs, again) as node:
            goes_on(node, pacs, running, there)


def goes_on(node: Nodus, pacs: StoreScp, running: int, there: dict[str, str]) -> None:
    """A restored node: nothing is doubled in the PACS, and what was under way ends."""
    assert node.json("audit", "verify")["problems"] == []
    assert [entry.actor for entry in node.audit("backup restored")] == ["operator"]
    node.command("destinations", "resume", "PACS")
    eventually(lambda: states(node) == ["delivered"] * 4, what="what was due is sent again")
    assert sums_of(pacs.folder) == there
    eventually(lambda: waits(node, running), 60, "the job whose worker is gone waits for another")
    play_worker(node, running)
    eventually(lambda: len(sums_of(pacs.folder)) == 6, what="and done")


def waits(node: Nodus, job_id: int) -> bool:
    (job,) = Flow(node.catalog).rows(tables.job, id=job_id)
    return bool(job["state"] == "queued" and job["not_before"] <= datetime.now(UTC))


def check_is_private(data: Path) -> None:
    for path in (data, *data.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
