"""rsyslog as an audit repository: over TLS, with a certificate of an authority of its own, and over UDP."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.peers import require
from tests.servers.processes import answers, end, eventually, free_port

CONFIGURATION = """
global(workDirectory="{folder}" maxMessageSize="64k" defaultNetstreamDriverCAFile="{folder}/ca.pem"
       defaultNetstreamDriverCertFile="{folder}/server.pem" defaultNetstreamDriverKeyFile="{folder}/server.key"
       parser.escapeControlCharactersOnReceive="off")
main_queue(queue.type="direct")
module(load="imtcp" streamDriver.name="{driver}" streamDriver.mode="1" streamDriver.authMode="{asks}"
       {peers})
input(type="imtcp" address="127.0.0.1" port="{port}")
module(load="imudp")
input(type="imudp" address="127.0.0.1" port="{port}")
template(name="raw" type="string" string="%rawmsg%\\n")
action(type="omfile" file="{folder}/received" template="raw")
"""


def _openssl(*arguments: str) -> None:
    subprocess.run([require("openssl", "openssl"), *arguments], check=True, capture_output=True)


@cache
def certificates() -> dict[str, bytes]:
    """An authority, and what it signed: the collector's (for localhost alone) and the node's; by file name."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        ca, key = str(folder / "ca.pem"), str(folder / "ca.key")
        fresh = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")
        _openssl("req", "-x509", *fresh, "-days", "2", "-subj", "/CN=Test authority", "-keyout", key, "-out", ca)
        for name, subject in (("server", "localhost"), ("client", "nodus")):
            request = str(folder / f"{name}.csr")
            _openssl("req", *fresh, "-subj", f"/CN={subject}", "-addext", f"subjectAltName=DNS:{subject}",
                     "-keyout", str(folder / f"{name}.key"), "-out", request)  # fmt: skip
            _openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", key, "-CAcreateserial", "-days", "2",
                     "-copy_extensions", "copy", "-out", str(folder / f"{name}.pem"))  # fmt: skip
        return {path.name: path.read_bytes() for path in folder.iterdir()}


@dataclass
class Repository:
    """A collector on one port, by TLS and UDP alike."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def configure(self, driver: str, asks: str) -> None:
        """Write its files."""
        for name, content in certificates().items():
            (self.folder / name).write_bytes(content)
        peers = "" if asks == "anon" else 'permittedPeer=["nodus"]'
        text = CONFIGURATION.format(folder=self.folder, port=self.port, driver=driver, asks=asks, peers=peers)
        (self.folder / "rsyslog.conf").write_text(text)

    def start(self) -> None:
        """Start it, with what it received before."""
        command = [require("/usr/sbin/rsyslogd", "rsyslog rsyslog-gnutls"), "-n", "-f",
                   str(self.folder / "rsyslog.conf"), "-i", str(self.folder / "pid")]  # fmt: skip
        with (self.folder / "log").open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        eventually(lambda: answers(self.port), what="rsyslog answers")

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It takes connections, and reads nothing."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def lines(self) -> list[str]:
        """What it wrote, as it came."""
        file = self.folder / "received"
        return file.read_text().splitlines() if file.exists() else []


@contextmanager
def audit_repository(folder: Path, driver: str = "gtls", asks: str = "anon") -> Iterator[Repository]:
    """rsyslog until the end of the block; with `asks` x509/name it takes only who shows the node's certificate."""
    folder.mkdir(parents=True, exist_ok=True)
    repository = Repository(folder)
    repository.configure(driver, asks)
    repository.start()
    try:
        yield repository
    finally:
        if repository.process is not None:
            end(repository.process)
