"""TLS on the DICOM port (PS3.15 B.9, BCP 195): TLS 1.2 or newer, forward secrecy, authenticated encryption."""

import ssl
from pathlib import Path

from node.errors import SettingsError

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM"
"""Of TLS 1.2 (RFC 9325 4.2); those of TLS 1.3 are all of this kind."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What a server shows who it is with. Raises SettingsError for files that are no certificate and its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    try:
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ssl.SSLError):
        raise SettingsError(
            f"{certificate} and {key} are no certificate and its key that can be read without a password (PEM)."
        ) from None
    return context
