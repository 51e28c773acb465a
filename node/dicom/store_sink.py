"""One C-STORE: fragments to the spool, checks, publication, answer."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from node.dicom import statuses
from node.dicom.upper_layer.messages import StoreAnswer, StoreRequest
from node.domain.instance import InstanceHeader
from node.domain.reception import AssociationClosed, Ending, InstanceRefused, ListeningEvent, Reception
from node.errors import BadInput, StoreRefused
from node.headers import header_of, read_elements
from node.headers.meta import FileIdentity
from node.spool import Incoming, Spool, StoredInstance

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Received:
    """One instance that is safe on disk."""

    stored: StoredInstance
    header: InstanceHeader
    reception: Reception


@dataclass
class Sending:
    """One open association of a sender, and what came over it."""

    id: str
    calling_ae_title: str
    called_ae_title: str
    address: str
    secured: bool = False
    """Over TLS."""
    stored: int = 0
    refused: int = 0
    user: str = ""

    def closed(self, ending: Ending) -> AssociationClosed:
        """It ends now."""
        return AssociationClosed(
            self.id,
            self.calling_ae_title,
            self.called_ae_title,
            self.address,
            ending,
            self.stored,
            self.refused,
            _now(),
            self.secured,
            self.user,
        )


class Storing:
    """One C-STORE."""

    def __init__(
        self,
        spool: Spool,
        sending: Sending,
        request: StoreRequest,
        on_stored: Callable[[Received], None],
        on_event: Callable[[ListeningEvent], None],
    ) -> None:
        self._sending = sending
        self._request = request
        self._on_stored = on_stored
        self._on_event = on_event
        self._refusal: StoreRefused | None = None
        self._incoming: Incoming | None = None
        self._reception = Reception(
            sending.id,
            sending.calling_ae_title,
            sending.called_ae_title,
            sending.address,
            _now().isoformat(),
            sending.secured,
        )
        try:
            self._incoming = spool.receive(self._identity(), self._reception)
        except StoreRefused as refusal:
            self._refusal = refusal

    def _identity(self) -> FileIdentity:
        context, request = self._request.context, self._request
        if context is None:
            raise StoreRefused(statuses.SOP_CLASS_NOT_SUPPORTED, "The presentation context was not accepted.")
        if context.abstract_syntax != request.affected_sop_class_uid:
            raise StoreRefused(
                statuses.DATA_SET_MISMATCH, "The Affected SOP Class UID is not that of the presentation context."
            )
        return FileIdentity(
            request.affected_sop_class_uid, request.affected_sop_instance_uid, context.transfer_syntax[0]
        )

    def write(self, fragment: memoryview) -> None:
        """Take the next bytes; after a refusal they are read and dropped."""
        if self._refusal is None and self._incoming is not None:
            try:
                self._incoming.write(fragment)
            except StoreRefused as refusal:
                self._refusal = refusal

    def finish(self) -> StoreAnswer:
        """Check, publish, tell; then answer."""
        try:
            received = self._publish()
        except StoreRefused as refusal:
            return self._refuse(refusal.status, str(refusal))
        except BadInput as error:
            return self._refuse(statuses.CANNOT_UNDERSTAND, str(error))
        except Exception:
            log.exception("C-STORE failed")
            return self._refuse(statuses.PROCESSING_FAILURE, "Something unexpected happened; the node's log has it.")
        finally:
            self.abandon()
        self._sending.stored += 1
        self._on_stored(received)
        return StoreAnswer(statuses.SUCCESS)

    def abandon(self) -> None:
        """Drop what is not published."""
        if self._incoming is not None:
            self._incoming.__exit__(None, None, None)
            self._incoming = None

    def _publish(self) -> Received:
        if self._refusal is not None or self._incoming is None:
            raise self._refusal or StoreRefused(statuses.PROCESSING_FAILURE, "Nothing was received.")
        self._incoming.begin_sync()
        header = self._header(self._incoming)
        if header.sop_class_uid != self._request.affected_sop_class_uid:
            raise StoreRefused(statuses.DATA_SET_MISMATCH, "SOPClassUID is not the Affected SOP Class UID.")
        if header.sop_instance_uid != self._request.affected_sop_instance_uid:
            raise StoreRefused(statuses.DATA_SET_MISMATCH, "SOPInstanceUID is not the Affected SOP Instance UID.")
        stored = self._incoming.publish(header.sop_instance_uid, header.study_instance_uid)
        return Received(stored, header, replace(self._reception, received_at=_now().isoformat()))

    def _header(self, incoming: Incoming) -> InstanceHeader:
        assert self._request.context is not None
        syntax = self._request.context.transfer_syntax[0]
        with os.fdopen(os.dup(incoming.descriptor), "rb") as file:
            file.seek(incoming.data_set_offset)
            return header_of(read_elements(file, syntax), syntax)

    def _refuse(self, status: int, reason: str) -> StoreAnswer:
        self._sending.refused += 1
        known = self._sending
        self._on_event(
            InstanceRefused(
                known.id,
                known.calling_ae_title,
                known.address,
                self._request.affected_sop_instance_uid,
                status,
                reason,
                _now(),
            )
        )
        return StoreAnswer(status, reason)


def _now() -> datetime:
    return datetime.now(UTC)
