"""An association that was accepted: its negotiation is pynetdicom's, its C-STORE requests go to sinks."""

import queue
import socket
import ssl
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from pynetdicom import AE, evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AddressInformation, AssociationSocket

from node.dicom.upper_layer.messages import StoreRequest, StoreSink
from node.dicom.upper_layer.provider import StreamingDUL
from node.domain.peers import Regard
from node.tls import names_of, said

TLS_HANDSHAKE = b"\x16"
"""First byte of a ClientHello (RFC 8446 5.1); no PDU begins with it (PS3.8 9.3.1)."""


class Service(Protocol):
    """What an Acceptor serves."""

    def regard(self, address: str) -> Regard:
        """What to expect of an address; called before anything is read from it."""

    def turned_away(self, address: str, reason: str, *, alarming: bool = False) -> None:
        """A connection was closed before its caller had named itself; `alarming` where it could not prove itself."""

    def open_sink(self, association: "StreamingAssociation", request: StoreRequest) -> StoreSink:
        """Begin one C-STORE; called in the association's network thread."""

    def ended(self, association: "StreamingAssociation") -> None:
        """The association is over; `is_released` says whether it was released."""


@dataclass(frozen=True)
class Connection:
    """Where an association comes from."""

    peer: socket.socket
    address: str
    """As networks name it: plain IPv4 where IPv6 only wraps it."""
    tls: ssl.SSLContext | None = None
    """Set where the peer must shake hands first."""


class _Checkpoint(threading.Event):
    """Stands in for the event that pynetdicom's association loop passes each turn: there it sleeps until needed."""

    def __init__(self, attention: threading.Event, messages: queue.Queue[Any]) -> None:
        super().__init__()
        self._attention = attention
        self._messages = messages

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the checkpoint, then for something to do (at most 0.5 s: the idle timer is looked at there)."""
        passed = super().wait(timeout)
        if self._messages.empty():  # each turn takes one
            self._attention.wait(0.5)
        self._attention.clear()
        return passed


class StreamingAssociation(Association):
    """An accepted association whose C-STORE requests are streamed to sinks."""

    def __init__(self, ae: AE, connection: Connection, contexts: list[PresentationContext], service: "Service") -> None:
        super().__init__(ae, MODE_ACCEPTOR)
        self._service = service
        self._connection = connection
        self.is_admitted = False
        """Set by the service: until then it is cut when its time is over."""
        self.is_secure = False
        """Whether it came over TLS."""
        self.certified = frozenset[str]()
        """Names of the certificate that its caller has shown, in lower case."""
        self.user = ""
        """Who its caller said and proved that its user is."""
        self.attention = threading.Event()
        self._reactor_checkpoint = _Checkpoint(self.attention, self.dimse.msg_queue)
        self._reactor_checkpoint.set()
        self.dul = StreamingDUL(self)
        self.acse_timeout = ae.acse_timeout
        self.network_timeout = ae.network_timeout
        _limit_waiting(connection.peer, self.network_timeout)
        self.set_socket(AssociationSocket(self, client_socket=connection.peer))
        port = connection.peer.getpeername()[1]
        self.requestor.address_info = AddressInformation.from_tuple((connection.address, port))
        self.acceptor.address_info = AddressInformation.from_tuple(connection.peer.getsockname())
        self.acceptor.ae_title = ae.ae_title
        self.acceptor.maximum_length = ae.maximum_pdu_size
        self.acceptor.implementation_class_uid = ae.implementation_class_uid
        self.acceptor.implementation_version_name = ae.implementation_version_name
        self.acceptor.supported_contexts = contexts  # shared: negotiation only reads them

    def run_reactor(self) -> None:
        """Serve the association to its end, then close the connection."""
        try:
            if self._is_as_agreed():
                super().run_reactor()
        finally:
            self.dul.kill_dul()
            if self.dul.socket:
                self.dul.socket.close()
            self._connection.peer.close()  # pynetdicom leaves one open that its peer has reset
            if not self._started_dul:
                self.dul.close_wakers()
            self._service.ended(self)

    def _is_as_agreed(self) -> bool:
        """TLS where that is spoken, and none where it is not."""
        if self._connection.tls is not None:
            return self._shake_hands(self._connection.tls)
        with suppress(OSError):
            if self._connection.peer.recv(1, socket.MSG_PEEK) == TLS_HANDSHAKE:
                self._service.turned_away(self._connection.address, "TLS on the plain port", alarming=True)
                return False
        return True

    def _shake_hands(self, tls: ssl.SSLContext) -> bool:
        """TLS, in this thread: who is slow at it keeps nobody else waiting."""
        peer = self._connection.peer
        try:
            peer.settimeout(self.acse_timeout)  # of the whole handshake
            peer = tls.wrap_socket(peer, server_side=True, do_handshake_on_connect=False)
            self.dul.socket.socket = peer
            peer.do_handshake()
            peer.settimeout(self.network_timeout)  # a wrapped socket goes on asking when the kernel's limit is over
        except OSError as error:
            self._service.turned_away(self._connection.address, f"no TLS handshake: {said(error)}", alarming=True)
            return False
        self.is_secure, self.certified = True, names_of(peer.getpeercert())
        return True

    @property
    def is_secured(self) -> bool:
        """Whether it came over TLS; true before the handshake, too."""
        return self._connection.tls is not None

    def cut(self) -> None:
        """End the connection from another thread: what is waited for does not come."""
        peer = self.dul.socket.socket if self.dul.socket else None
        if peer is not None:
            with suppress(OSError):  # it has just ended by itself
                socket.socket.shutdown(peer, socket.SHUT_RDWR)  # past TLS, which is the other thread's

    def _serve_request(self, msg: Any, context_id: int) -> None:
        """C-GET and C-MOVE are served by their handlers alone: pynetdicom would hold each instance in memory."""
        kind = {C_GET: evt.EVT_C_GET, C_MOVE: evt.EVT_C_MOVE}.get(type(msg))
        context = self._accepted_cx.get(context_id)
        if kind is None or context is None or not msg.is_valid_request:
            super()._serve_request(msg, context_id)
            return
        self.dimse.cancel_req = {}
        evt.trigger(
            self,
            kind,
            {
                "request": msg,
                "context": context.as_tuple,
                "_is_cancelled": lambda message_id: message_id in self.dimse.cancel_req,
            },
        )
        self.dimse.cancel_req = {}

    def open_sink(self, request: StoreRequest) -> StoreSink:
        """Begin one C-STORE."""
        return self._service.open_sink(self, request)

    def kill(self) -> None:
        """End the association's threads."""
        self.attention.set()
        super().kill()


def _limit_waiting(peer: socket.socket, seconds: float) -> None:
    """Let the kernel keep the time: Python's own timeout asks poll before each read."""
    peer.settimeout(None)
    limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
