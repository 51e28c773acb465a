"""A reading as workflow sees it: a Unified Procedure Step (PS3.4 CC), where it stands, and why it ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from node.domain.job import Failure, JobKind, JobState
from node.domain.outcome import Outcome


class StepState(StrEnum):
    """Procedure Step State (PS3.3 C.30.1). It never goes back."""

    SCHEDULED = "SCHEDULED"
    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"


FINAL = (StepState.COMPLETED, StepState.CANCELED)


@dataclass(frozen=True)
class Code:
    """A coded concept."""

    value: str
    meaning: str
    scheme: str = "DCM"


DETECTION = Code("110004", "Computer Aided Detection")
DIAGNOSIS = Code("110003", "Computer Aided Diagnosis")
EQUIPMENT_FAILURE = Code("110501", "Equipment failure")
UNSPECIFIED = Code("110513", "Discontinued for unspecified reason")
FORMATTED_WRONG = Code("110521", "Objects incorrectly formatted")
NOT_SUPPORTED = Code("110522", "Object Types not supported")
INCOMPLETE = Code("110523", "Object Set incomplete")
RESOURCES = Code("110527", "Resource inadequate")
RESCHEDULED = Code("110528", "Discontinued Procedure Step rescheduled")
REASONS = {
    code.value: code
    for code in (EQUIPMENT_FAILURE, UNSPECIFIED, FORMATTED_WRONG, NOT_SUPPORTED, INCOMPLETE, RESOURCES, RESCHEDULED)
}
"""Reasons of discontinuation (PS3.16 CID 9300) by their value."""

AFTER_FAILURE = {Failure.OUT_OF_MEMORY: RESOURCES, Failure.LOST_WORKER: EQUIPMENT_FAILURE}
_SAID = (
    (INCOMPLETE, ("fewer than", "are missing", "removed by retention")),
    (FORMATTED_WRONG, ("is missing", "differ", "one position", "Hounsfield", "different", "burned-in")),
)
"""Words of the sentences of `eligibility`, the first that fits; whatever else is said, the kind of images is why."""


def reason_of(sentences: tuple[str, ...]) -> Code:
    """The code for why a study was not analysed."""
    text = " ".join(sentences)
    return next((code for code, words in _SAID if any(word in text for word in words)), NOT_SUPPORTED)


@dataclass(frozen=True)
class Delivery:
    """How many results of a job stand where, at destinations that are in use."""

    held: int = 0
    due: int = 0
    unconfirmed: int = 0
    """Stored at a destination that is still to confirm that it has them."""
    stored: int = 0
    cancelled: int = 0


@dataclass(frozen=True)
class Standing:
    """Where a step stands, as subscribers are told."""

    state: StepState
    ready: bool = True
    """Whether all images are here (Input Readiness State)."""
    percent: int = 0
    text: str = ""
    reason: Code | None = None
    """Why it was canceled."""
    why: str = ""
    """The same in a sentence; names no patient."""


WAITING = Standing(StepState.SCHEDULED, ready=False, text="Images are being received.")
READY = Standing(StepState.SCHEDULED, text="Waits for a worker.")
DONE = Standing(StepState.COMPLETED, percent=100, text="done")
MOST_OF_A_RUNNING_JOB = 98
AFTER_THE_READING = 99


@dataclass(frozen=True)
class Facts:
    """What decides where a step stands."""

    recorded: Standing
    """As subscribers were told last; what is final stays."""
    job: JobState | None = None
    """None while its study has none."""
    kind: JobKind = JobKind.ANALYSIS
    begun: bool = False
    """Whether a worker ever took the job."""
    stage: str = ""
    progress: int = 0
    failure: str = ""
    outcome: str = ""
    """Of the job: a reading that refused its images has ended without one."""
    reasons: tuple[str, ...] = ()
    """Why the study was not analysed."""
    ended: bool = False
    """Whether the study has an outcome."""
    delivery: Delivery = field(default_factory=Delivery)


def standing_of(facts: Facts) -> Standing:
    """Where a step stands now."""
    if facts.recorded.state in FINAL:
        return facts.recorded
    if facts.job is None or facts.kind is JobKind.NOTICE:
        unread = facts.ended or facts.job is not None
        return _canceled(reason_of(facts.reasons), " ".join(facts.reasons)) if unread else WAITING
    if facts.job is JobState.SUPERSEDED:
        return _superseded(facts)
    if facts.job is JobState.DEAD:
        code = AFTER_FAILURE.get(Failure(facts.failure), UNSPECIFIED) if facts.failure else UNSPECIFIED
        return _canceled(code, f"The analysis failed: {facts.failure}.")
    if facts.job is JobState.CANCELLED:
        return _canceled(UNSPECIFIED, "The analysis was cancelled by an operator.")
    if facts.job is JobState.DONE and facts.outcome == Outcome.NOT_ANALYSED:
        return _canceled(reason_of(facts.reasons), " ".join(facts.reasons))
    return _delivering(facts.delivery) if facts.job is JobState.DONE else _open(facts)


def _open(facts: Facts) -> Standing:
    """A job that is tried again stays in progress: a step never becomes scheduled again."""
    if facts.job is JobState.RUNNING:
        percent = min(facts.progress, MOST_OF_A_RUNNING_JOB)
        return Standing(StepState.IN_PROGRESS, percent=percent, text=facts.stage or "under way")
    return Standing(StepState.IN_PROGRESS, text="Waits to be tried again.") if facts.begun else READY


def _delivering(delivery: Delivery) -> Standing:
    if delivery.held:
        text = "Results wait until the study is complete."
    elif delivery.due:
        text = "Results are being sent."
    elif delivery.unconfirmed:
        text = "Awaiting storage commitment."
    else:
        return DONE
    return Standing(StepState.IN_PROGRESS, percent=AFTER_THE_READING, text=text)


def _superseded(facts: Facts) -> Standing:
    """What was read and not taken back before anybody got it is completed all the same."""
    kept = facts.delivery.stored or not facts.delivery.cancelled
    if facts.stage == "done" and kept:
        return DONE
    return _canceled(RESCHEDULED, "A newer reading of the study took its place.")


def _canceled(reason: Code, why: str) -> Standing:
    return Standing(StepState.CANCELED, reason=reason, why=why, text="canceled")


@dataclass(frozen=True)
class Subject:
    """Whom and what a step is about, as the images say it."""

    study_instance_uid: str
    patient_name: str = ""
    patient_id: str = ""
    issuer_of_patient_id: str = ""
    patient_birth_date: str = ""
    patient_sex: str = ""
    accession_number: str = ""
    referring_physician_name: str = ""
    series_instance_uid: str = ""
    """Of the series that is read; empty while none is chosen."""


@dataclass(frozen=True)
class Output:
    """A result of a step: of several encodings the first, or the one that was sent."""

    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True)
class Step:
    """A Unified Procedure Step."""

    uid: str
    standing: Standing
    subject: Subject
    created_at: datetime
    changed_at: datetime
    priority: int = 0
    """Of the job."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    replaces: str = ""
    """UID of the step of the same study before it."""
    given: Mapping[str, str] = field(default_factory=dict)
    """What its orderer said: keyword to value, of GIVEN."""
    outputs: tuple[Output, ...] = ()


GIVEN = (
    "ProcedureStepLabel",
    "WorklistLabel",
    "CommentsOnTheScheduledProcedureStep",
    "AdmissionID",
    "ExpectedCompletionDateTime",
    "ScheduledProcedureStepStartDateTime",
)
"""Attributes that an orderer may choose, and change before the work begins."""

PRIORITIES = {"HIGH": 10, "MEDIUM": 0, "LOW": -10}
"""Scheduled Procedure Step Priority (PS3.3 C.30.2) to the priority of a job."""


def priority_name(priority: int) -> str:
    """Scheduled Procedure Step Priority of a job."""
    if priority == 0:
        return "MEDIUM"
    return "HIGH" if priority > 0 else "LOW"
