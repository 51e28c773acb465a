"""The network thread of an association: woken instead of polling, it takes C-STORE requests apart itself."""

import logging
import select
import socket
import ssl
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import P_DATA

from node.dicom.upper_layer.messages import (
    COMMAND_FRAGMENT,
    LAST_FRAGMENT,
    P_DATA_TF_TYPE,
    Message,
    Pdv,
    p_data_tf,
    pdv_at,
    store_response,
)
from node.dicom.upper_layer.steady import SteadyTimer

if TYPE_CHECKING:
    from node.dicom.upper_layer.association import StreamingAssociation

log = logging.getLogger(__name__)

LONGEST_COMMAND_BYTES = 1 << 16
LONGEST_GATHERED_BYTES = 1 << 20
"""Of a message that is no C-STORE: pynetdicom holds it in memory until it is whole."""
MOST_UNANSWERED = 16
"""Messages of a peer that does not wait for its answers; the next is left on the wire until one of them is served."""
LONGEST_REQUEST_BYTES = 1 << 20
"""Of an A-ASSOCIATE-RQ: 128 presentation contexts in every transfer syntax are a third of it."""
INVALID_PDU = "Evt19"
"""Unrecognised or invalid PDU: the peer is told with an A-ABORT (PS3.8 Table 9-10)."""
PDU_SLACK_BYTES = 1 << 16
"""Tolerated beyond the maximum length that we announced; anything longer is not a PDU."""


def _readable(timeout_s: float, *sockets: socket.socket) -> list[socket.socket]:
    """Which of them have something, or have ended; unlike `select.select` also beyond descriptor 1023."""
    poll = select.poll()
    for each in sockets:
        poll.register(each, select.POLLIN)
    ready = {descriptor for descriptor, _ in poll.poll(timeout_s * 1000)}
    return [each for each in sockets if each.fileno() in ready]


class StreamingDUL(DULServiceProvider):
    """DUL service provider that is woken instead of polling."""

    _kill_thread: bool

    def __init__(self, assoc: "StreamingAssociation") -> None:
        super().__init__(assoc)
        self._idle_timer, self.artim_timer = SteadyTimer(60), SteadyTimer(30)  # until the association says how long
        self._waker, self._wakened = socket.socketpair()
        self._waker.setblocking(False)
        self._buffer = bytearray()
        self._message: Message | None = None
        self._gathered = 0
        """Bytes of the message that pynetdicom is putting together, but for those that were held here."""

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
            if self.assoc.requestor.primitive is None:
                self.to_user_queue.put(None)  # nobody waits for a request that cannot come any more
            self.close_wakers()

    def close_wakers(self) -> None:
        """Give back what `wake` needs."""
        self._waker.close()
        self._wakened.close()

    def _turn(self) -> None:
        if self.event_queue.empty():
            self._gather()
        else:
            self._act(self.event_queue.get())
            self.assoc.attention.set()

    def _act(self, event: str) -> None:
        """Take one event. pynetdicom raises whatever it stumbles over in a PDU or command set that does not parse."""
        was_killed = self._kill_thread
        try:
            self.state_machine.do_action(event)
        except Exception as error:
            if event == INVALID_PDU:
                raise
            log.warning("what a peer sent does not parse", extra={"error": type(error).__name__})
            self._kill_thread = was_killed  # the state machine gave up; the peer is told with an A-ABORT instead
            self._drop_message()
            self.event_queue.put(INVALID_PDU)

    def _gather(self) -> None:
        """Wait for the next thing that makes an event."""
        if self.artim_timer.expired:
            self.event_queue.put("Evt18")
        elif not self._process_recv_primitive() and self._wait() and self._is_transport_event():
            self._idle_timer.restart()

    def _process_recv_primitive(self) -> bool:
        """Look whether our side has something to say; in Sta13 it is too late for that (PS3.8 Table 9-10)."""
        if self.state_machine.current_state == "Sta13":
            self.to_provider_queue.queue.clear()
        return bool(super()._process_recv_primitive())

    def _wait(self) -> bool:
        """Sleep until the peer or our own side has something; True when the connection is to be looked at."""
        sock = self.socket.socket if self.socket else None
        if sock is None or self._has_enough_to_do():
            if not _readable(0.05, self._wakened):
                return False
        elif isinstance(sock, ssl.SSLSocket) and sock.pending():
            return True
        else:
            closing = self.state_machine.current_state == "Sta13"
            ready = _readable(0.0 if closing else 0.5, sock, self._wakened)
            if self._wakened not in ready:
                return closing or sock in ready
        self._wakened.recv(4096)
        return False

    def _has_enough_to_do(self) -> bool:
        waiting: int = self.assoc.dimse.msg_queue.qsize()
        return self.state_machine.current_state == "Sta6" and waiting >= MOST_UNANSWERED

    def _is_transport_event(self) -> bool:
        if self.state_machine.current_state == "Sta13":
            self._drain()
        else:
            self._receive_pdu()
        return True

    def _drain(self) -> None:
        """Take what the peer still says, so that no reset overtakes our last word; then close."""
        sock = self.socket.socket
        with suppress(OSError):
            if _readable(0.0, sock) and sock.recv(1 << 16):
                return
        self.socket.close()

    def _longest_pdu(self) -> int:
        if self.state_machine.current_state == "Sta2":
            return LONGEST_REQUEST_BYTES
        return (self.assoc.acceptor.maximum_length or 0) + PDU_SLACK_BYTES

    def _receive_pdu(self) -> None:
        try:
            head = self._read_exactly(6)
            length = int.from_bytes(head[2:6], "big")
            if not 1 <= head[0] <= 7 or length > self._longest_pdu():
                self._drop_message()
                self.event_queue.put(INVALID_PDU)
                return
            pdu_type, head_bytes = head[0], bytes(head)
            body = self._read_exactly(length)
        except OSError:
            self._drop_message()
            self.event_queue.put("Evt17")  # transport connection closed
            return
        if pdu_type != P_DATA_TF_TYPE or self.state_machine.current_state != "Sta6" or not self._take(body):
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
            self.event_queue.put(INVALID_PDU)
            return
        self._recv_pdu.put(pdu)
        self.event_queue.put(event)

    def _take(self, body: memoryview) -> bool:
        """Consume a P-DATA-TF if it belongs to a C-STORE; False hands it to pynetdicom."""
        if self._message is None:
            if self.assoc.dimse.message is not None:
                self._gathered += len(body)
                return self._gathered > LONGEST_GATHERED_BYTES and self._break_off()
            self._gathered = 0
            self._message = Message()
        message = self._message
        if message.sink is None:
            message.hold(body)
            if message.held_bytes > LONGEST_COMMAND_BYTES + self._longest_pdu():
                return self._break_off()
        offset = 0
        while offset < len(body):
            pdv = pdv_at(body, offset)
            if pdv is None or self._message is not message:  # cut, or another message after the end of this one
                return self._break_off()
            offset += 6 + len(pdv.fragment)
            if not self._take_fragment(message, pdv):
                return self._replay(message)
        return True

    def _take_fragment(self, message: Message, pdv: Pdv) -> bool:
        if pdv.control & COMMAND_FRAGMENT:
            return self._take_command(message, pdv)
        if message.sink is None or message.request is None or pdv.context_id != message.context_id:
            return False
        message.sink.write(pdv.fragment)
        if pdv.control & LAST_FRAGMENT:
            self._message = None
            self._respond(message.context_id, store_response(message.request, message.sink.finish()))
        return True

    def _take_command(self, message: Message, pdv: Pdv) -> bool:
        message.command += pdv.fragment
        if message.sink is not None or len(message.command) > LONGEST_COMMAND_BYTES:
            return self._break_off()
        if not pdv.control & LAST_FRAGMENT:
            return True
        message.context_id = pdv.context_id
        message.request = message.store_request(self.assoc._accepted_cx)
        if message.request is None:
            return False
        message.held.clear()
        message.sink = self.assoc.open_sink(message.request)
        return True

    def _replay(self, message: Message) -> bool:
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
        self.event_queue.put(INVALID_PDU)
        return True

    def _respond(self, context_id: int, command_set: bytes) -> None:
        control = COMMAND_FRAGMENT | LAST_FRAGMENT
        value = struct.pack(">IBB", len(command_set) + 2, context_id, control) + command_set
        self.socket.send(p_data_tf(value))
        self._idle_timer.restart()

    def _drop_message(self) -> None:
        if self._message is not None and self._message.sink is not None:
            self._message.sink.abandon()
        self._message = None
