"""domain/procedure*.py: what a job is as a Unified Procedure Step, and what may be done to it in which state."""

import pytest

from node.domain.admins import Admin, is_admin
from node.domain.eligibility import REFUSALS
from node.domain.job import Failure, JobKind, JobState
from node.domain.procedure import (
    DONE,
    EQUIPMENT_FAILURE,
    FORMATTED_WRONG,
    INCOMPLETE,
    NOT_SUPPORTED,
    READY,
    RESCHEDULED,
    RESOURCES,
    UNSPECIFIED,
    WAITING,
    Code,
    Delivery,
    Facts,
    Standing,
    StepState,
    priority_name,
    reason_of,
    standing_of,
)
from node.domain.procedure_events import EventType, events_of
from node.domain.procedure_rules import UpsStatus, is_well, to_cancel, to_change, to_update

SCHEDULED, RUNNING, COMPLETED, CANCELED = StepState
OWN = "2.25.1"


def facts(job: JobState | None, **more: object) -> Facts:
    return Facts(READY, job, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "state", "percent", "text"),
    [
        (facts(None), SCHEDULED, 0, "Images are being received."),
        (facts(JobState.QUEUED), SCHEDULED, 0, "Waits for a worker."),
        (facts(JobState.QUEUED, begun=True), RUNNING, 0, "Waits to be tried again."),
        (facts(JobState.RUNNING, stage="detect", progress=40), RUNNING, 40, "detect"),
        (facts(JobState.RUNNING, stage="save", progress=100), RUNNING, 98, "save"),
        (facts(JobState.DONE, delivery=Delivery(held=2)), RUNNING, 99, "Results wait until the study is complete."),
        (facts(JobState.DONE, delivery=Delivery(due=1, stored=1)), RUNNING, 99, "Results are being sent."),
        (facts(JobState.DONE, delivery=Delivery(unconfirmed=1)), RUNNING, 99, "Awaiting storage commitment."),
        (facts(JobState.DONE, delivery=Delivery(stored=2)), COMPLETED, 100, "done"),
        (facts(JobState.DONE), COMPLETED, 100, "done"),
        (facts(JobState.SUPERSEDED, stage="done", delivery=Delivery(stored=2)), COMPLETED, 100, "done"),
    ],
)
def test_a_job_stands_as_a_step_where_the_table_says(given: Facts, state: StepState, percent: int, text: str) -> None:
    now = standing_of(given)
    assert (now.state, now.percent, now.text, now.reason) == (state, percent, text, None)
    assert now.ready is (given.job is not None)


@pytest.mark.parametrize(
    ("given", "reason", "why"),
    [
        (facts(JobState.DEAD, failure=Failure.OUT_OF_MEMORY), RESOURCES, "The analysis failed: out of memory."),
        (facts(JobState.DEAD, failure=Failure.LOST_WORKER), EQUIPMENT_FAILURE, "The analysis failed: lost worker."),
        (facts(JobState.DEAD, failure=Failure.UNKNOWN), UNSPECIFIED, "The analysis failed: unknown."),
        (facts(JobState.CANCELLED), UNSPECIFIED, "The analysis was cancelled by an operator."),
        (facts(JobState.SUPERSEDED), RESCHEDULED, "A newer reading of the study took its place."),
        (
            facts(JobState.SUPERSEDED, stage="done", delivery=Delivery(cancelled=2)),
            RESCHEDULED,
            "A newer reading of the study took its place.",
        ),
        (facts(JobState.QUEUED, kind=JobKind.NOTICE, reasons=("Some are missing.",)), INCOMPLETE, "Some are missing."),
        (
            facts(JobState.DONE, outcome="not analysed", reasons=("The pixel values are not in Hounsfield units.",)),
            FORMATTED_WRONG,
            "The pixel values are not in Hounsfield units.",
        ),
        (facts(None, ended=True, reasons=("These are not CT images.",)), NOT_SUPPORTED, "These are not CT images."),
    ],
)  # fmt: skip
def test_what_ended_without_results_is_canceled_and_says_why(given: Facts, reason: Code, why: str) -> None:
    now = standing_of(given)
    assert (now.state, now.reason, now.why) == (CANCELED, reason, why)


@pytest.mark.parametrize("final", [DONE, Standing(CANCELED, reason=UNSPECIFIED, text="canceled")])
@pytest.mark.parametrize("job", list(JobState))
def test_a_step_that_has_ended_stays_so(final: Standing, job: JobState) -> None:
    assert standing_of(Facts(final, job, failure=Failure.UNKNOWN)) == final


def test_every_sentence_of_a_refusal_has_the_code_that_fits() -> None:
    codes = {rule.code: reason_of((rule.sentence,)) for rule in REFUSALS}
    assert {name for name, code in codes.items() if code is INCOMPLETE} == {"too-few-slices", "slices-missing"}
    wrong = {"geometry-missing", "size-varies", "orientation-varies", "position-twice", "not-hounsfield", "burned-in"}
    assert {name for name, code in codes.items() if code is FORMATTED_WRONG} == {*wrong, "patient-varies"}
    assert reason_of(("There is no CT image in the study.",)) is NOT_SUPPORTED


@pytest.mark.parametrize(
    ("now", "wanted", "uid", "status"),
    [
        (SCHEDULED, SCHEDULED, OWN, UpsStatus.SCHEDULED_BY_CREATE_ONLY),
        (RUNNING, COMPLETED, "", UpsStatus.WRONG_TRANSACTION_UID),
        (SCHEDULED, RUNNING, "2.25.9", UpsStatus.NOT_AUTHORISED),
        (RUNNING, RUNNING, "2.25.9", UpsStatus.IN_PROGRESS_ALREADY),
        (COMPLETED, RUNNING, "2.25.9", UpsStatus.NO_LONGER_UPDATED),
        (CANCELED, RUNNING, "2.25.9", UpsStatus.NO_LONGER_UPDATED),
        (SCHEDULED, COMPLETED, OWN, UpsStatus.NOT_IN_PROGRESS),
        (RUNNING, COMPLETED, "2.25.9", UpsStatus.WRONG_TRANSACTION_UID),
        (RUNNING, COMPLETED, OWN, UpsStatus.FINAL_STATE_NOT_MET),
        (COMPLETED, COMPLETED, OWN, UpsStatus.COMPLETED_ALREADY),
        (CANCELED, COMPLETED, OWN, UpsStatus.NO_LONGER_UPDATED),
        (SCHEDULED, CANCELED, OWN, UpsStatus.NOT_IN_PROGRESS),
        (RUNNING, CANCELED, "2.25.9", UpsStatus.WRONG_TRANSACTION_UID),
        (RUNNING, CANCELED, OWN, UpsStatus.SUCCESS),
        (COMPLETED, CANCELED, OWN, UpsStatus.NO_LONGER_UPDATED),
        (CANCELED, CANCELED, OWN, UpsStatus.CANCELED_ALREADY),
    ],
)
def test_a_change_of_state_is_answered_as_the_standard_says(
    now: StepState, wanted: StepState, uid: str, status: UpsStatus
) -> None:
    assert to_change(now, wanted, uid, OWN) is status


def test_attributes_are_set_before_the_work_or_by_who_does_it() -> None:
    assert to_update(SCHEDULED, "", "") is UpsStatus.SUCCESS
    assert to_update(SCHEDULED, OWN, "") is UpsStatus.NOT_IN_PROGRESS
    assert to_update(RUNNING, "", OWN) is UpsStatus.WRONG_TRANSACTION_UID
    assert to_update(RUNNING, "", "") is UpsStatus.WRONG_TRANSACTION_UID
    assert to_update(RUNNING, OWN, OWN) is UpsStatus.SUCCESS
    assert {to_update(state, OWN, OWN) for state in (COMPLETED, CANCELED)} == {UpsStatus.NO_LONGER_UPDATED}


def test_a_cancellation_is_granted_while_there_is_something_to_stop() -> None:
    assert to_cancel(SCHEDULED, stoppable=True) is to_cancel(RUNNING, stoppable=True) is UpsStatus.SUCCESS
    assert to_cancel(RUNNING, stoppable=False) is UpsStatus.PERFORMER_GOES_ON
    assert to_cancel(COMPLETED, stoppable=False) is UpsStatus.COMPLETED
    assert to_cancel(CANCELED, stoppable=False) is UpsStatus.CANCELED_ALREADY


def test_warnings_are_well_and_failures_are_not() -> None:
    well = {status for status in UpsStatus if is_well(status)}
    assert well == {status for status in UpsStatus if status < 0x0100 or 0xB000 <= status < 0xC000}


def test_events_say_what_happened_since_the_last_look() -> None:
    running = Standing(RUNNING, percent=10, text="lungs")
    assert events_of(None, READY) == [EventType.STATE_REPORT]
    assert events_of(WAITING, READY) == [EventType.STATE_REPORT]
    assert events_of(READY, running) == [EventType.STATE_REPORT, EventType.ASSIGNED, EventType.PROGRESS_REPORT]
    assert events_of(running, Standing(RUNNING, percent=20, text="detect")) == [EventType.PROGRESS_REPORT]
    assert events_of(running, DONE) == [EventType.STATE_REPORT]
    assert events_of(running, running) == []


def test_priorities_have_three_names() -> None:
    assert [priority_name(each) for each in (-3, 0, 1)] == ["LOW", "MEDIUM", "HIGH"]


@pytest.mark.parametrize(
    ("title", "address", "admin"),
    [
        ("ADMIN", "10.0.0.5", True),
        ("ADMIN", "::ffff:10.0.0.5", True),
        ("ADMIN", "10.0.1.5", False),
        ("OTHER", "10.0.0.5", False),
        ("admin", "10.0.0.5", False),
    ],
)
def test_an_admin_is_known_by_name_and_address(title: str, address: str, admin: bool) -> None:
    assert is_admin([Admin("ADMIN", "10.0.0.0/24")], title, address) is admin
