"""Tells subscribers what happens to steps: N-EVENT-REPORT on an association that we open (PS3.4 CC.2.4)."""

from collections.abc import Iterator
from contextlib import contextmanager

from pynetdicom.association import Association
from pynetdicom.sop_class import UnifiedProcedureStepEvent, UnifiedProcedureStepPush

from node.dicom import contexts
from node.dicom.store_scu import Patience, associated, requestor
from node.dicom.ups_dataset import event_information
from node.domain.peers import Destination
from node.domain.procedure_events import Notification
from node.errors import PeerFailed


class Telling:
    """An open association with a subscriber."""

    def __init__(self, association: Association, ae_title: str) -> None:
        self._association = association
        self._ae_title = ae_title

    def tell(self, event: Notification) -> int:
        """One event; returns the status. Raises PeerFailed without one."""
        try:
            answer, _ = self._association.send_n_event_report(
                event_information(event.type, event.content, self._ae_title),
                int(event.type),
                UnifiedProcedureStepPush,
                event.sop_instance_uid,
                meta_uid=UnifiedProcedureStepEvent,
            )
        except (RuntimeError, ValueError) as error:
            raise PeerFailed("The association ended before the N-EVENT-REPORT.") from error
        if "Status" not in answer:
            raise PeerFailed("The subscriber did not answer an N-EVENT-REPORT.")
        return int(answer.Status)


@contextmanager
def connected(ae_title: str, patience: Patience, subscriber: Destination) -> Iterator[Telling]:
    """Associate with a subscriber as the SCP of its events (PS3.7 D.3.3.4). Raises PeerFailed."""
    ae = requestor(ae_title, patience)
    with associated(ae, subscriber, [contexts.offered_events()]) as association:
        yield Telling(association, ae_title)
