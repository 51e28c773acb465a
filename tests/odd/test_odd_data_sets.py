"""Data sets that nobody would write, sent to a running node: stored as they came or refused by name, then digested."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings

from tests.odd.datasets import payloads
from tests.odd.digested import await_rows, await_verdicts, check_health, lost
from tests.odd.files import Odd
from tests.odd.vitals import receivers
from tests.odd.ways import NAMED, Try, offer
from tests.sender import Payload
from tests.servers import HASTY, Nodus, nodus
from tests.studies import Series

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, as `logs.configure` does


@dataclass
class Receiving:
    """A node, and what it said to each instance."""

    node: Nodus
    tries: list[Try] = field(default_factory=list)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def receiving(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Receiving]:
    data = tmp_path_factory.mktemp("odd") / "data"
    if request.param == "sqlite":
        with nodus(data, senders=HASTY) as node:
            yield Receiving(node)
    else:
        with (
            request.getfixturevalue("postgres_server").database() as url,
            nodus(data, senders=HASTY, database_url=url) as node,
        ):
            yield Receiving(node)


@settings(max_examples=90, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(payload=payloads())
def send_each(receiving: Receiving, payload: Payload) -> None:
    receiving.tries += offer(receiving.node, [Odd("", "generated", payload)])


@pytest.mark.parametrize("uid", ["1.2.３", "1.2.\xff", "y" * 500, "../../etc/passwd", "\n\r", " "])
def test_an_announced_uid_that_is_none_is_refused_by_name(receiving: Receiving, uid: str) -> None:
    (payload,) = Series("announced").payloads([0])
    (said,) = offer(receiving.node, [Odd("", "announced", payload._replace(sop_instance_uid=uid))])
    assert (said.status, said.comment) == (0xA900, "SOPInstanceUID is not the Affected SOP Instance UID.")


def test_any_data_set_is_stored_or_refused_by_name_and_the_flow_digests_it(receiving: Receiving) -> None:
    before = receivers(receiving.node)
    send_each(receiving)
    assert {each.status for each in receiving.tries} - {None} <= NAMED
    assert sum(each.status == 0 for each in receiving.tries) > 30
    assert lost(receiving.node, receiving.tries) == []
    await_rows(receiving.node, receiving.tries)
    await_verdicts(receiving.node)
    assert receivers(receiving.node) == before
    check_health(receiving.node)
