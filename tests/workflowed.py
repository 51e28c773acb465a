"""A node that workflow managers talk to, and what its jobs look like through each of the three adapters."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydicom import Dataset, dcmread

from node.catalog import tables
from tests.flow import Flow
from tests.sender import send
from tests.servers import HASTY, Nodus, eventually, nodus, run_dcmtk
from tests.studies import Series

ADMINS = [{"ae_title": "ADMIN", "network": "127.0.0.1"}]


@contextmanager
def managed(data: Path, *subscribers: dict[str, Any], **settings: Any) -> Iterator[Nodus]:
    """A node with an admin, a worklist, and subscribers."""
    values = {"senders": HASTY, "admins": ADMINS, "worklist_ae_title": "WORKLIST", "subscribers": subscribers}
    with nodus(data, **{**values, **settings}) as node:
        yield node


def steps(node: Nodus, *keys: str) -> list[Dataset]:
    """Answers to pynetdicom's findscu, by Unified Procedure Step."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pynetdicom", "findscu", "127.0.0.1", str(node.dicom_port), "-aec", "NODUS"]
        for key in keys:
            command += ["-k", key]
        ended = subprocess.run(
            [*command, "-U", "-w"], cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )
        assert ended.returncode == 0, ended.stderr
        return [dcmread(path, force=True) for path in sorted(Path(folder).glob("*.dcm"))]


def dcmtk_find(node: Nodus, *arguments: str, calling: str = "FINDSCU") -> list[Dataset]:
    """Answers to DCMTK's findscu."""
    with TemporaryDirectory() as folder:
        said = run_dcmtk("findscu", "-aet", calling, "127.0.0.1", str(node.dicom_port), "-X", "-od", folder, *arguments)
        assert "E: " not in said, said
        return [dcmread(path) for path in sorted(Path(folder).iterdir())]


def worklist(node: Nodus, study: str, *keys: str) -> list[Dataset]:
    """What the Modality Worklist lists of a study."""
    asked = [f"StudyInstanceUID={study}", "ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus", *keys]
    return dcmtk_find(node, "-W", "-aec", "WORKLIST", *(part for key in asked for part in ("-k", key)))


def private(node: Nodus, study: str, *elements: int, calling: str = "FINDSCU") -> list[str]:
    """Private values of a study."""
    asked = ["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={study}", "(0099,0010)=NODUS 1.0"]
    asked += [f"(0099,10{element:02x})" for element in elements]
    keys = [part for key in asked for part in ("-k", key)]
    (answer,) = dcmtk_find(node, "-S", "-aec", "NODUS", *keys, calling=calling)
    block = answer.private_block(0x0099, "NODUS 1.0")
    values = [block[element].value if element in block else None for element in elements]
    return ["" if value is None else str(value) for value in values]


def brought(node: Nodus, name: str, **attributes: Any) -> tuple[Series, int]:
    """A study that is here and has a queued job; its id."""
    series = Series(name).having(**attributes)
    send(node.dicom_port, series.payloads())
    return series, queued(node, series)


def queued(node: Nodus, series: Series) -> int:
    """The job of a study, when it waits for a worker."""
    flow = Flow(node.catalog)

    def found() -> int:
        of_study = flow.rows(tables.study, study_instance_uid=series.study_uid)
        jobs = flow.rows(tables.job, study_id=of_study[0]["id"], state="queued") if of_study else []
        return int(jobs[-1]["id"]) if jobs else 0

    return eventually(found, 60, "it has a queued job")


def step_of(node: Nodus, job_id: int) -> str:
    """SOP Instance UID of the step of a job."""
    (row,) = Flow(node.catalog).rows(tables.workitem, job_id=job_id)
    return str(row["sop_instance_uid"])
