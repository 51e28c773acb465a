"""Receives: C-ECHO and C-STORE. A success means that the file survives a power cut."""

import itertools
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pynetdicom import AE, evt
from pynetdicom.presentation import PresentationContext

from node.dicom import statuses
from node.dicom.upper_layer.acceptor import Acceptor
from node.dicom.upper_layer.association import StreamingAssociation
from node.dicom.upper_layer.messages import StoreAnswer, StoreRequest
from node.domain.instance import InstanceHeader
from node.domain.peers import Sender, admits
from node.domain.reception import (
    AssociationClosed,
    AssociationOpened,
    AssociationRefused,
    Ending,
    InstanceRefused,
    ListeningEvent,
    Reception,
)
from node.errors import BadInput, StoreRefused
from node.headers import header_of, read_elements
from node.spool import IMPLEMENTATION_CLASS_UID, FileIdentity, Incoming, Spool, StoredInstance

log = logging.getLogger(__name__)

CALLING_AE_TITLE_NOT_RECOGNISED = (0x01, 0x01, 0x03)
CALLED_AE_TITLE_NOT_RECOGNISED = (0x01, 0x01, 0x07)
LOCAL_LIMIT_EXCEEDED = (0x02, 0x03, 0x02)
"""Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
REQUEST_WITHIN_S = 5.0
"""A connection that does not ask for an association for so long is closed."""
IMPLEMENTATION_VERSION_NAME = "NODUS"


@dataclass(frozen=True)
class Received:
    """One instance that is safe on disk."""

    stored: StoredInstance
    header: InstanceHeader
    reception: Reception


@dataclass(frozen=True)
class Listening:
    """How the node listens."""

    ae_title: str
    maximum_pdu_bytes: int
    maximum_associations: int
    network_timeout_s: float


Handlers = Sequence[tuple[evt.EventType, Callable[..., object]]]


class StoreSCP:
    """Serves associations on a bound socket. Knows the spool and two callbacks, no SQL."""

    def __init__(
        self,
        listening: Listening,
        spool: Spool,
        on_stored: Callable[[Received], None],
        on_event: Callable[[ListeningEvent], None],
    ) -> None:
        self._listening = listening
        self._spool = spool
        self._on_stored = on_stored
        self._on_event = on_event
        self._senders: tuple[Sender, ...] = ()
        self._acceptor: Acceptor | None = None
        self._numbers = itertools.count(1)
        self._open: dict[StreamingAssociation, _Association] = {}
        self._lock = threading.Lock()

    def know(self, senders: Sequence[Sender]) -> None:
        """Replace the table of senders; associations that are open stay open."""
        self._senders = tuple(senders)

    def serve(self, listener: socket.socket, contexts: list[PresentationContext], handlers: Handlers) -> None:
        """Accept until `stop`. `handlers` serve what is neither C-ECHO nor C-STORE."""
        ae = AE(self._listening.ae_title)
        ae.maximum_pdu_size = self._listening.maximum_pdu_bytes
        ae.maximum_associations = sys.maxsize  # counted in `_requested`: a silent connection is no association
        ae.acse_timeout = REQUEST_WITHIN_S
        ae.network_timeout = self._listening.network_timeout_s
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        own = (
            (evt.EVT_C_ECHO, lambda _: statuses.SUCCESS),
            (evt.EVT_REQUESTED, self._requested),
        )
        self._acceptor = Acceptor(ae, listener, contexts, self, (*own, *handlers))
        self._acceptor.serve()

    def stop(self) -> None:
        """Accept nothing more and abort what is open: an instance without an answer is sent again."""
        if self._acceptor:
            self._acceptor.stop()
        for association in list(self._open):
            association.abort(block=False)

    def _requested(self, event: evt.Event) -> None:
        association = event.assoc
        request = association.requestor.primitive
        called = request.called_ae_title
        if not admits(self._senders, request.calling_ae_title, association.requestor.address):
            self._reject(association, CALLING_AE_TITLE_NOT_RECOGNISED, "calling AE title or address not known")
        elif called != self._listening.ae_title:
            self._reject(association, CALLED_AE_TITLE_NOT_RECOGNISED, "called AE title is not ours")
        elif len(self._open) >= self._listening.maximum_associations:
            self._reject(association, LOCAL_LIMIT_EXCEEDED, "too many associations are open")
        else:
            self._admit(association)

    def _reject(self, association: StreamingAssociation, answer: tuple[int, int, int], reason: str) -> None:
        association.acse.send_reject(*answer)
        association.is_rejected = True
        request = association.requestor.primitive
        unknown = answer == CALLING_AE_TITLE_NOT_RECOGNISED
        address = association.requestor.address
        self._on_event(
            AssociationRefused(request.calling_ae_title, request.called_ae_title, address, reason, unknown, _now())
        )
        association.kill()

    def _admit(self, association: StreamingAssociation) -> None:
        request = association.requestor.primitive
        known = _Association(
            f"{os.getpid()}-{next(self._numbers)}-{_now():%Y%m%dT%H%M%S%f}",
            request.calling_ae_title,
            request.called_ae_title,
            association.requestor.address,
        )
        with self._lock:
            self._open[association] = known
        self._on_event(AssociationOpened(known.id, known.calling_ae_title, known.address, _now()))

    def open_sink(self, association: StreamingAssociation, request: StoreRequest) -> "_Storing":
        """Begin one C-STORE."""
        return _Storing(self._spool, self._open[association], request, self._on_stored, self._on_event)

    def ended(self, association: StreamingAssociation) -> None:
        """Tell how an association ended; one that was refused was never open."""
        with self._lock:
            known = self._open.pop(association, None)
        if known is not None:
            ending = Ending.RELEASED if association.is_released else Ending.ABORTED
            self._on_event(known.closed(ending))


@dataclass
class _Association:
    """One open association and what came over it."""

    id: str
    calling_ae_title: str
    called_ae_title: str
    address: str
    stored: int = 0
    refused: int = 0

    def closed(self, ending: Ending) -> AssociationClosed:
        return AssociationClosed(
            self.id,
            self.calling_ae_title,
            self.called_ae_title,
            self.address,
            ending,
            self.stored,
            self.refused,
            _now(),
        )


class _Storing:
    """One C-STORE: fragments to the spool, checks, publication, answer."""

    def __init__(
        self,
        spool: Spool,
        association: _Association,
        request: StoreRequest,
        on_stored: Callable[[Received], None],
        on_event: Callable[[ListeningEvent], None],
    ) -> None:
        self._association = association
        self._request = request
        self._on_stored = on_stored
        self._on_event = on_event
        self._refusal: StoreRefused | None = None
        self._incoming: Incoming | None = None
        self._reception = Reception(
            association.id,
            association.calling_ae_title,
            association.called_ae_title,
            association.address,
            _now().isoformat(),
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
        self._association.stored += 1
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
        self._association.refused += 1
        known = self._association
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
