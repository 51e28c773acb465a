"""flow/deliver.py on both databases: in order, again until it is there, always the same rung."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from node.catalog import tables
from node.catalog.session import Catalog
from node.domain.breaker import BreakerState
from node.errors import BadInput, PeerFailed
from node.flow import release
from node.flow.loop import Loop
from tests.deliveries import EVERYTHING, SEG, SR, Pacs, names, two_destinations, with_results
from tests.flow import PLAIN_SR_CLASS, SEG_CLASS, SR_CLASS, results
from tests.servers import eventually
from tests.studies import AT, Series, after


def test_the_segmentation_goes_first_and_everything_over_one_association(catalog: Catalog) -> None:
    delivering = with_results(catalog, studies=2)
    assert delivering.step()
    assert delivering.pacs.got == names((1, SEG, 0), (1, SR, 0), (2, SEG, 0), (2, SR, 0))
    assert delivering.pacs.associations == 1
    assert delivering.states() == ["delivered"] * 4
    assert [(row["attempts"], row["status"], row["delivered_at"]) for row in delivering.rows()] == [(1, 0, AT)] * 4
    assert not delivering.step()
    (first, *_) = delivering.flow.audit("result delivered")
    assert (first.actor, first.address, first.job_id) == ("PACS", "pacs.local:104", 1)


def test_the_report_waits_for_its_segmentation_and_another_study_does_not(catalog: Catalog) -> None:
    delivering = with_results(catalog, studies=2)
    delivering.pacs.answers = [0xA700]
    assert delivering.step()
    assert delivering.pacs.got == names((1, SEG, 0), (2, SEG, 0), (2, SR, 0))
    assert delivering.states() == ["due", "due", "delivered", "delivered"]


def test_the_report_goes_after_a_segmentation_that_is_refused_for_good(catalog: Catalog) -> None:
    delivering = with_results(catalog)
    delivering.pacs.answers = [0xC000]
    delivering.step()
    assert delivering.states() == ["refused", "delivered"]
    assert delivering.rows()[0]["error"] == "The destination refused it with status 0xC000."
    (entry,) = delivering.flow.audit("result refused")
    assert (entry.outcome, entry.actor) == (8, "PACS")


def test_a_successor_waits_for_what_was_attempted_before_it(catalog: Catalog) -> None:
    delivering = with_results(catalog)
    delivering.pacs.answers = [0x0000, 0xA700]
    delivering.step()
    delivering.flow.receive(Series("0").headers(range(64, 70)), after(1))
    delivering.flow.complete(after(4))
    delivering.flow.finish(2, after(4))
    release.step(catalog, after(4))
    delivering.clock.at = after(1.4)
    delivering.step()
    assert delivering.states() == ["delivered", "due", "due", "due"]
    delivering.clock.goes_on(60)
    delivering.step()
    assert delivering.pacs.got == names((1, SEG, 0), (1, SR, 0), (1, SR, 0), (2, SEG, 0), (2, SR, 0))


def test_one_destination_that_is_down_does_not_hold_up_another(catalog: Catalog) -> None:
    down, up = two_destinations(catalog, Pacs(away=True))
    down.step()
    up.step()
    assert up.states() == ["due", "due", "delivered", "delivered"]


def test_a_result_that_is_not_taken_now_is_tried_again_with_growing_waits(catalog: Catalog) -> None:
    delivering = with_results(catalog)
    delivering.pacs.answers = [0x0110] * 5
    waits = []
    for failures in range(1, 6):
        delivering.step()
        row = delivering.rows()[0]
        assert (row["failures"], row["attempts"], row["status"]) == (failures, failures, 0x0110)
        assert row["error"] == "The destination answered with status 0x0110."
        waits.append((row["not_before"] - delivering.clock.at).total_seconds())  # type: ignore[operator]
        delivering.clock.at = row["not_before"]  # type: ignore[assignment]
    assert all(0.75 * 2**n <= wait <= 1.25 * 2**n for n, wait in enumerate(waits, 1))
    assert delivering.step()
    assert delivering.states() == ["delivered", "delivered"]
    assert delivering.rows()[0]["error"] == ""


def test_a_destination_that_cannot_be_reached_is_said_and_fixes_no_rung(catalog: Catalog) -> None:
    delivering = with_results(catalog)
    delivering.pacs.away = True
    assert not delivering.step()
    row = delivering.rows()[0]
    assert (row["failures"], row["attempts"], row["sop_instance_uid"]) == (1, 0, None)
    assert row["error"] == "PACS cannot be reached."


def test_nothing_is_tried_before_its_wait_is_over(catalog: Catalog) -> None:
    delivering = with_results(catalog)
    delivering.pacs.answers = [0xA700]
    delivering.step()
    delivering.clock.goes_on(1.4)
    assert not delivering.step()
    delivering.clock.goes_on(1.2)
    assert delivering.step()
    assert delivering.pacs.got == names((1, SEG, 0), (1, SEG, 0), (1, SR, 0))


def test_an_association_that_breaks_in_the_middle_loses_nothing(catalog: Catalog) -> None:
    delivering = with_results(catalog)
    delivering.pacs.answers = [0x0000, PeerFailed("The association ended before the C-STORE.")]
    assert not delivering.step()
    assert delivering.states() == ["delivered", "due"]
    assert (delivering.rows()[1]["attempts"], delivering.rows()[1]["failures"]) == (1, 1)
    delivering.clock.goes_on(60)
    delivering.step()
    assert delivering.states() == ["delivered", "delivered"]


def test_an_answer_that_was_lost_is_made_good_by_the_duplicate_status(catalog: Catalog) -> None:
    delivering = with_results(catalog)
    delivering.pacs.answers = [PeerFailed("no answer"), 0x0111]
    delivering.step()
    delivering.clock.goes_on(60)
    delivering.step()
    assert delivering.states() == ["delivered", "delivered"]
    assert delivering.rows()[0]["status"] == 0x0111


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda file: file.write_text("garbage"), "The result's file was altered here: its SHA-256 is another."),
        (lambda file: file.write_text(""), "The result's file was altered here: its SHA-256 is another."),
    ],
    ids=["altered", "empty"],
)
def test_a_file_that_is_not_what_was_made_is_never_sent_and_holds_up_nothing(
    catalog: Catalog, spoil: Callable[[Path], object], error: str
) -> None:
    delivering = with_results(catalog, studies=2)
    spoil(delivering.file(f"results/{names((1, SEG, 0))[0]}"))
    delivering.step()
    assert delivering.pacs.got == names((1, SR, 0), (2, SEG, 0), (2, SR, 0))
    assert delivering.states() == ["refused", "delivered", "delivered", "delivered"]
    assert (delivering.rows()[0]["error"], delivering.rows()[0]["attempts"]) == (error, 0)
    assert [entry.job_id for entry in delivering.flow.audit("result refused")] == [1]


def test_a_file_that_cannot_be_sent_at_all_is_refused_and_holds_up_nothing(catalog: Catalog) -> None:
    delivering = with_results(catalog, studies=2)
    delivering.pacs.answers = [BadInput("The result's file is no DICOM file (InvalidDicomError).")]
    delivering.step()
    assert delivering.states() == ["refused", "delivered", "delivered", "delivered"]
    assert delivering.rows()[0]["error"] == "The result's file is no DICOM file (InvalidDicomError)."


def test_a_file_that_is_away_waits_for_its_volume_to_come_back(catalog: Catalog) -> None:
    delivering = with_results(catalog, studies=2)
    file = delivering.file(f"results/{names((1, SEG, 0))[0]}")
    away = file.rename(file.with_suffix(".away"))
    delivering.step()
    assert delivering.states() == ["due", "due", "delivered", "delivered"]
    assert delivering.rows()[0]["error"] == "The result's file cannot be read here (FileNotFoundError)."
    away.rename(file)
    delivering.clock.goes_on(3600)
    delivering.step()
    assert delivering.states() == ["delivered"] * 4


def test_a_file_that_cannot_be_read_for_now_does_not_hold_up_other_studies(catalog: Catalog) -> None:
    delivering = with_results(catalog, studies=2)
    delivering.pacs.answers = [PermissionError("results/1-SEG-0.dcm")]
    delivering.step()
    delivering.step()
    assert delivering.states() == ["due", "due", "delivered", "delivered"]
    assert delivering.rows()[0]["error"] == "The result's file cannot be read here (PermissionError)."


@pytest.mark.parametrize(
    ("takes", "rung"), [(EVERYTHING, 0), (frozenset({PLAIN_SR_CLASS, SEG_CLASS}), 1), (frozenset({SR_CLASS}), 0)]
)
def test_the_first_rung_that_the_destination_takes_is_sent(catalog: Catalog, takes: frozenset[str], rung: int) -> None:
    delivering = with_results(catalog)
    delivering.pacs.takes = takes
    delivering.step()
    assert delivering.pacs.got[-1:] == names((1, SR, rung))
    assert delivering.rows()[1]["sop_instance_uid"] == results(1, SR)[rung].sop_instance_uid


def test_what_the_destination_does_not_take_at_all_is_refused_and_said(catalog: Catalog) -> None:
    delivering = with_results(catalog)
    delivering.pacs.takes = frozenset({SR_CLASS})
    delivering.step()
    assert delivering.states() == ["refused", "delivered"]
    assert delivering.rows()[0]["error"] == "The destination accepts none of the SOP classes of this result."
    assert delivering.rows()[0]["attempts"] == 0


def test_the_rung_is_fixed_before_the_first_attempt_and_never_changed(catalog: Catalog) -> None:
    delivering = with_results(catalog)
    delivering.pacs.takes = frozenset({SEG_CLASS, PLAIN_SR_CLASS})
    delivering.pacs.answers = [0x0000, PeerFailed("no answer")]
    delivering.step()
    assert delivering.rows()[1]["sop_instance_uid"] == results(1, SR)[1].sop_instance_uid
    delivering.pacs.takes = EVERYTHING
    delivering.clock.goes_on(60)
    delivering.step()
    assert delivering.pacs.got == names((1, SEG, 0), (1, SR, 1), (1, SR, 1))


def test_a_result_that_cannot_be_sent_from_here_waits_alone_and_says_why(catalog: Catalog) -> None:
    """Such as one whose UID another result of that destination has: the database refuses it, each time."""
    delivering = with_results(catalog, studies=3)
    with catalog.writing() as session:
        taken = update(tables.outbox).where(tables.outbox.c.id == 1)
        session.execute(taken.values(state="cancelled", sop_instance_uid=results(2, SEG)[0].sop_instance_uid))
    assert delivering.step()
    assert delivering.pacs.got == names((1, SR, 0), (3, SEG, 0), (3, SR, 0))
    assert delivering.states() == ["cancelled", "delivered", "due", "due", "delivered", "delivered"]
    row = delivering.rows()[2]
    assert (row["error"], row["failures"]) == ("The result cannot be sent from here (IntegrityError).", 1)
    assert delivering.breaker.state is BreakerState.CLOSED


def test_a_database_that_is_away_is_no_fault_of_the_result(catalog: Catalog) -> None:
    delivering = with_results(catalog)
    delivering.pacs.answers = [OperationalError("UPDATE", {}, Exception("away"))]
    with pytest.raises(OperationalError):
        delivering.step()
    assert (delivering.rows()[0]["failures"], delivering.rows()[0]["error"]) == (0, "")


def test_a_destination_that_takes_long_for_each_of_many_results_does_not_hang(catalog: Catalog) -> None:
    delivering, hung = with_results(catalog, studies=2), list[bool]()

    class Slow(Pacs):
        def send(self, path: Path, sop_class_uid: str) -> int:
            hung.append(loop.hangs)
            loop._thread.got_on_at = -1e9  # and this takes for ever
            return super().send(path, sop_class_uid)

    delivering.pacs = Slow()
    loop = Loop("deliver", delivering.step, 3600)
    loop.start()
    eventually(lambda: delivering.states() == ["delivered"] * 4)
    loop.stop(10)
    assert hung == [False] * 4
