"""What an N-CREATE or N-SET of a step asks for (PS3.4 Table CC.2.5-3), or the status that says what is wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydicom import Dataset
from pydicom.uid import UID

from node.dicom.keys import text_of
from node.domain.procedure import DETECTION, DIAGNOSIS, GIVEN, PRIORITIES, StepState
from node.domain.procedure_rules import UpsStatus
from node.errors import StepRefused

READABLE = (DETECTION.value, DIAGNOSIS.value)
LONGEST = {"ProcedureStepLabel": 64, "WorklistLabel": 64, "AdmissionID": 64}
"""Characters (LO); longer values are cut, as others are at 10240."""


@dataclass(frozen=True)
class Order:
    """A study to be read."""

    uid: str
    """Of the step, as its orderer chose it; empty: we choose."""
    study_instance_uid: str
    priority: int
    given: Mapping[str, str] = field(default_factory=dict)
    modified: bool = False
    """Whether something of it was ignored or put right."""


@dataclass(frozen=True)
class Change:
    """What is set of a step."""

    transaction_uid: str
    priority: int | None
    given: Mapping[str, str]
    modified: bool
    """Whether something of it was ignored or put right."""


def order_of(uid: str, asked: Dataset) -> Order:
    """Raises StepRefused."""
    if uid and not UID(uid).is_valid:
        raise StepRefused(UpsStatus.INVALID_INSTANCE, "The SOP Instance UID is none.")
    if str(asked.get("ProcedureStepState") or "") != StepState.SCHEDULED:
        raise StepRefused(UpsStatus.NOT_CREATED_SCHEDULED, "A step is created SCHEDULED.")
    if asked.get("TransactionUID"):
        raise StepRefused(UpsStatus.INVALID_VALUE, "A step is created without a Transaction UID.")
    _require_reading(asked)
    given, cut = _given(asked)
    named = str(asked.get("ScheduledProcedureStepPriority") or "")
    priority = PRIORITIES.get(named)
    return Order(uid, _study(asked), priority or 0, given, modified=cut or priority is None)


def change_of(asked: Dataset) -> Change:
    """Raises StepRefused."""
    state = str(asked.get("ProcedureStepState") or "")
    if state:
        by_create = state == StepState.SCHEDULED
        status = UpsStatus.SCHEDULED_BY_CREATE_ONLY if by_create else UpsStatus.INVALID_VALUE
        raise StepRefused(status, "The state is changed by N-ACTION.")
    given, cut = _given(asked)
    known = {*GIVEN, "ScheduledProcedureStepPriority", "TransactionUID", "SpecificCharacterSet"}
    named = str(asked.get("ScheduledProcedureStepPriority") or "")
    modified = cut or any(each.keyword not in known for each in asked) or (bool(named) and named not in PRIORITIES)
    return Change(str(asked.get("TransactionUID") or ""), PRIORITIES.get(named), given, modified)


def _require_reading(asked: Dataset) -> None:
    codes = [str(item.get("CodeValue") or "") for item in asked.get("ScheduledWorkitemCodeSequence") or []]
    if codes and not set(codes) & set(READABLE):
        raise StepRefused(UpsStatus.INVALID_VALUE, "This node does computer aided detection (110004, DCM) only.")


def _study(asked: Dataset) -> str:
    """From the input, the request, or the step itself: orderers differ in where they name it."""
    places = [*(asked.get("InputInformationSequence") or []), *(asked.get("ReferencedRequestSequence") or []), asked]
    uids = [str(uid) for place in places if (uid := place.get("StudyInstanceUID"))]
    if not uids:
        raise StepRefused(UpsStatus.MISSING_ATTRIBUTE, "No Study Instance UID names what to read.")
    if len(set(uids)) > 1:
        raise StepRefused(UpsStatus.INVALID_VALUE, "One step reads one study.")
    return uids[0]


def _given(asked: Dataset) -> tuple[dict[str, str], bool]:
    given, cut = {}, False
    for keyword in GIVEN:
        if keyword in asked and (text := text_of(asked[keyword])):
            given[keyword] = text[: LONGEST.get(keyword, 10240)]
            cut |= given[keyword] != text
    return given, cut
