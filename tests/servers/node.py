"""A Nodus node as an operator starts it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from node.catalog import audit
from node.catalog.session import Catalog
from node.domain.audit import Entry
from tests.servers.processes import START_WITHIN_S, STOP_WITHIN_S, Page, end, eventually, fetch

ROOMY = {"NODUS_MINIMUM_FREE_GIB": "0.1", "NODUS_MINIMUM_FREE_FRACTION": "0.0"}
"""A small disk must not fail tests that are not about the disk."""
HASTY = [{"network": "127.0.0.0/8", "gapless_quiet_s": 0.2, "quiet_s": 0.4}]
"""Senders that are quiet as soon as they stop: nobody waits 15 s in a test that is not about that."""


@dataclass
class Nodus:
    """`nodus up` as an operator starts it."""

    data: Path
    environment: dict[str, str]
    arguments: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    dicom_port: int = 0
    web_port: int = 0
    tls_port: int = 0
    aet: str = ""
    _outputs: list[Path] = field(default_factory=list)

    def start(self) -> None:
        """Start it and wait for its READY line."""
        output = self.data.with_name(f"{self.data.name}.out{len(self._outputs)}")
        self._outputs.append(output)
        command = [sys.executable, "-m", "node", "up", "--data", str(self.data), *self.arguments]
        if "--port" not in self.arguments:
            command += ["--port", "0"]
        command += ["--web-port", "0"]
        with output.open("wb") as stdout, output.with_suffix(output.suffix + ".err").open("wb") as stderr:
            self.process = subprocess.Popen(
                command, stdout=stdout, stderr=stderr, env={**os.environ, **ROOMY, **self.environment}
            )
        ready = json.loads(eventually(self._ready_line, START_WITHIN_S, "READY").removeprefix("READY "))
        self.dicom_port, self.web_port, self.aet = ready["dicom_port"], ready["web_port"], ready["aet"]
        self.tls_port = ready.get("tls_port", 0)
        assert Path(ready["data"]) == self.data.absolute()

    def _ready_line(self) -> str:
        assert self.process is not None
        assert self.process.poll() is None, self.log()[-3000:]
        text = self._outputs[-1].read_text()
        return text.splitlines()[0] if text.startswith("READY ") and text.endswith("\n") else ""

    @cached_property
    def catalog(self) -> Catalog:
        """Its database, to look at (a command for each look would cost a second) and to play worker with."""
        url = self.environment.get("NODUS_DATABASE_URL", f"sqlite:///{self.data}/nodus.db")
        return Catalog(url, (self.data / "audit.key").read_bytes())

    def audit(self, kind: str = "", study: str = "") -> list[Entry]:
        """Its audit trail, or what it has of one kind or study."""
        with self.catalog.reading() as session:
            return list(audit.entries(session, kind=kind, study_instance_uid=study))

    def log(self) -> str:
        """Everything it wrote to stdout and stderr since the first start."""
        written = [path for output in self._outputs for path in (output, output.with_suffix(output.suffix + ".err"))]
        return "".join(path.read_text(errors="replace") for path in written)

    def stop(self) -> float:
        """SIGTERM; it must end cleanly in time. Returns the seconds it took."""
        assert self.process is not None
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(STOP_WITHIN_S)
        assert code == 0, self.log()[-3000:]
        return time.monotonic() - begun

    def kill(self) -> None:
        """SIGKILL, as the out-of-memory killer would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def web(self, path: str) -> Page:
        """A page of the web port."""
        return fetch(f"http://127.0.0.1:{self.web_port}{path}")

    def metric(self, name: str) -> float:
        """A sample of /metrics, named with its labels; 0 while it does not exist."""
        lines = (line.rsplit(" ", 1) for line in self.web("/metrics").body.splitlines() if not line.startswith("#"))
        return next((float(value) for key, value in lines if key == name), 0.0)

    def command(self, *arguments: str, code: int = 0) -> str:
        """Another `nodus` command on the same data directory; returns what it printed."""
        ended = subprocess.run(
            [sys.executable, "-m", "node", *arguments],
            env={**os.environ, **ROOMY, **self.environment, "NODUS_DATA": str(self.data)},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended.stdout or ended.stderr

    def json(self, *arguments: str, code: int = 0) -> Any:
        """The same with --json."""
        return json.loads(self.command(*arguments, "--json", code=code))


@contextmanager
def nodus(data: Path, *arguments: str, **settings: object) -> Iterator[Nodus]:
    """A node without a worker until the end of the block; `settings` become NODUS_ variables."""
    values = {"worker": False, "receivers": 1, **settings}
    environment = {f"NODUS_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
                   for name, value in values.items()}  # fmt: skip
    node = Nodus(data, environment, arguments)
    try:
        node.start()
        yield node
    finally:
        if node.process is not None:
            end(node.process)
        if "catalog" in node.__dict__:
            node.catalog.close()
