"""Audit messages to a syslog collector (PS3.15 A.6, A.7): RFC 5424, over TLS (RFC 5425) or UDP (RFC 5426)."""

import errno
import fcntl
import os
import socket
import ssl
import struct
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from node.domain.collector import Collector
from node.errors import PeerFailed, SettingsError

PRIORITY = 85
"""Facility 10 (security), severity 5 (notice), as PS3.15 A.6 asks for."""
MESSAGE_ID = "DICOM+RFC3881"
WITHIN_S = 10.0
"""For the connection, for a batch, and for the collector to say that it has read it."""
PACE_S = 0.001
"""Between two datagrams: nothing tells when a collector's buffer is full."""
CLOSE_WAIT = 8
"""State of a connection whose peer has closed it, and which was not reset (Linux, tcp_states.h)."""
SILENT_ENDS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""How a collector ends that read to the end, and closes without the close_notify that it owes."""


def context_for(to: Collector) -> ssl.SSLContext:
    """TLS 1.2 or newer, the repository's certificate verified. Raises SettingsError."""
    try:
        context = ssl.create_default_context(cafile=to.authorities and str(to.authorities))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if to.certificate:
            context.load_cert_chain(to.certificate, to.key, password=_no_password)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"The certificate files of audit_repository cannot be used ({type(error).__name__})."
        ) from None
    return context


def _no_password() -> str:
    raise ValueError("a key with a password")


@dataclass(frozen=True)
class Said:
    """An audit message, and when what it tells happened."""

    at: str
    """ISO 8601."""
    xml: str


def frame(said: Said, host: str) -> bytes:
    """One syslog message (RFC 5424 6): the BOM says that what follows is UTF-8."""
    header = f"<{PRIORITY}>1 {said.at} {host} nodus {os.getpid()} {MESSAGE_ID} - "
    return header.encode("ascii", "replace") + b"\xef\xbb\xbf" + said.xml.encode()


class Line(Protocol):
    """A way to the collector that stands."""

    def send(self, frames: Sequence[bytes]) -> None:
        """All of them. Raises PeerFailed."""

    def finish(self) -> None:
        """Close so that the collector says that it has read everything, where the transport can say so at all.

        Raises PeerFailed."""

    def is_open(self) -> bool:
        """Whether the collector is still there."""

    def close(self) -> None:
        """Leave it, whatever its state."""


def connect(to: Collector) -> Line:
    """Raises PeerFailed, SettingsError."""
    return TlsLine(to) if to.tls else UdpLine(to)


@contextmanager
def _failing(what: str) -> Iterator[None]:
    try:
        yield
    except ssl.SSLCertVerificationError:
        raise PeerFailed(
            "The certificate of the audit repository is none that can be trusted under its name."
        ) from None
    except OSError as error:
        raise PeerFailed(f"The audit repository {what} ({_reason(error)}).") from None


def _reason(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "") or type(error).__name__


class TlsLine:
    """RFC 5425: each message behind its length in octets."""

    def __init__(self, to: Collector) -> None:
        context = context_for(to)
        with _failing("cannot be reached"):
            plain = socket.create_connection((to.host, to.port), WITHIN_S)
        try:
            with _failing("does not agree on TLS"):
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._socket = context.wrap_socket(plain, server_hostname=to.name or to.host)
        except PeerFailed:
            plain.close()
            raise

    def send(self, frames: Sequence[bytes]) -> None:
        """All of them."""
        with _failing("broke off"):
            self._socket.sendall(b"".join(b"%d %b" % (len(each), each) for each in frames))

    def finish(self) -> None:
        """Syslog has no answer; but who receives a close_notify has read everything before it, and has to answer with
        one (RFC 5425 4.4). Closing the connection without it, as some do, says the same; a reset does not."""
        with _failing("did not confirm that it has read everything"):
            try:
                self._socket.unwrap()
            except SILENT_ENDS:
                _require_read_to_the_end(self._socket)
        self.close()

    def is_open(self) -> bool:
        """A collector says nothing unasked: whatever can be read is its end."""
        try:
            self._socket.settimeout(0)
            return bool(self._socket.recv(1))
        except ssl.SSLWantReadError:
            return True
        except OSError:
            return False
        finally:
            with suppress(OSError):
                self._socket.settimeout(WITHIN_S)

    def close(self) -> None:
        """At once."""
        self._socket.close()


def _require_read_to_the_end(ended: socket.socket) -> None:
    """Of a connection that the peer ended without a word: it acknowledged everything, and then closed it; who closes it
    with something unread, or gets something afterwards, resets it. Raises OSError."""
    state = ended.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    (unacknowledged,) = struct.unpack("i", fcntl.ioctl(ended, termios.TIOCOUTQ, bytes(4)))
    if state != CLOSE_WAIT or unacknowledged:
        raise ConnectionResetError(errno.ECONNRESET, "")


class UdpLine:
    """RFC 5426: a datagram a message. Nothing tells whether one arrived; only a host that is up and has nobody who
    listens says so, to the next one."""

    def __init__(self, to: Collector, wait: Callable[[float], None] = time.sleep) -> None:
        self._wait = wait
        with _failing("cannot be reached"):
            family, kind, _, _, address = socket.getaddrinfo(to.host, to.port, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, kind)
        try:
            with _failing("cannot be reached"):
                self._socket.connect(address)
        except PeerFailed:
            self.close()
            raise

    def send(self, frames: Sequence[bytes]) -> None:
        """All of them, not too fast."""
        for each in frames:
            with _failing("does not take datagrams"):
                self._socket.send(each)
            self._wait(PACE_S)

    def finish(self) -> None:
        """What was refused by now."""
        if code := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            with _failing("does not take datagrams"):
                raise OSError(code, "")
        self.close()

    def is_open(self) -> bool:
        """Whether nothing was refused."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0

    def close(self) -> None:
        """At once."""
        self._socket.close()
