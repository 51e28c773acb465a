"""Asks whether results are kept: storage commitment (PS3.4 J), its answer on whichever association; C-FIND else."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pydicom import Dataset
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
)

from node.dicom import contexts, query_scu, statuses
from node.dicom.store_scu import Patience, associated, requestor
from node.domain.commitment import Proof, Reference, Report
from node.domain.peers import Destination
from node.errors import PeerFailed

log = logging.getLogger(__name__)

REQUEST_STORAGE_COMMITMENT = 1
"""Action Type (PS3.4 Table J.3-1)."""
ALL_KEPT, SOME_NOT = 1, 2
"""Event Types (PS3.4 Table J.3-2)."""
HERE_S = 5.0
"""Who answers on the association that it was asked on does so within seconds; the others call us."""
LOOKS_EVERY_S = 0.1

Take = Callable[[str, str, Report], int]
"""AE title and address of who answers, and the answer; returns the status. It is durable when that is success."""


class Reports:
    """Serves EVT_N_EVENT_REPORT."""

    def __init__(self, take: Take) -> None:
        self._take = take

    def on_report(self, event: evt.Event) -> tuple[int, None]:
        """One answer; success only when it cannot be lost any more."""
        if event.event_type not in (ALL_KEPT, SOME_NOT):
            return statuses.NO_SUCH_EVENT_TYPE, None
        try:
            report = report_of(event.event_information)
        except (AttributeError, ValueError, TypeError, KeyError):
            return statuses.INVALID_ARGUMENT, None
        peer = event.assoc.requestor if event.assoc.is_acceptor else event.assoc.acceptor
        title = peer.primitive.calling_ae_title if event.assoc.is_acceptor else peer.ae_title
        try:
            return self._take(str(title), str(peer.address), report), None
        except Exception:
            log.exception("an answer to storage commitment could not be kept: it is not acknowledged")
            return statuses.PROCESSING_FAILURE, None


def report_of(information: Dataset) -> Report:
    """Read the Event Information (PS3.4 Table J.3-2). Raises AttributeError, ValueError, TypeError."""
    kept = information.get("ReferencedSOPSequence") or []
    missing = information.get("FailedSOPSequence") or []
    return Report(
        str(information.TransactionUID),
        tuple(str(each.ReferencedSOPInstanceUID) for each in kept),
        tuple(
            (str(each.ReferencedSOPInstanceUID), int(each.get("FailureReason") or statuses.PROCESSING_FAILURE))
            for each in missing
        ),
    )


def request_of(transaction_uid: str, references: Sequence[Reference]) -> Dataset:
    """The Action Information (PS3.4 Table J.3-1)."""
    request = Dataset()
    request.TransactionUID = transaction_uid
    request.ReferencedSOPSequence = [_item(each) for each in references]
    return request


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    return item


class Asking:
    """An open association to a destination that is asked what it keeps."""

    def __init__(self, association: Association, waiting: "_Waiting") -> None:
        self._association = association
        self._waiting = waiting
        accepted = {str(context.abstract_syntax) for context in association.accepted_contexts}
        self.commits = str(StorageCommitmentPushModel) in accepted
        """Whether it takes requests for storage commitment."""
        self.finds = str(StudyRootQueryRetrieveInformationModelFind) in accepted
        """Whether it answers C-FIND."""

    def ask(self, transaction_uid: str, references: Sequence[Reference]) -> int:
        """N-ACTION; returns the status: success says that an answer will come. Raises PeerFailed without one."""
        self._waiting.expect(transaction_uid)
        try:
            answer, _ = self._association.send_n_action(
                request_of(transaction_uid, references),
                REQUEST_STORAGE_COMMITMENT,
                StorageCommitmentPushModel,
                StorageCommitmentPushModelInstance,
            )
        except (RuntimeError, ValueError) as error:
            raise PeerFailed("The association ended before the N-ACTION.") from error
        if "Status" not in answer:
            raise PeerFailed("The destination did not answer an N-ACTION.")
        if answer.Status != statuses.SUCCESS:
            self._waiting.expect_no_more(transaction_uid)
        return int(answer.Status)

    def has(self, reference: Reference) -> bool:
        """C-FIND for one instance. Raises PeerFailed where that is not answered."""
        return query_scu.has(self._association, reference)

    def wait(self) -> None:
        """Stay a moment: the answers may come on this association."""
        self._waiting.wait(lambda: bool(self._association.is_established))


class _Waiting:
    """For answers on the association that was asked on, until each is acknowledged there."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self._expected: set[str] = set()
        self._over = threading.Event()

    def expect(self, transaction_uid: str) -> None:
        self._expected.add(transaction_uid)

    def expect_no_more(self, transaction_uid: str) -> None:
        self._expected.discard(transaction_uid)

    def on_report(self, event: evt.Event) -> tuple[int, None]:
        status, nothing = self._reports.on_report(event)
        if status == statuses.SUCCESS:
            self.expect_no_more(str(event.event_information.TransactionUID))
        return status, nothing

    def on_sent(self, event: evt.Event) -> None:
        """A release must not overtake the acknowledgement: it is on the wire with this."""
        if not self._expected and isinstance(event.pdu, P_DATA_TF):
            self._over.set()

    def wait(self, is_open: Callable[[], bool]) -> None:
        until = time.monotonic() + HERE_S
        while self._expected or not self._over.is_set():
            if time.monotonic() >= until or not is_open() or self._over.wait(LOOKS_EVERY_S):
                return


@contextmanager
def connected(ae_title: str, patience: Patience, destination: Destination, take: Take) -> Iterator[Asking]:
    """Associate with a destination in order to ask it what it keeps. Raises PeerFailed."""
    waiting = _Waiting(Reports(take))
    handlers = ((evt.EVT_N_EVENT_REPORT, waiting.on_report), (evt.EVT_PDU_SENT, waiting.on_sent))
    offered = contexts.offered_questions(commitment=destination.commitment is Proof.COMMITMENT)
    with associated(requestor(ae_title, patience), destination, offered, handlers) as association:
        yield Asking(association, waiting)
