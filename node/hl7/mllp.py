"""The Minimal Lower Layer Protocol (HL7 2.5.1 appendix C), plain or over TLS: one message, one answer, each in time."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hl7apy.exceptions import HL7apyException
from hl7apy.parser import parse_message

from node.domain.message import Acknowledgement
from node.domain.peers import Destination
from node.errors import NotTrusted, PeerFailed, SettingsError
from node.tls import client_context, said

START, END = b"\x0b", b"\x1c\r"
CONNECT_WITHIN_S = 10.0
LARGEST_ANSWER = 1 << 20
"""Octets. Whoever says more is no receiver of messages."""


@dataclass
class Line:
    """A connection to a receiver."""

    connection: socket.socket
    within_s: float
    """For a message and its acknowledgement together."""

    def ask(self, content: bytes, control_id: str) -> Acknowledgement:
        """Send one message, and wait for its acknowledgement. Raises PeerFailed."""
        until = time.monotonic() + self.within_s
        try:
            self._patient_until(until)
            self.connection.sendall(START + content + END)
            answer = self._answer(until)
        except TimeoutError:
            raise PeerFailed(f"The receiver did not acknowledge the message within {self.within_s:g} s.") from None
        except OSError as error:
            if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
                raise NotTrusted(f"The receiver ended TLS: {said(error)}.") from None  # with 1.3 it says so only now
            raise PeerFailed(f"The receiver broke off ({type(error).__name__}).") from None
        return acknowledgement(answer, control_id)

    def _answer(self, until: float) -> bytes:
        received = b""
        while END not in received:
            self._patient_until(until)
            part = self.connection.recv(65536)
            if not part:
                raise ConnectionResetError
            received += part
            if len(received) > LARGEST_ANSWER:
                raise PeerFailed("The receiver answers without end.")
        return received.partition(END)[0].rpartition(START)[2]

    def _patient_until(self, until: float) -> None:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.connection.settimeout(left)


def acknowledgement(answer: bytes, control_id: str) -> Acknowledgement:
    """Read one. Raises PeerFailed where it is none, or one of another message."""
    try:
        message = parse_message(answer.decode(errors="replace").strip("\r\n").replace("\n", "\r"), find_groups=False)
        code, of = message.msa.msa_1.to_er7(), message.msa.msa_2.to_er7()
        error = message.err.err_3.err_3_1.to_er7() if message.err else ""
    except (HL7apyException, AttributeError, IndexError, ValueError):
        raise PeerFailed("The receiver answered with what is no acknowledgement.") from None
    if of != control_id:
        raise PeerFailed("The receiver acknowledged another message.")
    if code not in ("AA", "AE", "AR", "CA", "CE", "CR"):
        raise PeerFailed("The receiver answered with a code that is none.")
    return Acknowledgement(code, error if error.isdigit() else "")


@contextmanager
def connected(within_s: float, to: Destination) -> Iterator[Line]:
    """A connection until the end of the block. Raises PeerFailed, NotTrusted."""
    try:
        connection = socket.create_connection((to.host, to.port), CONNECT_WITHIN_S)
    except OSError as error:
        raise PeerFailed(f"{to.ae_title} cannot be reached ({type(error).__name__}).") from None
    with connection, _spoken_to(connection, to) as spoken:
        yield Line(spoken, within_s)


def _spoken_to(connection: socket.socket, to: Destination) -> socket.socket:
    """The connection, TLS on it where the receiver is spoken to so."""
    if to.secured is None:
        return connection
    try:
        return client_context(to.secured).wrap_socket(connection, server_hostname=to.secured.name or to.host)
    except SettingsError as error:
        raise PeerFailed(f"{to.ae_title}: {error}") from None
    except ssl.SSLError as error:
        raise NotTrusted(f"{to.ae_title}: no TLS handshake: {said(error)}.") from None
    except OSError as error:
        raise PeerFailed(f"{to.ae_title}: no TLS handshake ({type(error).__name__}).") from None
    except ValueError:
        raise PeerFailed(f"{to.ae_title}: its host is no name that a certificate can have.") from None
