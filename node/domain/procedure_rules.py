"""What may be done to a Unified Procedure Step in which state (PS3.4 Table CC.1.1-2), and the status that says so."""

from enum import IntEnum

from node.domain.procedure import FINAL, StepState


class UpsStatus(IntEnum):
    """Statuses of the Unified Procedure Step services (PS3.4 CC.2), beside those of PS3.7 C."""

    SUCCESS = 0x0000
    ATTRIBUTES_NOT_SUPPORTED = 0x0001
    """Warning: some of what N-GET asked for is nothing that we have."""
    INVALID_VALUE = 0x0106
    PROCESSING_FAILURE = 0x0110
    DUPLICATE = 0x0111
    INVALID_ARGUMENT = 0x0115
    INVALID_INSTANCE = 0x0117
    MISSING_ATTRIBUTE = 0x0120
    NOT_AUTHORISED = 0x0124
    CREATED_WITH_MODIFICATIONS = 0xB300
    CANCELED_ALREADY = 0xB304
    COERCED = 0xB305
    COMPLETED_ALREADY = 0xB306
    NO_LONGER_UPDATED = 0xC300
    WRONG_TRANSACTION_UID = 0xC301
    IN_PROGRESS_ALREADY = 0xC302
    SCHEDULED_BY_CREATE_ONLY = 0xC303
    FINAL_STATE_NOT_MET = 0xC304
    NO_SUCH_STEP = 0xC307
    UNKNOWN_AE_TITLE = 0xC308
    NOT_CREATED_SCHEDULED = 0xC309
    NOT_IN_PROGRESS = 0xC310
    COMPLETED = 0xC311
    PERFORMER_NOT_REACHED = 0xC312
    PERFORMER_GOES_ON = 0xC313
    ACTION_NOT_APPROPRIATE = 0xC314
    NO_EVENT_REPORTS = 0xC315


def is_well(status: int) -> bool:
    """Success or a warning: it was done, or there was nothing to do."""
    return status < 0x0100 or 0xB000 <= status < 0xC000


_TO_BEGIN = {
    StepState.SCHEDULED: UpsStatus.NOT_AUTHORISED,  # our own worker performs, and nobody else
    StepState.IN_PROGRESS: UpsStatus.IN_PROGRESS_ALREADY,
    StepState.COMPLETED: UpsStatus.NO_LONGER_UPDATED,
    StepState.CANCELED: UpsStatus.NO_LONGER_UPDATED,
}
_TO_END = {
    (StepState.COMPLETED, StepState.SCHEDULED): UpsStatus.NOT_IN_PROGRESS,
    (StepState.COMPLETED, StepState.COMPLETED): UpsStatus.COMPLETED_ALREADY,
    (StepState.COMPLETED, StepState.CANCELED): UpsStatus.NO_LONGER_UPDATED,
    (StepState.COMPLETED, StepState.IN_PROGRESS): UpsStatus.FINAL_STATE_NOT_MET,  # only its results complete it
    (StepState.CANCELED, StepState.SCHEDULED): UpsStatus.NOT_IN_PROGRESS,
    (StepState.CANCELED, StepState.COMPLETED): UpsStatus.NO_LONGER_UPDATED,
    (StepState.CANCELED, StepState.CANCELED): UpsStatus.CANCELED_ALREADY,
    (StepState.CANCELED, StepState.IN_PROGRESS): UpsStatus.SUCCESS,
}
"""(wanted, now)."""


def to_change(now: StepState, wanted: StepState, transaction_uid: str, own: str) -> UpsStatus:
    """May the state be changed by an N-ACTION? `own` is the Transaction UID of the worker that holds it, if any."""
    if wanted is StepState.SCHEDULED:
        return UpsStatus.SCHEDULED_BY_CREATE_ONLY
    if not transaction_uid:
        return UpsStatus.WRONG_TRANSACTION_UID
    if wanted is StepState.IN_PROGRESS:
        return _TO_BEGIN[now]
    if now is StepState.IN_PROGRESS and transaction_uid != own:
        return UpsStatus.WRONG_TRANSACTION_UID
    return _TO_END[wanted, now]


def to_update(now: StepState, transaction_uid: str, own: str) -> UpsStatus:
    """May attributes be set?"""
    if now in FINAL:
        return UpsStatus.NO_LONGER_UPDATED
    if now is StepState.SCHEDULED:
        return UpsStatus.NOT_IN_PROGRESS if transaction_uid else UpsStatus.SUCCESS
    return UpsStatus.SUCCESS if own and transaction_uid == own else UpsStatus.WRONG_TRANSACTION_UID


def to_cancel(now: StepState, *, stoppable: bool) -> UpsStatus:
    """May somebody ask for cancellation? `stoppable`: there is a job that waits or runs."""
    if now is StepState.COMPLETED:
        return UpsStatus.COMPLETED
    if now is StepState.CANCELED:
        return UpsStatus.CANCELED_ALREADY
    return UpsStatus.SUCCESS if stoppable else UpsStatus.PERFORMER_GOES_ON
