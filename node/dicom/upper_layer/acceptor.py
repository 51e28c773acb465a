"""Accepts connections on a socket that several processes share, and begins their associations."""

import select
import socket
import struct
from collections.abc import Callable, Sequence

from pynetdicom import AE, evt
from pynetdicom.presentation import PresentationContext

from node.dicom.upper_layer.association import Service, StreamingAssociation

MOST_SILENT = 64
"""Connections that have not asked for an association yet; they cost two threads each, and have no name to count by."""


class Acceptor:
    """Accepts connections on a socket that somebody else bound, so that several processes can share it."""

    def __init__(
        self,
        ae: AE,
        listener: socket.socket,
        contexts: list[PresentationContext],
        service: Service,
        handlers: Sequence[tuple[evt.EventType, Callable[..., object]]],
    ) -> None:
        self._ae = ae
        self._listener = listener
        self._listener.setblocking(False)
        self._contexts = contexts
        self._service = service
        self._handlers = handlers
        self._silent: list[StreamingAssociation] = []
        self._stopper, self._stopped = socket.socketpair()

    def serve(self) -> None:
        """Accept until `stop`."""
        while True:
            ready, _, _ = select.select([self._listener, self._stopped], [], [])
            if self._stopped in ready:
                return
            try:
                peer, _ = self._listener.accept()
            except OSError:
                continue  # another process was faster, or the caller has gone
            self._begin(peer)

    def stop(self) -> None:
        """Accept nothing more."""
        self._stopper.send(b"\0")

    def _begin(self, peer: socket.socket) -> None:
        self._silent = [each for each in self._silent if each.is_alive() and each.requestor.primitive is None]
        if len(self._silent) >= MOST_SILENT:
            peer.close()
            return
        try:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _limit_waiting(peer, self._ae.network_timeout)
            association = StreamingAssociation(self._ae, peer, self._contexts, self._service)
        except OSError:
            peer.close()  # gone before it said anything
            return
        for event, handler in self._handlers:
            association.bind(event, handler)
        self._silent.append(association)
        association.start()


def _limit_waiting(peer: socket.socket, seconds: float) -> None:
    """Let the kernel keep the time: Python's own timeout asks poll before each read."""
    peer.settimeout(None)
    limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
