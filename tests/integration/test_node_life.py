"""Life and death of a node: it starts once, ends in time, and whatever kills it loses nothing acknowledged."""

import json
import os
import signal
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from sqlalchemy import select

from node.catalog import tables
from tests.sender import Ended, Payload, Scanner, send
from tests.servers import Nodus, Postgres, eventually, free_port, nodus
from tests.studies import Series

CT = [(CTImageStorage, ExplicitVRLittleEndian)]


def known_uids(node: Nodus) -> set[str]:
    with node.catalog.reading() as session:
        return set(session.scalars(select(tables.instance.c.sop_instance_uid)))


def receivers(node: Nodus) -> list[int]:
    """Process ids of the receivers."""
    assert node.process is not None
    children = Path(f"/proc/{node.process.pid}/task").glob("*/children")
    pids = [int(pid) for path in children for pid in path.read_text().split()]
    return [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


class Sending:
    """Sends series after series, each over its own association, and remembers what was acknowledged."""

    def __init__(self, node: Nodus, name: str) -> None:
        self._node, self._name = node, name
        self._stop = threading.Event()
        self.acknowledged: list[Payload] = []

    def run(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            with suppress(Ended, OSError):
                self._send(Series(f"{self._name}{number}", count=30))

    def _send(self, series: Series) -> None:
        one = Scanner(self._node.dicom_port, CT, self._name)
        try:
            for payload in series.payloads():
                if one.store(payload).status == 0:
                    self.acknowledged.append(payload)
            one.release()
        finally:
            one.socket.close()

    def stop(self) -> None:
        self._stop.set()


def send_while(node: Nodus, happens: object, senders: int = 3) -> list[Payload]:
    """Send over several associations while something happens; returns everything that was acknowledged."""
    sending = [Sending(node, f"S{number}") for number in range(senders)]
    with ThreadPoolExecutor(senders) as pool:
        running = [pool.submit(each.run) for each in sending]
        eventually(lambda: all(len(each.acknowledged) > 5 for each in sending))
        happens()  # type: ignore[operator]
        for each in sending:
            each.stop()
        for each in running:
            each.result()
    return [payload for each in sending for payload in each.acknowledged]


def check_nothing_is_lost(node: Nodus, acknowledged: list[Payload]) -> None:
    eventually(
        lambda: {payload.sop_instance_uid for payload in acknowledged} <= known_uids(node),
        what="everything acknowledged is in the catalog",
    )
    with node.catalog.reading() as session:
        paths = dict(session.execute(select(tables.instance.c.sop_instance_uid, tables.instance.c.path)).all())
    for payload in acknowledged:
        assert (node.data / paths[payload.sop_instance_uid]).read_bytes().endswith(payload.data_set)


def test_sigkill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with nodus(tmp_path / "data", "--port", str(free_port()), receivers=2) as node:
        acknowledged = send_while(node, node.kill)
        assert len(acknowledged) > 15
        node.start()  # as a supervisor would
        check_nothing_is_lost(node, acknowledged)
        assert list((node.data / "spool" / "incoming").iterdir()) == []
        assert node.json("audit", "verify")["problems"] == []
        assert send(node.dicom_port, Series("after").payloads([0]))[0].status == 0


def test_a_killed_receiver_is_replaced_and_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with nodus(tmp_path / "data", receivers=2) as node:
        before = receivers(node)
        assert len(before) == 2

        def kill_one() -> None:
            os.kill(before[0], signal.SIGKILL)
            eventually(lambda: len(receivers(node)) == 2 and before[0] not in receivers(node), what="a new receiver")

        acknowledged = send_while(node, kill_one)
        check_nothing_is_lost(node, acknowledged)
        assert "a receiver ended; another takes its place" in node.log()
        node.stop()


def test_sigterm_ends_it_in_time_with_senders_in_the_middle_of_everything(tmp_path: Path) -> None:
    with nodus(tmp_path / "data") as node:
        assert node.process is not None
        in_the_middle = Scanner(node.dicom_port, CT)
        (payload,) = Series("half").payloads([0])
        in_the_middle.send(in_the_middle.begin(payload), payload.data_set[:100], 0, 100, finish=False)
        silent = Scanner(node.dicom_port, CT)
        acknowledged = send_while(node, node.stop)
        for one in (in_the_middle, silent):
            with pytest.raises(Ended):
                one.read_pdu()
            one.socket.close()
        assert [entry.kind for entry in node.audit()][-1] == "node stopped"
        assert {each.sop_instance_uid for each in acknowledged} <= known_uids(node)  # registered before it ended
        verified = node.json("audit", "verify")
        assert (verified["problems"], verified["anchored"]) == ([], verified["rows"])
        assert "Traceback" not in node.log()


def test_a_second_node_on_the_same_data_ends_with_one_sentence(sqlite_node: Nodus) -> None:
    said = sqlite_node.command("up", "--port", "0", "--web-port", "0", code=1)
    assert said == f"nodus: A node is running on {sqlite_node.data} already; stop it, or use another --data.\n"


def test_a_database_that_does_not_answer_at_the_start_is_one_sentence(tmp_path: Path) -> None:
    elsewhere = Nodus(tmp_path / "data", {"NODUS_DATABASE_URL": "postgresql+psycopg://postgres@127.0.0.1:1/nodus"})
    said = elsewhere.command("up", "--port", "0", "--web-port", "0", code=1)
    assert said == "nodus: The database cannot be opened or migrated (OperationalError).\n"


@pytest.mark.parametrize("option", ["--port", "--web-port"])
def test_a_port_that_is_taken_is_one_sentence(sqlite_node: Nodus, tmp_path: Path, option: str) -> None:
    taken = str(sqlite_node.dicom_port)
    ports = {"--port": "0", "--web-port": "0", option: taken}
    arguments = [text for pair in ports.items() for text in pair]
    said = sqlite_node.command("up", "--data", str(tmp_path / "other"), *arguments, code=1)
    reason = "Address already in use"
    assert said == f"nodus: Cannot listen on 127.0.0.1:{taken} ({reason}); choose another {option}.\n"


def test_a_change_of_the_destinations_is_written_down_once(tmp_path: Path) -> None:
    with nodus(tmp_path / "data", "--pacs", "A@127.0.0.1:1", "--pacs", "B@127.0.0.1:2") as node:
        for arguments in (node.arguments, ("--pacs", "A@127.0.0.1:1", "--pacs", "B@127.0.0.1:3"), ()):
            node.stop()
            node.arguments = arguments
            node.start()
        assert [json.loads(entry.detail) for entry in node.audit("destination changed")] == [
            {"added": "A@127.0.0.1:1 B@127.0.0.1:2", "removed": "", "changed": ""},
            {"added": "B@127.0.0.1:3", "removed": "B@127.0.0.1:2", "changed": ""},
            {"added": "", "removed": "A@127.0.0.1:1 B@127.0.0.1:3", "changed": ""},
        ]


def test_nothing_under_the_data_directory_can_be_read_by_others(sqlite_node: Nodus) -> None:
    send(sqlite_node.dicom_port, Series("modes").payloads([0]))
    assert stat.S_IMODE(sqlite_node.data.stat().st_mode) == 0o700
    readable = [path for path in sqlite_node.data.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
    assert readable == []


def test_with_the_database_away_it_keeps_receiving_and_knows_everything_afterwards(
    tmp_path: Path, postgres_server: Postgres
) -> None:
    series = Series("away", count=10)
    with postgres_server.database() as url, nodus(tmp_path / "data", database_url=url) as node:
        database = url.rpartition("/")[2]
        postgres_server.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
        postgres_server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
        assert {answer.status for answer in send(node.dicom_port, series.payloads())} == {0}
        eventually(lambda: node.web("/readyz").status == 503, what="it says that it is not ready")
        assert node.web("/healthz").status == 200
        assert node.web("/metrics").status == 200
        postgres_server.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
        eventually(lambda: len(known_uids(node)) == 10, what="everything is registered")
        eventually(lambda: node.web("/readyz").status == 200, what="it is ready again")
        node.stop()


def test_sigterm_ends_it_in_time_even_without_its_database(tmp_path: Path, postgres_server: Postgres) -> None:
    with postgres_server.database() as url, nodus(tmp_path / "data", database_url=url) as node:
        database = url.rpartition("/")[2]
        postgres_server.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
        postgres_server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
        assert node.process is not None
        node.process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        node.process.wait(10)
        assert time.monotonic() - begun < 10
        assert node.process.returncode == 0
        assert "the database does not answer at the end" in node.log()


def test_with_the_database_frozen_it_says_so_receives_and_ends_in_time(
    tmp_path: Path, postgres_server: Postgres
) -> None:
    with postgres_server.database() as url, nodus(tmp_path / "data", database_url=url) as node:
        with postgres_server.frozen():
            begun = time.monotonic()
            page = node.web("/readyz")
            assert time.monotonic() - begun < 5
            assert (page.status, json.loads(page.body)["database"]) == (503, "does not answer (TimeoutError)")
            assert node.web("/metrics").status == 200
            assert send(node.dicom_port, Series("frozen").payloads([0]))[0].status == 0
            assert node.stop() < 10
        assert "the database does not answer at the end" in node.log()
        node.start()
        check_nothing_is_lost(node, Series("frozen").payloads([0]))
        node.stop()


def test_it_serves_on_when_a_frozen_database_comes_back(tmp_path: Path, postgres_server: Postgres) -> None:
    with postgres_server.database() as url, nodus(tmp_path / "data", database_url=url) as node:
        with postgres_server.frozen():
            eventually(lambda: node.web("/readyz").status == 503, what="it says that it is not ready")
            assert send(node.dicom_port, Series("thawed").payloads([0]))[0].status == 0
        eventually(lambda: node.web("/readyz").status == 200, what="it is ready again")
        check_nothing_is_lost(node, Series("thawed").payloads([0]))
        node.stop()


def test_a_frozen_database_at_the_start_is_one_sentence(tmp_path: Path, postgres_server: Postgres) -> None:
    elsewhere = Nodus(tmp_path / "data", {"NODUS_DATABASE_URL": postgres_server.url(postgres_server.TEMPLATE)})
    with postgres_server.frozen():
        said = elsewhere.command("up", "--port", "0", "--web-port", "0", code=1)
    assert said == "nodus: The database cannot be opened or migrated (OperationalError).\n"
