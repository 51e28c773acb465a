"""How many are heard at once, over all receivers, and how long anybody may take: nobody keeps the others out."""

import json
import os
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from node.catalog import peers
from node.dicom.upper_layer.acceptor import MOST_SILENT, MOST_SILENT_OF_ONE
from node.domain.peers import Regard, Sender, Standing
from tests.sender import ABORT, ASSOCIATE_RQ, Ended, Rejected, Scanner
from tests.servers import Nodus, eventually, nodus

CT = [(CTImageStorage, ExplicitVRLittleEndian)]
HERE, ALSO_HERE, THIRD, ELSEWHERE, DENIED = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.1.1", "127.0.2.1"
AT_ONCE, OF_ONE = 6, 4


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodus]:
    """Three receivers that hear six at once, four from one address; who asks for nothing has a second."""
    limits = {"maximum_associations": AT_ONCE, "maximum_associations_per_peer": OF_ONE, "request_timeout_s": 1.0}
    senders = [{"network": "127.0.0.0/24"}]
    data = tmp_path_factory.mktemp("limits") / "data"
    with nodus(data, receivers=3, senders=senders, refusals_every_s=0.5, **limits) as node:
        yield node


def receivers(node: Nodus) -> list[int]:
    """Process ids of the receivers that serve."""
    assert node.process is not None
    children = Path(f"/proc/{node.process.pid}/task").glob("*/children")
    pids = sorted(int(pid) for path in children for pid in path.read_text().split())
    return [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@contextmanager
def only(node: Nodus, receiver: int) -> Iterator[None]:
    """The others are stopped: this one accepts whatever comes."""
    others = [pid for pid in receivers(node) if pid != receiver]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in others:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def rejection(node: Nodus, source: str) -> tuple[int, int, int]:
    with pytest.raises(Rejected) as refused:
        Scanner(node.dicom_port, CT, source=source)
    return refused.value.result, refused.value.source, refused.value.reason


def rejection_of_another_title(node: Nodus, source: str) -> tuple[int, int, int]:
    with pytest.raises(Rejected) as refused:
        Scanner(node.dicom_port, CT, called="ANOTHER", source=source)
    return refused.value.result, refused.value.source, refused.value.reason


def refused(node: Nodus, address: str, reason: str) -> int:
    """How often an address was refused for that reason, as the audit trail has it."""
    rows = [row for row in node.audit("association refused") if row.address == address and reason in row.detail]
    return sum(json.loads(row.detail)["count"] for row in rows)


def waiting(node: Nodus) -> list[Sender]:
    """Who is shown as pending."""
    with node.catalog.reading() as session:
        return [each for each in peers.senders(session) if each.standing is Standing.PENDING]


def heard(node: Nodus, source: str = HERE) -> bool:
    try:
        Scanner(node.dicom_port, CT, source=source).release()
    except (Ended, OSError, Rejected):
        return False
    return True


def silent(node: Nodus, source: str = HERE) -> socket.socket:
    """A connection that has said nothing yet."""
    return socket.create_connection(("127.0.0.1", node.dicom_port), 20, (source, 0))


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has ended it, with or without an A-ABORT."""
    connection.setblocking(False)
    try:
        return connection.recv(100) in (b"", b"\7\0\0\0\0\4\0\0\2\0")
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def opened(node: Nodus, source: str) -> Scanner:
    """An association, as soon as there is room: places come back a moment after the release is answered."""

    def attempt() -> Scanner | None:
        with suppress(Rejected):
            return Scanner(node.dicom_port, CT, source=source)
        return None

    return eventually(attempt, what="there is room")


def open_two_on_each(node: Nodus) -> list[Scanner]:
    """Two associations on each of three receivers: four from one address, two from another."""
    sources = ((HERE, HERE), (HERE, HERE), (ALSO_HERE, ALSO_HERE))
    scanners = []
    for receiver, pair in zip(receivers(node), sources, strict=True):
        with only(node, receiver):
            scanners += [opened(node, source) for source in pair]
    return scanners


def test_associations_are_counted_over_all_receivers_for_each_address_and_in_total(node: Nodus) -> None:
    scanners = open_two_on_each(node)
    try:
        for receiver in receivers(node):
            with only(node, receiver):
                assert rejection(node, HERE) == (2, 3, 2)
                assert rejection(node, THIRD) == (2, 3, 2)
        eventually(lambda: refused(node, HERE, "too many associations from this address") == 3)
        eventually(lambda: refused(node, THIRD, "too many associations are open") == 3)
        scanners.pop().release()
        eventually(lambda: heard(node, THIRD), what="there is room again")
        assert rejection(node, HERE) == (2, 3, 2)
    finally:
        for each in scanners:
            each.release()
    eventually(lambda: heard(node))


def test_a_killed_receiver_gives_its_places_back_and_its_associations_are_audited_as_lost(node: Nodus) -> None:
    victim = receivers(node)[0]
    scanners = open_two_on_each(node)
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: victim not in receivers(node) and len(receivers(node)) == 3, what="another takes its place")
    for gone in scanners[:2]:
        with pytest.raises(Ended):
            gone.read_pdu()
        gone.socket.close()
    again = [opened(node, HERE) for _ in range(2)]
    assert rejection(node, HERE) == (2, 3, 2)
    for each in (*scanners[2:], *again):
        each.release()

    def lost() -> list[str]:
        rows = [json.loads(row.detail) for row in node.audit("association closed")]
        return [row["association"] for row in rows if row["ending"] == "lost"]

    assert [each.partition("-")[0] for each in eventually(lambda: len(lost()) == 2 and lost())] == [str(victim)] * 2


def test_an_address_that_was_denied_is_closed_without_a_word_and_audited(node: Nodus) -> None:
    with node.catalog.writing() as session:
        peers.decide(session, Sender("*", f"{DENIED}/32", Standing.DENIED))
    eventually(lambda: not rejected_by_name(node, DENIED), what="the receivers know")
    assert eventually(lambda: refused(node, DENIED, "this address is denied"))
    with silent(node, DENIED) as connection:
        assert connection.recv(1) == b""


def rejected_by_name(node: Nodus, source: str) -> bool:
    """Whether a caller still hears that it is not known."""
    try:
        return rejection(node, source) == (1, 1, 3)
    except (Ended, OSError):
        return False


def test_strangers_may_say_who_they_are_but_only_a_few_at_a_time_and_known_senders_do_not_notice(node: Nodus) -> None:
    receiver = receivers(node)[-1]
    with only(node, receiver):
        of_one = MOST_SILENT_OF_ONE[Regard.STRANGER]
        hosts = [f"127.0.1.{number}" for number in range(1, 1 + MOST_SILENT[Regard.STRANGER] // of_one)]
        crowd = [silent(node, host) for host in hosts for _ in range(of_one)]
        with silent(node, "127.0.1.100") as one_more:
            assert one_more.recv(1) == b""
        assert heard(node)
        eventually(lambda: all(map(is_closed, crowd)), what="their time is over")
        for each in crowd:
            each.close()
    assert eventually(lambda: refused(node, "127.0.1.100", "too many at once")) == 1
    eventually(lambda: rejected_by_name(node, ELSEWHERE), what="a stranger learns that it is one")
    eventually(lambda: f"{ELSEWHERE}/32" in {each.network for each in waiting(node)}, what="it waits for a decision")


@pytest.mark.parametrize("regard", [Regard.KNOWN, Regard.STRANGER])
def test_one_host_that_stays_silent_keeps_no_other_out(node: Nodus, regard: Regard) -> None:
    one, another = (HERE, ALSO_HERE) if regard is Regard.KNOWN else ("127.0.3.1", "127.0.3.2")
    with only(node, receivers(node)[0]):
        crowd = [silent(node, one) for _ in range(MOST_SILENT_OF_ONE[regard])]
        with silent(node, one) as one_more:
            assert one_more.recv(1) == b""
        assert heard(node, another) or rejection(node, another) == (1, 1, 3)
        assert not any(map(is_closed, crowd[-1:]))
        eventually(lambda: all(map(is_closed, crowd)), what="their time is over")
        for each in crowd:
            each.close()
    eventually(lambda: refused(node, one, "too many at once") == 1)


HALF_A_REQUEST = struct.pack(">BBI", ASSOCIATE_RQ, 0, 300) + bytes(100)


@pytest.mark.parametrize("said", [b"", b"\1", HALF_A_REQUEST], ids=["nothing", "one byte", "half a request"])
def test_who_stalls_before_it_has_asked_is_cut_although_the_network_may_be_slow(node: Nodus, said: bytes) -> None:
    with silent(node) as connection:
        connection.sendall(said)
        assert connection.recv(1) == b""


def test_who_trickles_byte_after_byte_is_cut_as_well(node: Nodus) -> None:
    with silent(node) as connection:
        connection.sendall(struct.pack(">BBI", ASSOCIATE_RQ, 0, 100_000))

        def cut() -> bool:
            with suppress(ConnectionError):
                connection.send(b"\0")
            return is_closed(connection)

        eventually(cut, what="the slow one is cut")


def test_a_request_that_would_fill_the_memory_is_no_request(node: Nodus) -> None:
    with silent(node) as connection:
        connection.sendall(struct.pack(">BBI", ASSOCIATE_RQ, 0, 0xFFFFFFFF))
        assert connection.recv(1) == bytes((ABORT,))
    assert heard(node)


def test_a_stranger_that_goes_on_talking_after_its_refusal_is_cut(node: Nodus) -> None:
    connection = silent(node, ELSEWHERE)
    one = Scanner.__new__(Scanner)
    one._contexts = dict.fromkeys(CT, 1)
    request = one._request("TALKER", "NODUS")
    connection.sendall(struct.pack(">BBI", ASSOCIATE_RQ, 0, len(request)) + request)

    def cut() -> bool:
        with suppress(ConnectionError):
            connection.send(b"\4")
        try:
            connection.setblocking(False)
            return not connection.recv(100)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    eventually(cut, what="it is not listened to for ever")
    connection.close()


def test_callers_that_come_and_go_do_not_use_up_the_room_of_others(node: Nodus) -> None:
    """As load balancers do that only look whether somebody listens."""
    with only(node, receivers(node)[0]):
        for number in range(MOST_SILENT[Regard.KNOWN] * 2):
            silent(node, THIRD).close()
            assert number % 8 or heard(node, THIRD)
        assert rejection_of_another_title(node, THIRD) == (1, 1, 7)
    eventually(lambda: refused(node, THIRD, "called AE title"))
    assert refused(node, THIRD, "too many at once") == 0


def test_an_ipv4_address_is_known_where_ipv6_wraps_it(tmp_path: Path) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6 sockets that take IPv4 too")
    senders = [{"ae_title": "CT1", "network": "127.0.0.0/8"}]
    with nodus(tmp_path / "data", "--host", "::", senders=senders) as node:
        Scanner(node.dicom_port, CT, "CT1").release()
        with pytest.raises(Rejected):
            Scanner(node.dicom_port, CT, "CT2")
        assert eventually(lambda: [each.network for each in waiting(node)]) == ["127.0.0.1/32"]
        closed = eventually(lambda: node.audit("association closed"))
        assert closed[0].address == "127.0.0.1"
