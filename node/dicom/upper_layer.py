"""The upper layer of an accepted association: sleeps on the socket, and streams C-STORE data as it arrives.

pynetdicom 3.0.4 polls with sleeps of 1 ms in two threads an association, and gathers each data set in memory before a
handler sees it. Here the network thread waits on the socket, and in the data transfer state (PS3.8 9.2, Sta6) takes
the P-DATA-TF PDUs of a C-STORE apart itself: fragments go straight to a `StoreSink`, the response straight back.
Every other message takes pynetdicom's own way. The pin in pyproject.toml holds the private names used here.
"""

import logging
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pynetdicom import AE, evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AddressInformation, AssociationSocket

log = logging.getLogger(__name__)

C_STORE_RQ, C_STORE_RSP = 0x0001, 0x8001
NO_DATA_SET = 0x0101
P_DATA_TF_TYPE = 0x04
LAST_FRAGMENT, COMMAND_FRAGMENT = 0x02, 0x01
LONGEST_COMMAND_BYTES = 1 << 16
MOST_SILENT = 64
"""Connections that have not asked for an association yet; they cost two threads each, and have no name to count by."""
PDU_SLACK_BYTES = 1 << 16
"""Tolerated beyond the maximum length that we announced; anything longer is not a PDU."""


@dataclass(frozen=True)
class StoreRequest:
    """A C-STORE-RQ command set (PS3.7 9.3.1.1) and the presentation context it came on."""

    message_id: int
    affected_sop_class_uid: str
    affected_sop_instance_uid: str
    context: PresentationContext | None
    """None when the context was never accepted."""


@dataclass(frozen=True)
class StoreAnswer:
    """What to say in the C-STORE-RSP."""

    status: int
    comment: str = ""
    """(0000,0902), at most 64 characters."""


class StoreSink(Protocol):
    """Takes one data set, fragment by fragment. Never raises for a reason it can name in its answer."""

    def write(self, fragment: memoryview) -> None:
        """Take the next bytes; valid only during the call."""

    def finish(self) -> StoreAnswer:
        """The data set is whole: make it durable, then say how it went."""

    def abandon(self) -> None:
        """The association ended inside the data set."""


class Service(Protocol):
    """What an Acceptor serves."""

    def open_sink(self, association: "StreamingAssociation", request: StoreRequest) -> StoreSink:
        """Begin one C-STORE; called in the association's network thread."""

    def ended(self, association: "StreamingAssociation") -> None:
        """The association is over; `is_released` says whether it was released."""


def parse_command_set(raw: bytes) -> dict[int, bytes]:
    """Element number in group 0000 to value; always Implicit VR Little Endian (PS3.7 6.3.1).

    Raises struct.error when it is cut.
    """
    elements: dict[int, bytes] = {}
    offset = 0
    while offset < len(raw):
        _, element, length = struct.unpack_from("<HHI", raw, offset)
        elements[element] = raw[offset + 8 : offset + 8 + length]
        offset += 8 + length
    return elements


def encode_command_set(elements: dict[int, bytes]) -> bytes:
    """The opposite of `parse_command_set`, with the group length in front."""
    body = b"".join(struct.pack("<HHI", 0, element, len(value)) + value for element, value in sorted(elements.items()))
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def _even(text: str, pad: bytes) -> bytes:
    raw = text.encode("ascii", "replace")
    return raw + pad * (len(raw) % 2)


def _store_response(request: StoreRequest, answer: StoreAnswer) -> bytes:
    elements = {
        0x0002: _even(request.affected_sop_class_uid, b"\0"),
        0x0100: struct.pack("<H", C_STORE_RSP),
        0x0120: struct.pack("<H", request.message_id),
        0x0800: struct.pack("<H", NO_DATA_SET),
        0x0900: struct.pack("<H", answer.status),
        0x1000: _even(request.affected_sop_instance_uid, b"\0"),
    }
    if answer.comment:
        elements[0x0902] = _even(answer.comment[:64], b" ")
    return encode_command_set(elements)


class _Pdv(NamedTuple):
    """One presentation data value (PS3.8 9.3.5.1)."""

    context_id: int
    control: int
    fragment: memoryview


def _pdv_at(body: memoryview, offset: int) -> _Pdv | None:
    """The presentation data value that begins there; None when it does not end inside its PDU."""
    end = offset + 4 + int.from_bytes(body[offset : offset + 4], "big")
    if not offset + 6 <= end <= len(body):
        return None
    return _Pdv(body[offset + 4], body[offset + 5], body[offset + 6 : end])


class _Message:
    """The C-STORE being received on an association."""

    def __init__(self) -> None:
        self.command = bytearray()
        self.held: list[bytes] = []
        self.request: StoreRequest | None = None
        self.context_id = 0
        self.sink: StoreSink | None = None


class StreamingDUL(DULServiceProvider):
    """DUL service provider that is woken instead of polling."""

    def __init__(self, assoc: "StreamingAssociation") -> None:
        super().__init__(assoc)
        self._waker, self._wakened = socket.socketpair()
        self._waker.setblocking(False)
        self._buffer = bytearray()
        self._message: _Message | None = None

    def wake(self) -> None:
        """Make the reactor look at its queues now."""
        try:
            self._waker.send(b"\0")
        except OSError:
            return  # full: it is awake already; closed: it has ended

    def send_pdu(self, primitive: P_DATA) -> None:
        """Queue a primitive for the peer."""
        super().send_pdu(primitive)
        self.wake()

    def kill_dul(self) -> None:
        """End the reactor."""
        super().kill_dul()
        self.wake()

    def stop_dul(self) -> bool:
        """End the reactor if the connection is closed; say whether it was."""
        if self.state_machine.current_state == "Sta1":
            self.kill_dul()
        return bool(super().stop_dul())

    def run_reactor(self) -> None:
        """Run state machine actions as their events come, until killed."""
        self._idle_timer.start()
        self.assoc._dul_ready.set()
        try:
            while not self._kill_thread:
                self._turn()
        except Exception:
            log.exception("association ended by an error of ours")
        finally:
            self._drop_message()
            self.assoc.attention.set()
            self._waker.close()
            self._wakened.close()

    def _turn(self) -> None:
        if self.event_queue.empty():
            self._gather()
        else:
            self.state_machine.do_action(self.event_queue.get())
            self.assoc.attention.set()

    def _gather(self) -> None:
        """Wait for the next thing that makes an event."""
        if self.artim_timer.expired:
            self.event_queue.put("Evt18")
        elif not self._process_recv_primitive() and self._wait() and self._is_transport_event():
            self._idle_timer.restart()

    def _wait(self) -> bool:
        """Sleep until the peer or our own side has something; True when the connection is to be looked at."""
        sock = self.socket.socket if self.socket else None
        if sock is None:
            if not select.select([self._wakened], [], [], 0.05)[0]:
                return False
        elif isinstance(sock, ssl.SSLSocket) and sock.pending():
            return True
        else:
            closing = self.state_machine.current_state == "Sta13"
            ready, _, _ = select.select([sock, self._wakened], [], [], 0.0 if closing else 0.5)
            if self._wakened not in ready:
                return closing or sock in ready
        self._wakened.recv(4096)
        return False

    def _is_transport_event(self) -> bool:
        if self.state_machine.current_state != "Sta6":
            return bool(super()._is_transport_event())
        self._receive_pdu()
        return True

    def _receive_pdu(self) -> None:
        try:
            head = self._read_exactly(6)
            length = int.from_bytes(head[2:6], "big")
            announced = self.assoc.acceptor.maximum_length or 0
            if not 1 <= head[0] <= 7 or length > announced + PDU_SLACK_BYTES:
                self._drop_message()
                self.event_queue.put("Evt19")  # unrecognised or invalid PDU
                return
            pdu_type, head_bytes = head[0], bytes(head)
            body = self._read_exactly(length)
        except OSError:
            self._drop_message()
            self.event_queue.put("Evt17")  # transport connection closed
            return
        if pdu_type != P_DATA_TF_TYPE or not self._take(body):
            self._pass_on(head_bytes + bytes(body))

    def _read_exactly(self, length: int) -> memoryview:
        if len(self._buffer) < length:
            self._buffer = bytearray(length)
        view = memoryview(self._buffer)[:length]
        done = 0
        while done < length:
            count = self.socket.socket.recv_into(view[done:])
            if not count:
                raise ConnectionError("closed by the peer")
            done += count
        return view

    def _pass_on(self, pdu_bytes: bytes) -> None:
        """Give a PDU to pynetdicom's own machinery."""
        try:
            pdu, event = self._decode_pdu(bytearray(pdu_bytes))
        except Exception:  # noqa: BLE001 - decoding garbage may raise anything; the peer is told with an A-ABORT
            self.event_queue.put("Evt19")
            return
        self._recv_pdu.put(pdu)
        self.event_queue.put(event)

    def _take(self, body: memoryview) -> bool:
        """Consume a P-DATA-TF if it belongs to a C-STORE; False hands it to pynetdicom."""
        if self._message is None:
            if self.assoc.dimse.message is not None:
                return False
            self._message = _Message()
        message = self._message
        if message.sink is None:
            message.held.append(struct.pack(">BBI", P_DATA_TF_TYPE, 0, len(body)) + bytes(body))
        offset = 0
        while offset < len(body):
            pdv = _pdv_at(body, offset)
            if pdv is None or self._message is not message:  # cut, or another message after the end of this one
                return self._break_off()
            offset += 6 + len(pdv.fragment)
            if not self._take_fragment(message, pdv):
                return self._replay(message)
        return True

    def _take_fragment(self, message: _Message, pdv: _Pdv) -> bool:
        if pdv.control & COMMAND_FRAGMENT:
            return self._take_command(message, pdv)
        if message.sink is None or message.request is None or pdv.context_id != message.context_id:
            return False
        message.sink.write(pdv.fragment)
        if pdv.control & LAST_FRAGMENT:
            self._message = None
            self._respond(message.context_id, _store_response(message.request, message.sink.finish()))
        return True

    def _take_command(self, message: _Message, pdv: _Pdv) -> bool:
        message.command += pdv.fragment
        if message.sink is not None or len(message.command) > LONGEST_COMMAND_BYTES:
            return self._break_off()
        if not pdv.control & LAST_FRAGMENT:
            return True
        message.context_id = pdv.context_id
        message.request = self._store_request(message)
        if message.request is None:
            return False
        message.held.clear()
        message.sink = self.assoc.open_sink(message.request)
        return True

    def _store_request(self, message: _Message) -> StoreRequest | None:
        """The request, or None when it is not a well-formed C-STORE-RQ with a data set."""
        try:
            elements = parse_command_set(bytes(message.command))
            field, message_id, data_set = (
                struct.unpack("<H", elements[element])[0] for element in (0x0100, 0x0110, 0x0800)
            )
            if field != C_STORE_RQ or data_set == NO_DATA_SET:
                return None
            sop_class, instance = (elements[element].decode("ascii").rstrip("\0 ") for element in (0x0002, 0x1000))
        except (KeyError, struct.error, UnicodeDecodeError):
            return None
        return StoreRequest(message_id, sop_class, instance, self.assoc._accepted_cx.get(message.context_id))

    def _replay(self, message: _Message) -> bool:
        """Not ours after all: pynetdicom gets every PDU of the message, as it came."""
        if message.sink is not None:
            return self._break_off()
        self._message = None
        for pdu_bytes in message.held:
            self._pass_on(pdu_bytes)
        return True

    def _break_off(self) -> bool:
        """What came is no message: the peer is told with an A-ABORT."""
        self._drop_message()
        self.event_queue.put("Evt19")  # unrecognised or invalid PDU
        return True

    def _respond(self, context_id: int, command_set: bytes) -> None:
        control = COMMAND_FRAGMENT | LAST_FRAGMENT
        value = struct.pack(">IBB", len(command_set) + 2, context_id, control) + command_set
        self.socket.send(struct.pack(">BBI", P_DATA_TF_TYPE, 0, len(value)) + value)
        self._idle_timer.restart()

    def _drop_message(self) -> None:
        if self._message is not None and self._message.sink is not None:
            self._message.sink.abandon()
        self._message = None


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
