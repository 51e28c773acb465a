"""Who is let in before it has said a word, how many at once, and how refusals are summed up."""

import multiprocessing
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from node.dicom.places import NoPlace, Place, Places
from node.domain.peers import Regard, Sender, Standing, admits, host_network, plain_address, regard_of
from node.domain.reception import AssociationRefused
from node.domain.refusals import CALLERS, NAMES_OF_AN_ADDRESS, Refusals
from tests.studies import AT

ALLOWED, PENDING, DENIED = Standing.ALLOWED, Standing.PENDING, Standing.DENIED

# addresses


@pytest.mark.parametrize(
    ("senders", "address", "regard"),
    [
        ([], "10.0.0.5", Regard.STRANGER),
        ([Sender("CT1", "10.0.0.5/32", ALLOWED)], "10.0.0.5", Regard.KNOWN),
        ([Sender("CT1", "10.0.0.5/32", ALLOWED)], "10.0.0.6", Regard.STRANGER),
        ([Sender("CT1", "10.0.0.5/32", PENDING)], "10.0.0.5", Regard.STRANGER),
        ([Sender("*", "10.0.0.5/32", PENDING)], "10.0.0.5", Regard.STRANGER),
        ([Sender("CT1", "10.0.0.5/32", DENIED)], "10.0.0.5", Regard.STRANGER),
        ([Sender("*", "10.0.0.0/24", DENIED)], "10.0.0.5", Regard.DENIED),
        ([Sender("*", "10.0.0.0/24", DENIED), Sender("CT1", "10.0.0.5/32", ALLOWED)], "10.0.0.5", Regard.KNOWN),
        ([Sender("*", "10.0.0.0/24", DENIED), Sender("CT1", "10.0.0.0/24", ALLOWED)], "10.0.0.5", Regard.KNOWN),
        ([Sender("*", "10.0.0.5/32", DENIED), Sender("CT1", "10.0.0.0/24", ALLOWED)], "10.0.0.5", Regard.DENIED),
        ([Sender("*", "10.0.0.0/24", ALLOWED), Sender("BAD", "10.0.0.5/32", DENIED)], "10.0.0.5", Regard.KNOWN),
        ([Sender("*", "10.0.0.0/24", ALLOWED)], "::ffff:10.0.0.5", Regard.KNOWN),
        ([Sender("*", "fd00::/8", ALLOWED)], "fd12::7%eth0", Regard.KNOWN),
    ],
)
def test_an_address_is_known_where_somebody_may_be_heard_from_it(
    senders: list[Sender], address: str, regard: Regard
) -> None:
    assert regard_of(senders, address) is regard
    assert regard_of(senders[::-1], address) is regard


def test_who_may_be_heard_never_comes_from_an_address_that_is_not_known() -> None:
    networks = ("10.0.0.0/24", "10.0.0.5/32")
    places = [(title, network) for title in ("*", "A", "B") for network in networks]
    for number in range(3 ** len(places)):
        chosen = [(number // 3**place % 3, *each) for place, each in enumerate(places)]
        senders = [Sender(title, network, (ALLOWED, DENIED)[kind]) for kind, title, network in chosen if kind < 2]
        heard = any(admits(senders, title, "10.0.0.5") for title in ("A", "B", "UNNAMED"))
        assert heard == (regard_of(senders, "10.0.0.5") is Regard.KNOWN), senders


def test_an_address_is_written_as_networks_name_it() -> None:
    assert plain_address("::ffff:10.0.0.5") == plain_address("::FFFF:a00:5") == "10.0.0.5"
    assert plain_address("fe80::1%eth0") == "fe80::1"
    assert (host_network("::ffff:10.0.0.5"), host_network("fd00::7")) == ("10.0.0.5/32", "fd00::7/128")


# refusals


def refusal(name: str = "EVIL", address: str = "10.0.0.9", reason: str = "not known") -> AssociationRefused:
    return AssociationRefused(name, "NODUS", address, reason, True, AT)


def told(refusals: Refusals, many: list[AssociationRefused], now: float = 0.0) -> list[AssociationRefused]:
    return [each for one in many if (each := refusals.take(one, now))]


def test_the_first_refusal_is_told_at_once_and_the_rest_is_one_sum() -> None:
    refusals = Refusals(60.0)
    assert told(refusals, [refusal()] * 40) == [refusal()]
    assert list(refusals.due(59.9)) == []
    (summed,) = refusals.due(60.0)
    assert (summed.calling_ae_title, summed.address, summed.count) == ("EVIL", "10.0.0.9", 39)


def test_after_a_while_without_refusals_the_next_is_told_at_once_again() -> None:
    refusals = Refusals(60.0)
    told(refusals, [refusal()] * 2)
    assert [each.count for each in refusals.due(60.0)] == [1]
    assert told(refusals, [refusal()], 100.0) == []
    assert [each.count for each in refusals.due(120.0)] == [1]
    assert list(refusals.due(180.0)) == []
    assert told(refusals, [refusal()], 181.0) == [refusal()]


def test_another_reason_or_address_is_another_story() -> None:
    others = [refusal(), refusal(reason="too many"), refusal(address="10.0.0.8"), refusal(name="EVIL2")]
    assert told(Refusals(60.0), others) == others


def test_who_makes_names_up_gets_one_nameless_row_for_the_rest_and_every_refusal_is_counted() -> None:
    refusals = Refusals(60.0)
    first = told(refusals, [refusal(f"E{number}") for number in range(1000)])
    assert len(first) == NAMES_OF_AN_ADDRESS + 1
    assert (first[-1].calling_ae_title, first[-1].address, first[-1].unknown_caller) == ("", "10.0.0.9", False)
    assert sum(each.count for each in (*first, *refusals.due(60.0))) == 1000


def test_many_addresses_cost_no_more_memory_than_that_and_every_refusal_is_counted() -> None:
    refusals = Refusals(60.0)
    first = told(refusals, [refusal(f"E{n % 3}", f"10.0.{n // 256}.{n % 256}") for n in range(5000)])
    assert len(first) == CALLERS + 1
    assert (first[-1].calling_ae_title, first[-1].address) == ("", "")
    assert sum(each.count for each in (*first, *refusals.rest())) == 5000
    assert list(refusals.rest()) == []


# places


def places(folder: Path, total: int = 5, each: int = 3) -> Places:
    return Places(folder, total, each)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    places(tmp_path / "associations").prepare()
    return tmp_path / "associations"


def take(some: Places, address: str, count: int) -> list[Place]:
    return [some.take(address) for _ in range(count)]


def test_places_are_limited_for_each_address_and_in_total_and_can_be_given_back(folder: Path) -> None:
    some = places(folder)
    first = take(some, "10.0.0.1", 3)
    with pytest.raises(NoPlace, match="from this address"):
        some.take("10.0.0.1")
    take(some, "10.0.0.2", 2)
    with pytest.raises(NoPlace, match="associations are open"):
        some.take("10.0.0.2")
    first[0].leave()
    some.take("10.0.0.2")
    with pytest.raises(NoPlace, match="too many associations are open"):
        some.take("10.0.0.1")


def test_who_finds_no_place_holds_none(folder: Path) -> None:
    some = places(folder, total=1)
    held = some.take("10.0.0.1")
    for _ in range(10):
        with pytest.raises(NoPlace):
            some.take("10.0.0.2")
    held.leave()
    assert len(take(places(folder, total=3), "10.0.0.2", 3)) == 3


def _hold(folder: Path, pipe: Connection) -> None:
    held = take(places(folder), "10.0.0.1", 2)
    pipe.send(len(held))
    signal.pause()


@contextmanager
def holder(folder: Path) -> Iterator[int]:
    """Another process that holds two places; gives its id."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_hold, args=(folder, theirs))
    process.start()
    try:
        assert ours.recv() == 2
        assert process.pid is not None
        yield process.pid
    finally:
        process.kill()
        process.join()
        ours.close()
        theirs.close()


def test_a_process_that_is_killed_gives_its_places_back(folder: Path) -> None:
    some = places(folder)
    with holder(folder) as pid:
        one = some.take("10.0.0.1")
        with pytest.raises(NoPlace):
            some.take("10.0.0.1")
        os.kill(pid, signal.SIGKILL)
    one.leave()
    assert len(take(some, "10.0.0.1", 3)) == 3


def test_a_process_without_descriptors_says_so_and_keeps_none(folder: Path) -> None:
    some = places(folder)
    used = len(os.listdir("/dev/fd"))  # noqa: PTH208
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (used, hard))  # listing took one itself: one more can be opened
    try:
        with pytest.raises(OSError, match="Too many open files"):
            take(some, "10.0.0.1", 2)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(take(some, "10.0.0.2", 3)) == 3
