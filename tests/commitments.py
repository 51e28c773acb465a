"""Results that are stored at a destination which is asked whether it has them, and answers as it is told."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

from node.catalog import tables
from node.catalog.session import Catalog
from node.domain.commitment import Proof, Reference
from node.domain.peers import Destination
from node.domain.reception import CommitmentReported
from node.errors import PeerFailed
from node.flow import commit
from tests.deliveries import PACS, Delivering, with_results

HOUR = timedelta(hours=1)


@dataclass
class Questioned:
    """A destination at the far end of our own interface."""

    commits: bool = True
    finds: bool = False
    lacks: int = 0
    """So many of what it is asked for by C-FIND it does not find."""
    answers: list[int | Exception] = field(default_factory=list)
    """One for each N-ACTION; then success."""
    away: bool = False
    asked: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    """Transaction UID and SOP Instance UIDs of each N-ACTION."""
    looked: int = 0
    before: Callable[[str], object] = lambda _: None
    """Called with the Transaction UID of an N-ACTION before it is answered."""

    @contextmanager
    def connect(self, _: Destination, _take: object) -> Iterator["Questioned"]:
        if self.away:
            raise PeerFailed("PACS cannot be reached.")
        yield self

    def ask(self, transaction_uid: str, references: Sequence[Reference]) -> int:
        self.asked.append((transaction_uid, tuple(each.sop_instance_uid for each in references)))
        self.before(transaction_uid)
        answer = self.answers.pop(0) if self.answers else 0x0000
        if isinstance(answer, Exception):
            raise answer
        return answer

    def has(self, _: Reference) -> bool:
        self.looked += 1
        self.lacks -= 1
        return self.lacks < 0

    def wait(self) -> None:
        pass


@dataclass
class Proving:
    """A flow whose results are stored at one destination, and are to be proven."""

    delivering: Delivering
    pacs: Questioned = field(default_factory=Questioned)
    proof: Proof = Proof.COMMITMENT

    def __post_init__(self) -> None:
        flow = self.delivering.flow
        (self.to,) = flow.destination(replace(PACS, commitment=self.proof))
        self.delivering.to = self.to

    def step(self) -> bool:
        to, clock = self.to, self.delivering.clock
        jitter = random.Random(1)
        return commit.Confirming(self.delivering.flow.catalog, to, self.pacs.connect, HOUR, jitter, clock).step()

    def rows(self) -> list[dict[str, object]]:
        return self.delivering.flow.rows(tables.commitment)

    def askings(self) -> list[object]:
        return [row["state"] for row in self.rows()]

    def waits(self, **time: float) -> None:
        self.delivering.clock.goes_on(timedelta(**time).total_seconds())

    def answer(self, asked: int = -1, kept: Sequence[int] = (0, 1), failed: Sequence[tuple[int, int]] = ()) -> None:
        """The destination answers one of the N-ACTIONs, calling us: which it keeps, and (which, why) it does not."""
        transaction, uids = self.pacs.asked[asked]
        failures = tuple((uids[which], reason) for which, reason in failed)
        said = tuple(uids[which] for which in kept)
        now = self.delivering.clock()
        with self.delivering.flow.catalog.writing() as session:
            commit.reported(session, CommitmentReported("PACS", "10.0.0.9", transaction, said, failures, now))


def proving(catalog: Catalog, studies: int = 1, proof: Proof = Proof.COMMITMENT, stored: bool = True) -> Proving:
    """Results of some studies, all stored."""
    delivering = with_results(catalog, studies)
    if stored:
        assert delivering.step()
    return Proving(delivering, proof=proof)
