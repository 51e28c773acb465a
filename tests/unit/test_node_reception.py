"""domain/reception.py: who is connected, and how the last associations ended."""

from node.domain.reception import AssociationClosed, AssociationOpened, Ending, OpenAssociations
from tests.studies import AT


def opened(association: str, calling: str = "CT1", address: str = "10.0.0.1") -> AssociationOpened:
    return AssociationOpened(association, calling, address, AT)


def closed(association: str, ending: Ending = Ending.RELEASED, calling: str = "CT1") -> AssociationClosed:
    return AssociationClosed(association, calling, "NODUS", "10.0.0.1", ending, 1, 0, AT)


def books(*events: AssociationOpened | AssociationClosed) -> OpenAssociations:
    associations = OpenAssociations()
    for event in events:
        associations.take(event)
    return associations


def test_a_released_association_is_done() -> None:
    assert books(opened("a"), closed("a")).done("a", "CT1", "10.0.0.1")


def test_an_open_or_unknown_association_is_not_done() -> None:
    assert not books(opened("a")).done("a", "CT1", "10.0.0.1")
    assert not books().done("a", "CT1", "10.0.0.1")


def test_an_abort_is_never_a_release() -> None:
    assert not books(opened("a"), closed("a", Ending.ABORTED)).done("a", "CT1", "10.0.0.1")


def test_a_sender_with_another_association_open_is_not_done() -> None:
    both = books(opened("a"), opened("b"), closed("a"))
    assert not both.done("a", "CT1", "10.0.0.1")
    both.take(closed("b", Ending.ABORTED))
    assert both.done("a", "CT1", "10.0.0.1")


def test_another_sender_does_not_matter() -> None:
    assert books(opened("a"), opened("b", "CT2"), closed("a")).done("a", "CT1", "10.0.0.1")
    assert books(opened("a"), opened("b", "CT1", "10.0.0.2"), closed("a")).done("a", "CT1", "10.0.0.1")


def test_nobody_knows_how_the_associations_of_a_lost_process_ended() -> None:
    associations = books(opened("a"), opened("b"))
    associations.forget({"a", "unknown"})
    assert len(associations) == 1
    assert not associations.done("a", "CT1", "10.0.0.1")


def test_old_endings_are_forgotten_before_memory_fills() -> None:
    associations = OpenAssociations()
    for number in range(OpenAssociations.REMEMBERED + 1):
        associations.take(closed(f"a-{number}"))
    assert not associations.done("a-0", "CT1", "10.0.0.1")
    assert associations.done("a-1", "CT1", "10.0.0.1")
