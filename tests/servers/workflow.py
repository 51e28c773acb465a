"""A workflow manager as a program: `python -m tests.servers.workflow PORT AET` does what stdin says, in JSON.

Each request is [operation, SOP Instance UID, DICOM JSON, type], each answer [status, comment, DICOM JSON, matches].
`python -m tests.servers.workflow listen PORT FILE` is a subscriber: each event is a line of FILE; over TLS with
`FOLDER NAME` behind it, a site's certificates and its own.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (
    UnifiedProcedureStepEvent,
    UnifiedProcedureStepPull,
    UnifiedProcedureStepPush,
    UnifiedProcedureStepWatch,
)

from node.dicom.answers import keep_answers
from tests.servers.processes import answers, free_port, running
from tests.sites import Site


@dataclass(frozen=True)
class Answer:
    """What came back; of a C-FIND the first status, and each match."""

    status: int
    comment: str
    data: Dataset
    found: tuple[Dataset, ...] = ()


Request = tuple[str, str, Dataset | None, int]


def manage(port: int, requests: Sequence[Request], ae_title: str = "ADMIN") -> list[Answer]:
    """Let a workflow manager make requests over one association."""
    asked = [[operation, uid, data.to_json_dict() if data is not None else None, kind]
             for operation, uid, data, kind in requests]  # fmt: skip
    command = [sys.executable, "-m", "tests.servers.workflow", str(port), ae_title]
    ended = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    return [
        Answer(status, comment, Dataset.from_json(data), tuple(map(Dataset.from_json, found)))
        for status, comment, data, found in json.loads(ended.stdout)
    ]


def of(**attributes: Any) -> Dataset:
    """A data set."""
    made = Dataset()
    made.update(attributes)
    return made


@dataclass
class Listener:
    """A subscriber."""

    port: int
    file: Path

    def events(self, uid: str = "") -> list[tuple[int, Dataset]]:
        """Type and information of the events so far, of one step or of all."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        told = [json.loads(line) for line in lines]
        return [(kind, Dataset.from_json(data)) for step, kind, data in told if uid in ("", step)]


@contextmanager
def listening(folder: Path, port: int = 0, secured: tuple[Site, str] | None = None) -> Iterator[Listener]:
    """A subscriber until the end of the block; what it heard before is in the same file. Over TLS it asks for a
    certificate, and shows that of a name."""
    listener = Listener(port or free_port(), folder / "events.jsonl")
    command = [sys.executable, "-m", "tests.servers.workflow", "listen", str(listener.port), str(listener.file)]
    command += [str(secured[0].folder), secured[1]] if secured else []
    with running(command, folder / "listener.log", ready=lambda: answers(listener.port)):
        yield listener


def _do(association: Association, operation: str, uid: str, data: Dataset | None, kind: int) -> tuple[Any, Any]:
    if operation == "get":
        return association.send_n_get([], UnifiedProcedureStepPush, uid, meta_uid=UnifiedProcedureStepWatch)
    if operation == "set":
        return association.send_n_set(data, UnifiedProcedureStepPush, uid, meta_uid=UnifiedProcedureStepPull)
    if operation == "create":
        return association.send_n_create(data, UnifiedProcedureStepPush, uid or None)
    return association.send_n_action(data, kind, UnifiedProcedureStepPush, uid, meta_uid=UnifiedProcedureStepPull)


def _manage(port: int, ae_title: str) -> None:
    ae = AE(ae_title)
    for each in (UnifiedProcedureStepPush, UnifiedProcedureStepPull, UnifiedProcedureStepWatch):
        ae.add_requested_context(each)
    association = keep_answers(ae.associate("127.0.0.1", port, ae_title="NODUS"))
    assert association.is_established
    said = []
    for operation, uid, data, kind in json.load(sys.stdin):
        dataset = Dataset.from_json(data) if data is not None else None
        if operation == "find":
            matches = list(association.send_c_find(dataset, UnifiedProcedureStepPull))
            said.append([matches[0][0].Status, "", {}, [each.to_json_dict() for _, each in matches if each]])
            continue
        status, answer = _do(association, operation, uid, dataset, kind)
        assert "Status" in status, f"no answer to {operation} {kind}, after {said}"
        found = answer.to_json_dict() if answer is not None else {}
        said.append([status.Status, status.get("ErrorComment", ""), found, []])
    association.release()
    json.dump(said, sys.stdout)


def _listen(port: int, file: Path, *secured: str) -> None:
    def on_event(event: evt.Event) -> tuple[int, None]:
        line = [str(event.request.AffectedSOPInstanceUID), event.event_type, event.event_information.to_json_dict()]
        with file.open("a") as out:
            out.write(json.dumps(line) + "\n")
        return 0x0000, None

    ae = AE("WATCHER")
    context = build_context(UnifiedProcedureStepEvent)
    context.scu_role, context.scp_role = False, True
    ae.supported_contexts = [context]
    tls = Site(Path(secured[0])).server(secured[1]) if secured else None
    handlers = [(evt.EVT_N_EVENT_REPORT, on_event)]
    ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers, ssl_context=tls)
    threading.Event().wait()


if __name__ == "__main__":
    if sys.argv[1] == "listen":
        _listen(int(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:])
    else:
        _manage(int(sys.argv[1]), sys.argv[2])
