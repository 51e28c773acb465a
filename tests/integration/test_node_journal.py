"""What happens on the listening side while SQL is away is in the audit trail afterwards: each thing exactly once."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tests.sender import Rejected, Scanner
from tests.servers import Nodus, Postgres, eventually, nodus
from tests.studies import Series

CT = [(CTImageStorage, ExplicitVRLittleEndian)]
STRANGERS = [(f"STRANGER{number}", f"127.0.1.{number}") for number in range(1, 13)]


@contextmanager
def away(server: Postgres, url: str, how: str) -> Iterator[None]:
    """The database does not answer, or there is none."""
    if how == "frozen":
        with server.frozen():
            yield
        return
    name = url.rpartition("/")[2]
    server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    try:
        yield
    finally:
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def refuse_strangers(node: Nodus, strangers: list[tuple[str, str]]) -> None:
    for calling, source in strangers:
        with pytest.raises(Rejected):
            Scanner(node.dicom_port, CT, calling, source=source)


def send_one_good_and_one_bad(node: Nodus) -> str:
    """Returns the SOP Instance UID that is refused."""
    good, bad = Series("journal").payloads([0, 1])
    one = Scanner(node.dicom_port, CT, "KNOWN")
    assert one.store(good).status == 0x0000
    assert one.store(bad._replace(data_set=bad.data_set[:200])).status == 0xC000
    one.release()
    return bad.sop_instance_uid


@pytest.mark.parametrize("how", ["gone", "frozen"])
def test_refusals_and_closings_survive_a_database_that_is_away_and_a_killed_node(
    tmp_path: Path, postgres_server: Postgres, how: str
) -> None:
    known = [{"ae_title": "KNOWN", "network": "127.0.0.1"}]
    journal = tmp_path / "data" / "spool" / "journal"
    with (
        postgres_server.database() as url,
        nodus(tmp_path / "data", database_url=url, receivers=2, senders=known) as node,
    ):
        refuse_strangers(node, STRANGERS[:4])
        with away(postgres_server, url, how):
            refuse_strangers(node, STRANGERS[4:])
            refused_uid = send_one_good_and_one_bad(node)
            node.kill()
            assert list(journal.iterdir())
        node.start()
        eventually(lambda: len(node.audit("association refused")) >= len(STRANGERS))
        eventually(lambda: node.audit("association closed") and node.audit("instance refused"))
        eventually(lambda: not list(journal.iterdir()), what="what is in SQL is gone from the journal")
        assert Counter((row.actor, row.address) for row in node.audit("association refused")) == Counter(STRANGERS)
        assert [json.loads(row.detail)["sop_instance_uid"] for row in node.audit("instance refused")] == [refused_uid]
        (closed,) = (json.loads(row.detail) for row in node.audit("association closed"))
        assert (closed["ending"], closed["stored"], closed["refused"]) == ("released", 1, 1)
        assert node.audit("journal damaged") == []
        node.command("audit", "verify")
