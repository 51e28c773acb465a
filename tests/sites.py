"""A site with certificates: an authority, a node, a scanner, and some that nobody should believe."""

import functools
import shutil
import ssl
from dataclasses import dataclass
from pathlib import Path

from node.dicom import certificates

HERE = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Site:
    """A folder of PEM files."""

    folder: Path

    def pem(self, name: str) -> Path:
        return self.folder / f"{name}.pem"

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    @property
    def ca(self) -> Path:
        return self.pem("ca")

    def settings(self, **more: object) -> dict[str, object]:
        """Of a node that speaks TLS and asks for certificates."""
        files = {"tls_certificate": str(self.pem("node")), "tls_key": str(self.key("node")), "tls_ca": str(self.ca)}
        return {**files, "tls_port": 0, **more}

    def peer(self, shown: str = "node") -> dict[str, object]:
        """Settings of a table that names a peer, to which we show a certificate."""
        files = {"tls_ca": str(self.ca), "tls_certificate": str(self.pem(shown)), "tls_key": str(self.key(shown))}
        return {"tls": True, **files}

    def dcmtk(self, name: str) -> tuple[str, ...]:
        """Options of DCMTK's clients and servers that show a certificate."""
        return "+tls", str(self.key(name)), str(self.pem(name)), "+cf", str(self.ca)

    def client(self, name: str = "", ca: Path | None = None) -> ssl.SSLContext:
        """For clients in Python."""
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(ca or self.ca))
        if name:
            context.load_cert_chain(self.pem(name), self.key(name))
        return context

    def server(self, name: str, *, asks: bool = True) -> ssl.SSLContext:
        """For servers in Python."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem(name), self.key(name))
        if asks:
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@functools.cache
def _made(folder: Path) -> Site:
    ours = certificates.authority(folder)
    ours.issue("node", HERE)
    ours.issue("pacs", HERE)
    ours.issue("elsewhere", ["pacs.elsewhere.example"])
    ours.issue("ct1")
    ours.issue("ct2")
    ours.issue("expired", days=-1)
    ours.issue("pacs-expired", HERE, days=-1)
    other = certificates.authority(folder / "other")
    other.issue("stranger", HERE)
    for name in ("stranger.pem", "stranger.key"):
        shutil.copy(folder / "other" / name, folder / name)
    return Site(folder)


def site(folder: Path) -> Site:
    """Make one; keys take a moment, so tests share it."""
    return _made(folder)
