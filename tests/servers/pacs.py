"""Orthanc and DCMTK's storescp as PACS."""

import json
import os
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification

from node.dicom.contexts import RESULT_SOP_CLASSES as ALL_RESULTS
from tests.peers import require
from tests.servers.processes import answers, dcmtk, dcmtk_environment, fetch, free_port, running
from tests.sites import Site


@dataclass
class Orthanc:
    """An Orthanc that knows our AE title."""

    port: int
    http_port: int
    aet: str = "ORTHANC"

    def get(self, path: str) -> Any:
        """Its REST interface."""
        return json.loads(fetch(f"http://127.0.0.1:{self.http_port}{path}").body)

    def post(self, path: str, content: bytes) -> Any:
        """The same."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", content, method="POST")
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read())

    def instances(self) -> dict[str, str]:
        """SOP Instance UID to SOP Class UID of everything it has."""
        tags = [self.get(f"/instances/{each}/simplified-tags") for each in self.get("/instances")]
        return {each["SOPInstanceUID"]: each["SOPClassUID"] for each in tags}

    def file(self, sop_instance_uid: str) -> bytes:
        """One instance as a Part 10 file."""
        tags = {each: self.get(f"/instances/{each}/simplified-tags") for each in self.get("/instances")}
        (known,) = [each for each, values in tags.items() if values["SOPInstanceUID"] == sop_instance_uid]
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/instances/{known}/file") as answer:
            return bytes(answer.read())

    @property
    def peer(self) -> str:
        """For `--pacs`."""
        return f"{self.aet}@127.0.0.1:{self.port}"


@contextmanager
def orthanc(
    folder: Path,
    modality: Mapping[str, Any] | Sequence[Any] | None = None,
    plugins: Sequence[Path] = (),
    site: Site | None = None,
) -> Iterator[Orthanc]:
    """Orthanc with its storage in `folder`; at a site it speaks TLS alone, and asks for a certificate."""
    program = shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))
    server = Orthanc(free_port(), free_port())
    config = {
        "Name": "test", "StorageDirectory": str(folder), "IndexDirectory": str(folder), "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False, "HttpPort": server.http_port, "DicomPort": server.port,
        "DicomAet": server.aet, "DicomModalities": {"nodus": modality or ["NODUS", "127.0.0.1", 11112]},
        "DicomCheckModalityHost": False, "Plugins": list(map(str, plugins)),
        **(_secured(site) if site else {}),
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(config))
    command = [program or require("Orthanc", "orthanc"), str(folder / "orthanc.json")]
    with running(command, folder / "orthanc.log", ready=lambda: _is_up(server), env=dcmtk_environment()):
        yield server


def _secured(site: Site) -> dict[str, Any]:
    files = {"Certificate": site.pem("pacs"), "PrivateKey": site.key("pacs"), "TrustedCertificates": site.ca}
    named = {f"DicomTls{name}": str(path) for name, path in files.items()}
    return {"DicomTlsEnabled": True, "DicomTlsRemoteCertificateRequired": True, **named}


def _is_up(server: Orthanc) -> bool:
    try:
        return fetch(f"http://127.0.0.1:{server.http_port}/system").status == 200
    except OSError:
        return False


@dataclass
class StoreScp:
    """DCMTK's storescp and what it received."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    def files(self) -> list[Path]:
        """Received files, by name."""
        return sorted(path for path in self.folder.iterdir() if path.suffix != ".log")


@contextmanager
def storescp(folder: Path, *options: str, port: int = 0) -> Iterator[StoreScp]:
    """DCMTK's storescp, writing bit for bit into `folder`."""
    folder.mkdir(exist_ok=True)
    port = port or free_port()
    command = [dcmtk("storescp"), "-od", str(folder), "+B", *options, str(port)]
    log = folder.with_suffix(".log")
    with running(command, log, ready=lambda: answers(port), env=dcmtk_environment()) as process:
        yield StoreScp(port, folder, process)


@dataclass
class AnsweringPacs:
    """A PACS that answers each C-STORE as it is told, then with success."""

    answers: list[int | None]
    """None aborts the association instead."""
    port: int = 0
    got: list[Dataset] = field(default_factory=list)
    """Everything that was offered, whatever the answer."""
    asked_by: list[tuple[str | None, int | None]] = field(default_factory=list)
    """Who had it moved here: AE title and message id, for each."""
    open: threading.Event = field(default_factory=threading.Event)
    """While it is not set, nothing is answered."""

    def on_store(self, event: evt.Event) -> int:
        """EVT_C_STORE."""
        self.got.append(event.dataset)
        request = event.request
        self.asked_by.append((request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID))
        self.open.wait(60)
        answer = self.answers.pop(0) if self.answers else 0x0000
        if answer is None:
            event.assoc.abort()
            return 0x0110
        return answer


@contextmanager
def answering_pacs(
    *answers: int | None, sop_classes: Sequence[str] = (), syntaxes: Sequence[str] = (), only_from: Sequence[str] = ()
) -> Iterator[AnsweringPacs]:
    """A pynetdicom SCP for some SOP classes (all by default) in some transfer syntaxes (uncompressed by default)."""
    pacs = AnsweringPacs(list(answers))
    pacs.open.set()
    ae = AE("ANSWERING")
    ae.require_calling_aet = list(only_from)
    contexts = [build_context(uid, list(syntaxes) or None) for uid in (*(sop_classes or ALL_RESULTS), Verification)]
    server = ae.start_server(
        ("127.0.0.1", 0), block=False, contexts=contexts, evt_handlers=[(evt.EVT_C_STORE, pacs.on_store)]
    )
    pacs.port = server.server_address[1]
    try:
        yield pacs
    finally:
        pacs.open.set()
        ae.shutdown()
