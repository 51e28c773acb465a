"""Accepts connections on a socket that several processes share, and begins their associations."""

import logging
import select
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pynetdicom import AE, evt
from pynetdicom.presentation import PresentationContext

from node.dicom.upper_layer.association import Connection, Service, StreamingAssociation
from node.domain.peers import Regard, plain_address

MOST_SILENT = {Regard.KNOWN: 64, Regard.STRANGER: 8, Regard.DENIED: 0}
"""Connections from such addresses that have not been admitted yet; they cost two threads each, and have no name."""
MOST_SILENT_OF_ONE = {Regard.KNOWN: 24, Regard.STRANGER: 2, Regard.DENIED: 0}
"""Of them from one address, so that no single host keeps the others out; known ones may open many at once."""

AFTER_FAILURE_S = 0.05

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Door:
    """A socket that somebody else bound, so that several processes can share it."""

    listener: socket.socket
    tls: Callable[[], ssl.SSLContext | None] | None = None
    """Set where callers must speak TLS: its context for the next of them, None while there is none."""


@dataclass(frozen=True)
class Asking:
    """A connection that has not been admitted yet."""

    association: StreamingAssociation
    address: str
    regard: Regard
    until: float
    """Monotonic time when it is cut, whatever it has said by then."""

    @property
    def is_over(self) -> bool:
        """Admitted, or gone."""
        return self.association.is_admitted or not self.association.is_alive()


class Acceptor:
    """Accepts connections at some doors."""

    def __init__(
        self,
        ae: AE,
        doors: Sequence[Door],
        contexts: list[PresentationContext],
        service: Service,
        handlers: Sequence[tuple[evt.EventType, Callable[..., object]]],
    ) -> None:
        self._ae = ae
        self._doors = tuple(doors)
        for door in self._doors:
            door.listener.setblocking(False)
        self._contexts = contexts
        self._service = service
        self._handlers = handlers
        self._asking: list[Asking] = []
        self._stopper, self._stopped = socket.socketpair()

    def serve(self) -> None:
        """Accept until `stop`; once."""
        with self._stopper, self._stopped:
            self._accept()

    def _accept(self) -> None:
        listeners = [door.listener for door in self._doors]
        while True:
            ready, _, _ = select.select([*listeners, self._stopped], [], [], self._cut_the_slow())
            if self._stopped in ready:
                return
            for door in self._doors:
                if door.listener in ready:
                    self._accept_at(door)

    def _accept_at(self, door: Door) -> None:
        try:
            peer, source = door.listener.accept()
        except BlockingIOError:
            return  # another process was faster
        except OSError:
            self._pause()  # the caller has gone, or no descriptor is left
            return
        self._welcome(peer, plain_address(source[0]), door)

    def stop(self) -> None:
        """Accept nothing more."""
        with suppress(OSError):  # it has stopped already
            self._stopper.send(b"\0")

    def _cut_the_slow(self) -> float | None:
        """End who had the time to be admitted and was not; returns the seconds until the next one has had it."""
        now = time.monotonic()
        for each in self._asking:
            if each.until <= now and not each.is_over:
                each.association.cut()
        self._asking = [each for each in self._asking if each.until > now and not each.is_over]
        return min((each.until - now for each in self._asking), default=None)

    def _welcome(self, peer: socket.socket, address: str, door: Door) -> None:
        regard = self._service.regard(address)
        alike = [each.address for each in self._asking if each.regard is regard and not each.is_over]
        if len(alike) < MOST_SILENT[regard] and alike.count(address) < MOST_SILENT_OF_ONE[regard]:
            self._open(peer, address, regard, door)
            return
        peer.close()
        self._service.turned_away(address, "this address is denied" if regard is Regard.DENIED else "too many at once")

    def _open(self, peer: socket.socket, address: str, regard: Regard, door: Door) -> None:
        tls = door.tls() if door.tls else None
        if door.tls and tls is None:
            peer.close()
            self._service.turned_away(address, "our own certificate cannot be used")
            return
        self._begin(Connection(peer, address, tls), regard)

    def _begin(self, connection: Connection, regard: Regard) -> None:
        peer = connection.peer
        try:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            association = StreamingAssociation(self._ae, connection, self._contexts, self._service)
        except OSError:
            peer.close()  # gone before it said anything
            return
        for event, handler in self._handlers:
            association.bind(event, handler)
        try:
            association.start()
        except RuntimeError:  # no thread is left
            log.error("a connection was closed: no thread can be started")
            association.dul.close_wakers()
            peer.close()
            self._pause()
            return
        self._asking.append(Asking(association, connection.address, regard, time.monotonic() + self._ae.acse_timeout))

    def _pause(self) -> None:
        select.select([self._stopped], [], [], AFTER_FAILURE_S)
