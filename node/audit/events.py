"""What PS3.15 calls what happens here: kinds of our audit rows to events of CID 400 and 401, and to parts in them."""

from dataclasses import dataclass
from enum import Enum, auto

from node.domain.audit import EventKind


@dataclass(frozen=True)
class Code:
    """A coded value of the schema (PS3.15 A.5.1)."""

    value: str
    system: str
    meaning: str


def dcm(value: str, meaning: str) -> Code:
    """A code of DICOM."""
    return Code(value, "DCM", meaning)


def own(value: str, meaning: str) -> Code:
    """A code of ours, where DICOM has none."""
    return Code(value, "99NODUS", meaning)


class Parts(Enum):
    """Who takes part in an event, and as what; the actor of the row is the peer, the operator or a part of Nodus."""

    STARTED = auto()
    """The application, and who launched it."""
    RECEIVED = auto()
    """The peer is the source, we are the destination."""
    SENT = auto()
    """We are the source, the peer is the destination; where the row names none, whoever gets results of its job."""
    CALLED = auto()
    """The peer asked for something, of us."""
    ACTED = auto()
    """The actor did something with our help."""


@dataclass(frozen=True)
class Sort:
    """What a message says of one kind of row, beside the row itself."""

    event: Code
    action: str = "E"
    """C, R, U, D or E (PS3.15 A.5.1: EventActionCode)."""
    types: tuple[Code, ...] = ()
    parts: Parts = Parts.ACTED


APPLICATION = dcm("110100", "Application Activity")
LOG_USED = dcm("110101", "Audit Log Used")
BEGIN_TRANSFERRING = dcm("110102", "Begin Transferring DICOM Instances")
ACCESSED = dcm("110103", "DICOM Instances Accessed")
TRANSFERRED = dcm("110104", "DICOM Instances Transferred")
DELETED = dcm("110105", "DICOM Study Deleted")
EXPORT = dcm("110106", "Export")
IMPORT = dcm("110107", "Import")
PATIENT = dcm("110110", "Patient Record")
PROCEDURE = dcm("110111", "Procedure Record")
QUERY = dcm("110112", "Query")
SECURITY = dcm("110113", "Security Alert")

NODE_AUTHENTICATION = (dcm("110126", "Node Authentication"),)
NETWORK_CONFIGURATION = (dcm("110128", "Network Configuration"),)
SECURITY_CONFIGURATION = (dcm("110129", "Security Configuration"),)
SOFTWARE_CONFIGURATION = (dcm("110131", "Software Configuration"),)
RESTRICTED_FUNCTION = (dcm("110132", "Use of Restricted Function"),)

_OF_A_STUDY = Sort(PROCEDURE, "U")
_BY_NETWORK = Sort(SECURITY, types=NETWORK_CONFIGURATION)
_BY_SOFTWARE = Sort(SECURITY, types=SOFTWARE_CONFIGURATION)
_BY_OPERATOR = Sort(SECURITY, types=RESTRICTED_FUNCTION)

SORTS: dict[str, Sort] = {
    EventKind.NODE_STARTED: Sort(APPLICATION, types=(dcm("110120", "Application Start"),), parts=Parts.STARTED),
    EventKind.NODE_STOPPED: Sort(APPLICATION, types=(dcm("110121", "Application Stop"),), parts=Parts.STARTED),
    EventKind.ASSOCIATION_REFUSED: Sort(SECURITY, types=NODE_AUTHENTICATION, parts=Parts.CALLED),
    EventKind.INSTANCES_REGISTERED: Sort(TRANSFERRED, "C", parts=Parts.RECEIVED),
    EventKind.INSTANCE_REFUSED: Sort(TRANSFERRED, "C", parts=Parts.RECEIVED),
    EventKind.INSTANCE_CONFLICT: Sort(TRANSFERRED, "U", parts=Parts.RECEIVED),
    EventKind.DEMOGRAPHICS_CHANGED: Sort(PATIENT, "U", parts=Parts.CALLED),
    EventKind.VERSIONS_SETTLED: Sort(ACCESSED, "U"),
    EventKind.SERIES_COMPLETE: _OF_A_STUDY,
    EventKind.STUDY_COMPLETE: _OF_A_STUDY,
    EventKind.STUDY_NOT_ANALYSED: _OF_A_STUDY,
    EventKind.JOB_CREATED: Sort(PROCEDURE, "C"),
    EventKind.JOB_SUPERSEDED: _OF_A_STUDY,
    EventKind.JOB_CLAIMED: Sort(ACCESSED, "R"),
    EventKind.JOB_GIVEN_BACK: _OF_A_STUDY,
    EventKind.JOB_DONE: Sort(ACCESSED, "C"),
    EventKind.JOB_FAILED: _OF_A_STUDY,
    EventKind.JOB_DEAD: _OF_A_STUDY,
    EventKind.JOB_RETRIED: _OF_A_STUDY,
    EventKind.JOB_CANCELLED: Sort(PROCEDURE, "D"),
    EventKind.JOB_PRIORITISED: _OF_A_STUDY,
    EventKind.RESULTS_RELEASED: Sort(BEGIN_TRANSFERRING, parts=Parts.SENT),
    EventKind.RESULTS_HELD: _OF_A_STUDY,
    EventKind.RESULTS_RESENT: Sort(BEGIN_TRANSFERRING, parts=Parts.SENT),
    EventKind.RESULT_DELIVERED: Sort(TRANSFERRED, "R", parts=Parts.SENT),
    EventKind.RESULT_REFUSED: Sort(TRANSFERRED, "R", parts=Parts.SENT),
    EventKind.QUERY_ANSWERED: Sort(QUERY, parts=Parts.CALLED),
    EventKind.IMAGES_RETRIEVED: Sort(TRANSFERRED, "R", parts=Parts.SENT),
    EventKind.SENDER_CHANGED: Sort(SECURITY, types=SECURITY_CONFIGURATION),
    EventKind.DESTINATION_CHANGED: _BY_NETWORK,
    EventKind.DESTINATION_PAUSED: _BY_NETWORK,
    EventKind.DESTINATION_RESUMED: _BY_NETWORK,
    EventKind.DESTINATION_FORGOTTEN: _BY_NETWORK,
    EventKind.MODEL_ADDED: _BY_SOFTWARE,
    EventKind.MODEL_CHOSEN: _BY_SOFTWARE,
    EventKind.MODEL_IN_SHADOW: _BY_SOFTWARE,
    EventKind.MODEL_OUT_OF_SHADOW: _BY_SOFTWARE,
    EventKind.MODEL_REMOVED: _BY_SOFTWARE,
    EventKind.DRAIN_BEGUN: _BY_OPERATOR,
    EventKind.DRAIN_ENDED: _BY_OPERATOR,
    EventKind.STUDY_PURGED: Sort(DELETED, "D"),
    EventKind.BACKUP_MADE: Sort(EXPORT, "R"),
    EventKind.BACKUP_RESTORED: Sort(IMPORT, "C"),
    EventKind.AUDIT_USED: Sort(LOG_USED, "R"),
}
"""What CID 400 has a word for."""


def sort_of(kind: str) -> Sort:
    """What is said of a kind of row: an event of our own where DICOM has none."""
    return SORTS.get(kind) or Sort(own(kind.replace(" ", "-"), kind.capitalize()))
