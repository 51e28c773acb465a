"""An association that was accepted: its negotiation is pynetdicom's, its C-STORE requests go to sinks."""

import socket
import threading
from typing import Protocol

from pynetdicom import AE
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AddressInformation, AssociationSocket

from node.dicom.upper_layer.messages import StoreRequest, StoreSink
from node.dicom.upper_layer.provider import StreamingDUL


class Service(Protocol):
    """What an Acceptor serves."""

    def open_sink(self, association: "StreamingAssociation", request: StoreRequest) -> StoreSink:
        """Begin one C-STORE; called in the association's network thread."""

    def ended(self, association: "StreamingAssociation") -> None:
        """The association is over; `is_released` says whether it was released."""


class _Checkpoint(threading.Event):
    """Stands in for the event that pynetdicom's association loop passes each turn: there it sleeps until needed."""

    def __init__(self, attention: threading.Event) -> None:
        super().__init__()
        self._attention = attention

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the checkpoint, then for something to do (at most 0.5 s: the idle timer is looked at there)."""
        passed = super().wait(timeout)
        self._attention.wait(0.5)
        self._attention.clear()
        return passed


class StreamingAssociation(Association):
    """An accepted association whose C-STORE requests are streamed to sinks."""

    def __init__(self, ae: AE, peer: socket.socket, contexts: list[PresentationContext], service: "Service") -> None:
        super().__init__(ae, MODE_ACCEPTOR)
        self._service = service
        self.attention = threading.Event()
        self._reactor_checkpoint = _Checkpoint(self.attention)
        self._reactor_checkpoint.set()
        self.dul = StreamingDUL(self)
        self.acse_timeout = ae.acse_timeout
        self.network_timeout = ae.network_timeout
        self.set_socket(AssociationSocket(self, client_socket=peer))
        self.requestor.address_info = AddressInformation.from_tuple(peer.getpeername())
        self.acceptor.address_info = AddressInformation.from_tuple(peer.getsockname())
        self.acceptor.ae_title = ae.ae_title
        self.acceptor.maximum_length = ae.maximum_pdu_size
        self.acceptor.implementation_class_uid = ae.implementation_class_uid
        self.acceptor.implementation_version_name = ae.implementation_version_name
        self.acceptor.supported_contexts = contexts  # shared: negotiation only reads them

    def run_reactor(self) -> None:
        """Serve the association to its end, then close the connection."""
        try:
            super().run_reactor()
        finally:
            self.dul.kill_dul()
            if self.dul.socket:
                self.dul.socket.close()
            self._service.ended(self)

    def open_sink(self, request: StoreRequest) -> StoreSink:
        """Begin one C-STORE."""
        return self._service.open_sink(self, request)

    def kill(self) -> None:
        """End the association's threads."""
        self.attention.set()
        super().kill()
