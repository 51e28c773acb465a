"""TLS in and out (PS3.15 B.9, BCP 195): TLS 1.2 or newer, forward secrecy, authenticated encryption."""

import logging
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.domain.peers import Secured
from node.errors import SettingsError

log = logging.getLogger(__name__)

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:@SECLEVEL=2"
"""Of TLS 1.2 (RFC 9325 4.2); those of TLS 1.3 are all of this kind. Keys have 112 bits of security: RSA of 2048."""


@dataclass(frozen=True)
class ServerFiles:
    """PEM files of a server."""

    certificate: Path
    key: Path
    ca: Path | None = None
    """Authorities of callers; None: they are not asked for a certificate."""
    required: bool = True
    """Whether a caller without one is refused."""

    @property
    def stamp(self) -> tuple[tuple[int, ...], ...]:
        """Changes when a file does."""
        return tuple(_stamp(each) for each in (self.certificate, self.key, self.ca) if each)


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        known = path.stat()
    except OSError:
        return ()
    return known.st_ino, known.st_size, known.st_mtime_ns


def server_context(files: ServerFiles) -> ssl.SSLContext:
    """What a server shows who it is with, and whom it believes. Raises SettingsError for files that are none."""
    context = _hardened(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    context.options |= ssl.OP_NO_RENEGOTIATION
    _show(context, str(files.certificate), str(files.key))
    if files.ca:
        _believe(context, str(files.ca))
        context.verify_mode = ssl.CERT_REQUIRED if files.required else ssl.CERT_OPTIONAL
    return context


def _hardened(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    return context


def _show(context: ssl.SSLContext, certificate: str, key: str) -> None:
    try:
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ssl.SSLError):
        raise SettingsError(
            f"{certificate} and {key} are no certificate and its key that can be read without a password (PEM)."
        ) from None


def _believe(context: ssl.SSLContext, ca: str) -> None:
    try:
        context.load_verify_locations(ca)
    except (OSError, ssl.SSLError):
        raise SettingsError(f"{ca} holds no certificates of authorities (PEM).") from None


class Server:
    """The context of a server, made anew when its files change; while they cannot be used it stays as it was."""

    def __init__(self, files: ServerFiles) -> None:
        self._files = files
        self._stamp: tuple[tuple[int, ...], ...] | None = None
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext | None:
        """For the next connection; None where the files could never be used."""
        stamp = self._files.stamp
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._context = server_context(self._files)
            except SettingsError as error:
                log.error("certificates cannot be used: those before them stay", extra={"error": str(error)})
        return self._context


class ClientContext(ssl.SSLContext):
    """Towards one peer, once: it remembers why a handshake failed, which pynetdicom only logs."""

    failure: str = ""


class _Noting(ssl.SSLSocket):
    """Under TLS 1.3 a server says only after the handshake that it does not believe us: with the first read."""

    context: ClientContext

    def connect(self, addr: Any) -> None:
        """Connect and shake hands."""
        try:
            super().connect(addr)
        except OSError as error:
            if isinstance(error, ssl.SSLError):
                self.context.failure = said(error)
            self.close()  # pynetdicom leaves it open where its peer is gone
            raise

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        """Read what was decrypted."""
        try:
            return super().read(len, buffer)
        except ssl.SSLError as error:
            self.context.failure = said(error)
            raise


def client_context(secured: Secured) -> ClientContext:
    """What a peer is believed by, and shown. Raises SettingsError for files that are none."""
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)  # with it names are checked
    context.sslsocket_class = _Noting
    _hardened(context)
    if secured.ca:
        _believe(context, secured.ca)
    else:
        context.load_default_certs()
    if secured.certificate:
        _show(context, secured.certificate, secured.key)
    return context


PLAIN = ("HTTP_REQUEST", "WRONG_VERSION_NUMBER", "UNEXPECTED_MESSAGE", "RECORD_LAYER_FAILURE")
SENTENCES = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no certificate was shown",
    "UNSUPPORTED_PROTOCOL": "TLS older than 1.2",
    "NO_SHARED_CIPHER": "no cipher that both take",
    "TLSV1_ALERT_UNKNOWN_CA": "the other side does not believe our certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the other side does not believe our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the other side says that our certificate has expired",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the other side wants a certificate of us",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the other side wants another version of TLS",
    **dict.fromkeys(PLAIN, "this was no TLS"),
}


def said(error: OSError) -> str:
    """Why a handshake failed, in few words of a fixed set: none of a certificate's own."""
    if isinstance(error, ssl.SSLCertVerificationError):
        named = "hostname" in error.verify_message.lower() or "ip address" in error.verify_message.lower()
        return f"its certificate is not good: {'another name' if named else error.verify_message}"
    if isinstance(error, TimeoutError):
        return "silence"
    if isinstance(error, ssl.SSLEOFError) or not isinstance(error, ssl.SSLError):
        return "it was broken off"
    reason = error.reason or "no reason given"
    return SENTENCES.get(reason, reason.lower().replace("_", " "))


def names_of(certificate: Any) -> frozenset[str]:
    """Common Names and Subject Alternative Names of a verified certificate, as `getpeercert` gives it, in lower case;
    of one that was not asked for, none."""
    if not certificate:
        return frozenset()
    subject: Iterable[Any] = (pair for part in certificate.get("subject", ()) for pair in part)
    common = (value for kind, value in subject if kind == "commonName")
    others = (value for _, value in certificate.get("subjectAltName", ()) if isinstance(value, str))
    return frozenset(each.lower() for each in (*common, *others))
