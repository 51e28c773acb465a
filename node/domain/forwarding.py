"""Images on their way to a further destination, as they came."""

from dataclasses import dataclass
from enum import StrEnum

from node.errors import IllegalMove


class ForwardState(StrEnum):
    """Where an image stands with one destination."""

    DUE = "due"
    """To be sent, or to be tried again."""
    DELIVERED = "delivered"
    """The destination answered that it is stored."""
    COMMITTED = "committed"
    """The destination was asked, and confirmed that it has it."""
    REFUSED = "refused"
    """The destination will never take it."""
    CANCELLED = "cancelled"
    """Another version took its place before it was sent, or an operator gave the destination up."""


MOVES: dict[ForwardState, frozenset[ForwardState]] = {
    ForwardState.DUE: frozenset(
        {ForwardState.DUE, ForwardState.DELIVERED, ForwardState.REFUSED, ForwardState.CANCELLED}
    ),
    ForwardState.DELIVERED: frozenset({ForwardState.DUE, ForwardState.COMMITTED}),  # due: the destination lost it
    ForwardState.COMMITTED: frozenset({ForwardState.DUE}),  # only when an operator says that it was lost
    ForwardState.REFUSED: frozenset({ForwardState.DUE}),
    ForwardState.CANCELLED: frozenset({ForwardState.DUE}),  # it counts again
}


def move(now: ForwardState, then: ForwardState) -> ForwardState:
    """Return `then` when the table allows it. Raises IllegalMove."""
    if then not in MOVES[now]:
        raise IllegalMove(f"A forwarded image cannot go from {now} to {then}.")
    return then


@dataclass(frozen=True)
class Image:
    """One image that is due at one destination."""

    forward_id: int
    study_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    path: str
    """Relative to the data directory."""
    digest: str
    """SHA-256 of its data set, hex."""
    failures: int
    """Failed attempts so far, connections that were not made included."""

    @property
    def kind(self) -> tuple[str, str]:
        """(SOP class, transfer syntax): what a presentation context is proposed for."""
        return self.sop_class_uid, self.transfer_syntax_uid
