"""Answers C-GET and C-MOVE: Patient Root and Study Root at all levels."""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Protocol, cast

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.dsutils import encode
from pynetdicom.presentation import PresentationContext, build_context

from node.dicom import contexts, pacing, statuses
from node.dicom.query_scp import asked_of
from node.dicom.store_scu import Patience, associated, requestor
from node.dicom.suboperations import Originator, Outgoing
from node.domain.peers import Destination
from node.domain.query import PATIENT_ROOT, UNIQUE_KEYS, Query, QueryLevel
from node.domain.reception import Retrieved
from node.domain.retrieval import MOST, Ended, Holding, Tally
from node.errors import NodusError, PeerFailed
from node.headers.recoding import Recoder

log = logging.getLogger(__name__)

MOST_CONTEXTS = 128
"""In an A-ASSOCIATE-RQ: their ids are the odd numbers of a byte (PS3.8 9.3.2.2)."""
MOST_NAMED = 1000
"""SOP Instance UIDs in a Failed SOP Instance UID List: the length of a value of VR UI has 16 bits."""
Outcome = tuple[int, Tally]


class Known(Protocol):
    """What is here, and where it may go."""

    def held(self, wanted: Query, most: int) -> list[Holding]:
        """What the unique keys of a retrieval name, at most so many and one more."""

    def destination(self, ae_title: str) -> Destination | None:
        """A destination that images may be moved to."""


class RetrieveSCP:
    """Serves EVT_C_GET and EVT_C_MOVE whole: its handlers send every answer themselves."""

    def __init__(
        self,
        ae_title: str,
        known: Known,
        absolute: Callable[[str], Path],
        on_event: Callable[[Retrieved], None],
        may_ask: Callable[[evt.Event], bool],
        patience: Patience,
    ) -> None:
        self._ae_title = ae_title
        self._known = known
        self._absolute = absolute
        self._on_event = on_event
        self._may_ask = may_ask
        self._patience = patience

    def on_get(self, event: evt.Event) -> None:
        """C-GET: what is named goes out on the association that asked."""
        self._serve(event, "C-GET", self._get)

    def on_move(self, event: evt.Event) -> None:
        """C-MOVE: what is named goes to a destination."""
        self._serve(event, "C-MOVE", self._move)

    def _serve(self, event: evt.Event, service: str, run: Callable[[evt.Event, list[Holding]], Outcome]) -> None:
        query, status, tally = None, statuses.UNABLE_TO_PROCESS, Tally(0)
        try:
            if not self._may_ask(event):
                status = statuses.NOT_AUTHORISED
            elif (query := _query_of(event)) is None:
                status = statuses.IDENTIFIER_MISMATCH
            else:
                status, tally = self._outcome(event, query, run)
        except Exception:
            log.exception("a retrieval failed")
        _answer(event, status, tally)
        self._tell(event, service, query, (status, tally))

    def _outcome(self, event: evt.Event, query: Query, run: Callable[[evt.Event, list[Holding]], Outcome]) -> Outcome:
        holdings = self._known.held(query, MOST)
        if len(holdings) > MOST:
            return statuses.UNABLE_TO_COUNT, Tally(0)
        return run(event, holdings)

    def _get(self, event: evt.Event, holdings: list[Holding]) -> Outcome:
        with Recoder(self._recoded) as recoder:
            outgoing = Outgoing(event.assoc, self._absolute, recoder, self._patience.answer_s)
            return _all_of(event, holdings, outgoing, lambda: not pacing.is_open(event.assoc))

    def _move(self, event: evt.Event, holdings: list[Holding]) -> Outcome:
        destination = self._known.destination(_destination_of(event))
        if destination is None:
            return statuses.MOVE_DESTINATION_UNKNOWN, Tally(0)
        if not holdings:
            return statuses.SUCCESS, Tally(0)
        ours = requestor(self._ae_title, self._patience)
        try:
            with associated(ours, destination, offered(holdings)) as association, Recoder(self._recoded) as recoder:
                by = Originator(event.assoc.requestor.primitive.calling_ae_title, int(event.request.MessageID))
                outgoing = Outgoing(association, self._absolute, recoder, self._patience.answer_s, by)
                with pacing.undisturbed(association):
                    outcome = _all_of(event, holdings, outgoing, lambda: _nobody_waits(event))
                if not outgoing.is_usable:
                    association.abort()  # who did not answer would not answer a release either
                return outcome
        except PeerFailed:
            tally = Tally(len(holdings))
            for holding in holdings:
                tally.add(holding, Ended.FAILED)
            return statuses.SUB_OPERATIONS_FAILED, tally

    @property
    def _recoded(self) -> Path:
        """Where copies in other transfer syntaxes lie for the moment."""
        return self._absolute("run/recoded")

    def _tell(self, event: evt.Event, service: str, query: Query | None, outcome: Outcome) -> None:
        status, tally = outcome
        peer = event.assoc.requestor
        level = query.level if query else ""
        destination = _destination_of(event) if service == "C-MOVE" else ""
        counts = tuple(sorted((study, str(how), number) for (study, how), number in tally.ended.items()))
        who = (peer.primitive.calling_ae_title, peer.address)
        now = datetime.now(UTC)
        self._on_event(Retrieved(*who, service, level, destination, tally.total, counts, status, now))


def _query_of(event: evt.Event) -> Query | None:
    """What is to be retrieved; None where the identifier does not name it by unique keys (PS3.4 C.4.2.2.1).

    Orthanc (1.10) names patients in the Study Root model, which has none: whom it means is plain all the same.
    """
    try:
        identifier = event.identifier
        is_of_patient = identifier.QueryRetrieveLevel == QueryLevel.PATIENT
        query = asked_of(event, identifier, PATIENT_ROOT if is_of_patient else ())
    except (NodusError, AttributeError, ValueError, KeyError, TypeError):
        return None
    named = query.keys.get(UNIQUE_KEYS[query.level], "")
    return query if named and not set(named) & set("*?") else None


def _destination_of(event: evt.Event) -> str:
    return str(event.request.MoveDestination or "").strip()


def _nobody_waits(event: evt.Event) -> bool:
    return bool(event.is_cancelled) or not pacing.is_open(event.assoc)


def _all_of(
    event: evt.Event, holdings: Sequence[Holding], outgoing: Outgoing, is_stopped: Callable[[], bool]
) -> Outcome:
    """One sub-operation after the other, a pending answer after each but the last, until it is cancelled."""
    tally = Tally(len(holdings))
    for holding in holdings:
        if _nobody_waits(event):
            return statuses.CANCELLED, tally
        tally.add(holding, outgoing.send(holding, is_stopped))
        if tally.remaining:
            _answer(event, statuses.PENDING, tally)
    return _status_of(tally), tally


def _status_of(tally: Tally) -> int:
    """PS3.4 C.4.2.3.1: a warning where some failed, a failure where all did."""
    if tally.total and tally.count(Ended.FAILED) == tally.total:
        return statuses.SUB_OPERATIONS_FAILED
    is_clean = tally.count(Ended.COMPLETED) == tally.total
    return statuses.SUCCESS if is_clean else statuses.SUB_OPERATIONS_WITH_FAILURES


def offered(holdings: Sequence[Holding]) -> list[PresentationContext]:
    """What is proposed to a destination: each class as it is stored, then uncompressed."""
    stored = dict.fromkeys((each.sop_class_uid, each.transfer_syntax_uid) for each in holdings)
    plain = dict.fromkeys((each.sop_class_uid, str(syntax)) for each in holdings for syntax in contexts.UNCOMPRESSED)
    return [build_context(*pair) for pair in [*stored, *(each for each in plain if each not in stored)][:MOST_CONTEXTS]]


def _answer(event: evt.Event, status: int, tally: Tally) -> None:
    """One C-GET-RSP or C-MOVE-RSP (PS3.7 9.1.3, 9.1.4)."""
    request = event.request
    response = C_MOVE() if isinstance(request, C_MOVE) else C_GET()
    response.MessageID = request.MessageID
    response.MessageIDBeingRespondedTo = request.MessageID
    response.AffectedSOPClassUID = request.AffectedSOPClassUID
    response.Status = status
    if status in (statuses.PENDING, statuses.CANCELLED):
        response.NumberOfRemainingSuboperations = tally.remaining
    if status == statuses.SUCCESS or tally.total:
        response.NumberOfCompletedSuboperations = tally.count(Ended.COMPLETED)
        response.NumberOfFailedSuboperations = tally.count(Ended.FAILED)
        response.NumberOfWarningSuboperations = tally.count(Ended.WARNING)
    if status not in (statuses.PENDING, statuses.SUCCESS) and tally.total:
        response.Identifier = BytesIO(_failed(tally, UID(event.context.transfer_syntax)))
    if pacing.wait_for_room(event.assoc):
        event.assoc.dimse.send_msg(response, event.context.context_id)


def _failed(tally: Tally, syntax: UID) -> bytes:
    """The identifier of an answer that is no success (PS3.4 C.4.2.1.4.2)."""
    identifier = Dataset()
    identifier.FailedSOPInstanceUIDList = tally.failed_uids[:MOST_NAMED]
    return cast("bytes", encode(identifier, syntax.is_implicit_VR, syntax.is_little_endian))
