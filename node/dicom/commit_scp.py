"""Storage commitment for senders (PS3.4 J): takes their requests, and calls them back with the answer."""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from pydicom import Dataset
from pynetdicom import evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from node.dicom import statuses
from node.dicom.contexts import offered_commitment
from node.dicom.store_scu import Patience, associated, requestor
from node.domain.peers import Destination
from node.domain.promise import Verdict, Wanted
from node.domain.reception import PromiseAsked
from node.errors import PeerFailed

log = logging.getLogger(__name__)

REQUEST_STORAGE_COMMITMENT = 1
"""Action Type (PS3.4 Table J.3-1)."""
ALL_KEPT, SOME_NOT = 1, 2
"""Event Types (PS3.4 Table J.3-2)."""
LONGEST_UID = 64

Commits = Callable[[str, str], bool]
"""Whether we commit to what a caller (AE title, address) sends."""


class CommitSCP:
    """Serves EVT_N_ACTION. Success says that the request cannot be lost any more; the answer comes later."""

    def __init__(self, commits: Commits, keep: Callable[[PromiseAsked], None]) -> None:
        self._commits = commits
        self._keep = keep

    def on_request(self, event: evt.Event) -> tuple[int, None]:
        """One request."""
        peer = event.assoc.requestor
        title, address = str(peer.primitive.calling_ae_title), str(peer.address)
        if not self._commits(title, address):
            return statuses.SOP_CLASS_NOT_SUPPORTED, None
        if event.action_type != REQUEST_STORAGE_COMMITMENT:
            return statuses.NO_SUCH_ACTION, None
        try:
            transaction_uid, wanted = wanted_of(event.action_information)
        except (AttributeError, ValueError, TypeError, KeyError):
            return statuses.INVALID_ARGUMENT, None
        try:
            self._keep(PromiseAsked(title, address, transaction_uid, wanted, datetime.now(UTC)))
        except Exception:
            log.exception("a request for storage commitment could not be kept: it is not acknowledged")
            return statuses.PROCESSING_FAILURE, None
        return statuses.SUCCESS, None


def wanted_of(information: Dataset) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Transaction UID, and (SOP Class UID, SOP Instance UID) of what is asked for (PS3.4 Table J.3-1). Raises
    AttributeError, ValueError, TypeError."""
    wanted = tuple(
        (str(each.ReferencedSOPClassUID), str(each.ReferencedSOPInstanceUID))
        for each in information.ReferencedSOPSequence
    )
    transaction_uid = str(information.TransactionUID)
    for uid in (transaction_uid, *(uid for pair in wanted for uid in pair)):
        if not 0 < len(uid) <= LONGEST_UID:
            raise ValueError("A UID has 1 to 64 characters.")
    if not wanted:
        raise ValueError("There is nothing to commit to.")
    return transaction_uid, wanted


def information_of(transaction_uid: str, verdict: Verdict) -> Dataset:
    """The Event Information (PS3.4 Table J.3-2)."""
    told = Dataset()
    told.TransactionUID = transaction_uid
    if verdict.committed:
        told.ReferencedSOPSequence = [_item(each) for each in verdict.committed]
    if verdict.failed:
        told.FailedSOPSequence = [_item(each, reason) for each, reason in verdict.failed]
    return told


def _item(wanted: Wanted, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = wanted.sop_class_uid, wanted.sop_instance_uid
    if reason is not None:
        item.FailureReason = reason
    return item


def tell(ae_title: str, patience: Patience, caller: Destination, transaction_uid: str, verdict: Verdict) -> None:
    """N-EVENT-REPORT on an association of ours, on which we are the SCP (PS3.7 D.3.3.4). Raises PeerFailed where it is
    not taken with success."""
    event_type = SOME_NOT if verdict.failed else ALL_KEPT
    with associated(requestor(ae_title, patience), caller, [offered_commitment()]) as association:
        try:
            answer, _ = association.send_n_event_report(
                information_of(transaction_uid, verdict),
                event_type,
                StorageCommitmentPushModel,
                StorageCommitmentPushModelInstance,
            )
        except (RuntimeError, ValueError) as error:
            raise PeerFailed("The association ended before the N-EVENT-REPORT.") from error
        status: Sequence[int] = [int(answer.Status)] if "Status" in answer else []
        if not status:
            raise PeerFailed("The caller did not answer an N-EVENT-REPORT.")
        if status[0] != statuses.SUCCESS:
            raise PeerFailed(f"The caller answered an N-EVENT-REPORT with status 0x{status[0]:04X}.")
