"""domain/peers.py: who is heard."""

import pytest

from node.domain.peers import Sender, Standing, admits, standing_of

ALLOWED, DENIED, PENDING = Standing.ALLOWED, Standing.DENIED, Standing.PENDING
LOOPBACK = Sender("*", "127.0.0.0/8", ALLOWED)


@pytest.mark.parametrize(
    ("senders", "ae_title", "address", "admitted"),
    [
        ([LOOPBACK], "ANY", "127.0.0.1", True),
        ([LOOPBACK], "ANY", "127.255.255.255", True),
        ([LOOPBACK], "ANY", "128.0.0.1", False),
        ([LOOPBACK], "ANY", "::1", False),
        ([], "ANY", "127.0.0.1", False),
        ([Sender("CT1", "10.0.0.5/32", ALLOWED)], "CT1", "10.0.0.5", True),
        ([Sender("CT1", "10.0.0.5/32", ALLOWED)], "CT2", "10.0.0.5", False),
        ([Sender("CT1", "10.0.0.5/32", ALLOWED)], "ct1", "10.0.0.5", False),
        ([Sender("CT1", "10.0.0.5/32", ALLOWED)], "CT1", "10.0.0.6", False),
        ([Sender("CT1", "10.0.0.5/32", PENDING)], "CT1", "10.0.0.5", False),
        ([Sender("CT1", "10.0.0.5/32", DENIED)], "CT1", "10.0.0.5", False),
        ([Sender("*", "fd00::/8", ALLOWED)], "CT1", "fd12::7", True),
        # the more specific entry speaks
        ([LOOPBACK, Sender("BAD", "127.0.0.1/32", DENIED)], "BAD", "127.0.0.1", False),
        ([LOOPBACK, Sender("BAD", "127.0.0.1/32", DENIED)], "GOOD", "127.0.0.1", True),
        ([Sender("*", "10.0.0.0/8", DENIED), Sender("*", "10.1.0.0/16", ALLOWED)], "A", "10.1.2.3", True),
        ([Sender("*", "10.0.0.0/8", DENIED), Sender("*", "10.1.0.0/16", ALLOWED)], "A", "10.2.2.3", False),
        ([Sender("*", "10.0.0.5/32", DENIED), Sender("CT1", "10.0.0.0/24", ALLOWED)], "CT1", "10.0.0.5", False),
        ([Sender("*", "10.0.0.0/24", DENIED), Sender("CT1", "10.0.0.0/24", ALLOWED)], "CT1", "10.0.0.1", True),
        # who waits for a decision has none of its own yet
        ([Sender("CT1", "10.0.0.5/32", PENDING), Sender("*", "10.0.0.0/24", ALLOWED)], "CT1", "10.0.0.5", True),
        ([Sender("CT1", "10.0.0.5/32", PENDING), Sender("*", "10.0.0.0/24", DENIED)], "CT1", "10.0.0.5", False),
    ],
)
def test_the_most_specific_entry_decides(senders: list[Sender], ae_title: str, address: str, admitted: bool) -> None:
    assert admits(senders, ae_title, address) is admitted
    assert admits(senders[::-1], ae_title, address) is admitted


def test_nobody_speaks_of_a_stranger() -> None:
    assert standing_of([LOOPBACK], "X", "10.0.0.1") is None
