"""Earlier exams that an archive is asked for before a study is read: how far that is, and what readers are told."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from node.domain.prior import Person
from node.errors import IllegalMove


class Fetch(StrEnum):
    """How far the look for an earlier exam is."""

    DUE = "due"
    """The archive is to be asked."""
    COMING = "coming"
    """The archive sent what was asked for; it is not complete here yet."""
    FETCHED = "fetched"
    """It is here."""
    NOTHING = "nothing"
    """The archive has no earlier exam that is not here."""
    FAILED = "failed"
    """It could not be asked, or what it has did not come."""


MOVES: dict[Fetch, frozenset[Fetch]] = {
    Fetch.DUE: frozenset({Fetch.COMING, Fetch.FETCHED, Fetch.NOTHING, Fetch.FAILED}),
    Fetch.COMING: frozenset({Fetch.FETCHED, Fetch.FAILED}),
    Fetch.FETCHED: frozenset(),
    Fetch.NOTHING: frozenset(),
    Fetch.FAILED: frozenset({Fetch.DUE}),  # another reading of the study asks again
}
OPEN = (Fetch.DUE, Fetch.COMING)


def move(now: Fetch, then: Fetch) -> Fetch:
    """Return `then` when the table allows it. Raises IllegalMove."""
    if then not in MOVES[now]:
        raise IllegalMove(f"A look for an earlier exam cannot go from {now} to {then}.")
    return then


@dataclass(frozen=True)
class Wanted:
    """An earlier exam of this patient is looked for."""

    id: int
    study_id: int
    study_instance_uid: str
    state: Fetch
    person: Person
    study_date: str
    until: datetime
    prior_study_instance_uid: str


@dataclass(frozen=True)
class ArchivedStudy:
    """A study that an archive says it has; empty where it does not say."""

    study_instance_uid: str
    study_date: str
    person: Person
    description: str
    modalities: tuple[str, ...]


NOT_ASKED = "Earlier exams were not looked for in the archive."
IN_TIME = "Earlier exams did not come from the archive in time."
NOT_FETCHED = "Earlier exams could not be fetched from the archive."
"""Why is for the audit trail: a report names no hosts."""


def notice(state: Fetch | None) -> str:
    """What a report says of it; empty where the archive had its say. `state` None: nobody has asked."""
    if state is None:
        return NOT_ASKED
    if state in OPEN:
        return IN_TIME
    return NOT_FETCHED if state is Fetch.FAILED else ""
