"""Whatever a listener is told, it answers in DICOM or hangs up, and everybody else is served as before."""

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.odd import pdus
from tests.odd.vitals import Vitals, receivers, vitals
from tests.odd.ways import echo
from tests.sender import ABORT, ASSOCIATE_AC, ASSOCIATE_RJ, DATA, RELEASE_RP, Ended, Scanner, send
from tests.servers import Nodus, eventually, nodus
from tests.studies import Series

DICOM = {ASSOCIATE_AC, ASSOCIATE_RJ, DATA, RELEASE_RP, ABORT}
FLAT_MIB = 64.0
"""A sanity limit for what one receiver may grow by over some hundred broken associations."""
AT_ONCE = 40
SYNCING = 4 + (os.cpu_count() or 1)
"""Threads that wait for the disk: they are made as they are needed, and kept."""
HANGS_UP_WITHIN_S = 20.0
"""The node grants 5 s for a request, 2 s for the rest of a message (see the fixture); a machine may be busy."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodus]:
    with nodus(
        tmp_path_factory.mktemp("pdus") / "data", network_timeout_s=2.0, maximum_associations_per_peer=100
    ) as node:
        yield node


@pytest.fixture(scope="module")
def before(node: Nodus) -> Vitals:
    """At rest, after what is loaded at first use is loaded."""
    send(node.dicom_port, Series("before").payloads([0]))
    hear(node, [pdus.BEFORE["not our title"], pdus.BEFORE["http"]])
    return at_rest(node)


def at_rest(node: Nodus) -> Vitals:
    eventually(lambda: node.metric("nodus_associations_open") == 0, what="no association is open")
    return vitals(receivers(node))


def heard(one: socket.socket) -> list[int]:
    """Types of the PDUs that come until the peer hangs up."""
    one.settimeout(HANGS_UP_WITHIN_S)
    raw, kinds = b"", []
    try:
        while more := one.recv(1 << 16):
            raw += more
    except ConnectionError:
        pass  # a reset is an end as well
    while len(raw) >= 6:
        kinds.append(raw[0])
        raw = raw[6 + int.from_bytes(raw[2:6], "big") :]
    return kinds


def tell(one: socket.socket, what: bytes, waits: bool) -> None:
    """Say it, and wait for what the node does, or hang up half way as soon as it is said."""
    try:
        one.sendall(what)
        if not waits:
            one.shutdown(socket.SHUT_WR)
    except OSError:
        return  # it has hung up in the middle


def hear(node: Nodus, requests: Sequence[bytes], waits: bool = False) -> list[list[int]]:
    """Each on a connection of its own, many open at once."""
    answers = []
    for start in range(0, len(requests), AT_ONCE):
        connections = []
        for what in requests[start : start + AT_ONCE]:
            connections.append(socket.create_connection(("127.0.0.1", node.dicom_port), HANGS_UP_WITHIN_S))
            tell(connections[-1], what, waits)
        for one in connections:
            answers.append(heard(one))
            one.close()
    return answers


def hear_on_associations(node: Nodus, messages: Sequence[bytes], waits: bool = False) -> list[list[int]]:
    """Each on an association of its own, many open at once."""
    answers = []
    for start in range(0, len(messages), AT_ONCE):
        opened = [Scanner(node.dicom_port, [pdus.CT, pdus.ECHO], "FUZZ") for _ in messages[start : start + AT_ONCE]]
        for one, what in zip(opened, messages[start:], strict=False):
            tell(one.socket, what, waits)
        for one in opened:
            answers.append(heard(one.socket))
            one.socket.close()
    return answers


@contextmanager
def bystander(node: Nodus) -> Iterator[None]:
    """Somebody else with an association of their own, who is answered all the while."""
    one, done = Scanner(node.dicom_port, [pdus.CT, pdus.ECHO], "BYSTANDER"), threading.Event()

    def ask_on() -> None:
        while not done.wait(0.2):
            echo(one)
        one.release()

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask_on)
        try:
            yield
        finally:
            done.set()
        asking.result()


def check_is_as_before(node: Nodus, before: Vitals) -> None:
    """It serves, and holds no more threads, descriptors and memory than before."""
    assert send(node.dicom_port, Series("as before").payloads([0]))[0].status == 0
    eventually(lambda: at_rest(node).threads <= before.threads + SYNCING, 30, "its threads have ended")
    eventually(lambda: at_rest(node).descriptors <= before.descriptors + 2, 30, "its descriptors are closed")
    after = at_rest(node)
    assert after.pids == before.pids
    assert after.resident_mib - before.resident_mib < FLAT_MIB
    assert "a receiver ended" not in node.log()
    assert "an error of ours" not in node.log()
    assert [line for line in node.log().splitlines() if "Traceback" in line or "exc_info" in line] == []
    assert list((node.data / "spool" / "incoming").iterdir()) == []


def test_what_comes_before_an_association_is_answered_in_dicom_or_not_at_all(node: Nodus, before: Vitals) -> None:
    with bystander(node):
        answers = dict(zip(pdus.BEFORE, hear(node, [*pdus.BEFORE.values()], waits=True), strict=True))
    assert {kind for kinds in answers.values() for kind in kinds} <= DICOM
    assert answers["not our title"] == [ASSOCIATE_RJ]
    assert [name for name, kinds in answers.items() if DATA in kinds] == []
    check_is_as_before(node, before)


def test_what_comes_on_an_association_is_answered_in_dicom_or_ends_it(node: Nodus, before: Vitals) -> None:
    with bystander(node):
        answers = dict(zip(pdus.AFTER, hear_on_associations(node, [*pdus.AFTER.values()], waits=True), strict=True))
    assert {kind for kinds in answers.values() for kind in kinds} <= DICOM
    assert answers["release twice"][0] in (RELEASE_RP, ABORT)
    check_is_as_before(node, before)


@pytest.mark.parametrize("seed", [1, 2])
def test_random_bytes_and_broken_requests_change_nothing(node: Nodus, before: Vitals, seed: int) -> None:
    answers = hear(node, pdus.random_requests(seed, 120))
    assert {kind for kinds in answers for kind in kinds} <= DICOM
    check_is_as_before(node, before)


@pytest.mark.parametrize("seed", [3, 4])
def test_broken_messages_change_nothing(node: Nodus, before: Vitals, seed: int) -> None:
    answers = hear_on_associations(node, pdus.random_messages(seed, 120))
    assert {kind for kinds in answers for kind in kinds} <= DICOM
    check_is_as_before(node, before)


def test_a_peer_that_stops_in_the_middle_of_a_message_is_left_behind(node: Nodus, before: Vitals) -> None:
    """It keeps its connection open and says nothing more: the node's own limit ends it."""
    one = Scanner(node.dicom_port, [pdus.CT, pdus.ECHO], "SLOW")
    one.socket.sendall(pdus.command() + b"\x04\0\0\0\x10\0half")
    one.socket.settimeout(HANGS_UP_WITHIN_S)
    with pytest.raises(Ended):
        while True:
            one.read_pdu()
    one.socket.close()
    check_is_as_before(node, before)
