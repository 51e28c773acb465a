"""Query/Retrieve information models: their levels, and what extended negotiation grants (PS3.4 C.5)."""

from dataclasses import dataclass

from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelGet,
    PatientRootQueryRetrieveInformationModelMove,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from node.domain.query import PATIENT_ROOT, STUDY_ROOT, QueryLevel

FIND = (StudyRootQueryRetrieveInformationModelFind, PatientRootQueryRetrieveInformationModelFind)
RETRIEVE = (
    StudyRootQueryRetrieveInformationModelMove,
    StudyRootQueryRetrieveInformationModelGet,
    PatientRootQueryRetrieveInformationModelMove,
    PatientRootQueryRetrieveInformationModelGet,
)
_PATIENT_ROOT = frozenset(
    {
        PatientRootQueryRetrieveInformationModelFind,
        PatientRootQueryRetrieveInformationModelMove,
        PatientRootQueryRetrieveInformationModelGet,
    }
)
_GRANTED = {**dict.fromkeys(FIND, b"\1\1\0\0\0"), **dict.fromkeys(RETRIEVE, b"\1\0")}
"""Relational; date and time as one range; neither fuzzy names nor time zones nor conversion to multi-frame."""


@dataclass(frozen=True)
class Granted:
    """What was asked for by extended negotiation, and granted."""

    relational: bool = False
    """Unique keys of the levels above need not be given."""
    together: bool = False
    """A date and a time are one range."""


NOTHING = Granted()


def levels_of(sop_class: UID) -> tuple[QueryLevel, ...]:
    """The levels of a model, from its root."""
    return PATIENT_ROOT if sop_class in _PATIENT_ROOT else STUDY_ROOT


def on_extended(event: evt.Event) -> dict[UID, bytes]:
    """EVT_SOP_EXTENDED: as many bytes as were asked for, each granted or not."""
    return {uid: _answer(asked, _GRANTED[uid]) for uid, asked in event.app_info.items() if uid in _GRANTED}


def _answer(asked: bytes, granted: bytes) -> bytes:
    return bytes(one & other for one, other in zip(asked, granted, strict=False)) or b"\0"


def granted_to(event: evt.Event) -> Granted:
    """What the requestor of a query or retrieval was granted for its model."""
    asked = event.assoc.requestor.sop_class_extended.get(event.context.abstract_syntax, b"")
    flags = _answer(asked, _GRANTED.get(event.context.abstract_syntax, b"")) + b"\0\0"
    return Granted(relational=flags[0] == 1, together=flags[1] == 1)
