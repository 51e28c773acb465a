"""One job table, three adapters: UPS, the worklist and private keys say the same of every job, on both databases."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from node.catalog import tables
from tests import shadowed
from tests.commanded import commanded, worker
from tests.flow import Flow
from tests.sender import send
from tests.servers import Nodus, Postgres, eventually, run_dcmtk
from tests.studies import Series, header_of_payload
from tests.workflowed import brought, dcmtk_find, managed, private, step_of, steps, worklist

STATE, PROGRESS, STAGE, REPORT, SEGMENTATION, STEP = 0x01, 0x02, 0x03, 0x08, 0x09, 0x10
READ_WITHIN_S = 240.0
QUEUE, FAILED, STORAGE, EVENTS = 0x0D, 0x11, 0x12, 0x13


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodus]:
    """A node with an admin and a worklist, whose worker is a program of ours."""
    data = tmp_path_factory.mktemp("adapters") / "data"
    if request.param == "sqlite":
        with managed(data) as started:
            yield started
    else:
        server: Postgres = request.getfixturevalue("postgres_server")
        with server.database() as url, managed(data, database_url=url) as started:
            yield started


@dataclass(frozen=True)
class Seen:
    """What an admin sees of a study's job."""

    by_step: tuple[str, str]
    """Procedure Step State and Input Readiness State."""
    by_worklist: str
    by_keys: str
    uids: tuple[str, str]
    """Of the step, by UPS and by private key."""


def seen(node: Nodus, study: str) -> Seen:
    """One look through each adapter."""
    (step,) = steps(node, f"StudyInstanceUID={study}", "ProcedureStepState", "InputReadinessState", "SOPInstanceUID")
    (entry,) = worklist(node, study)
    state, uid = private(node, study, STATE, STEP)
    return Seen(
        (step.ProcedureStepState, step.InputReadinessState),
        entry.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus,
        state,
        (step.SOPInstanceUID, uid),
    )


def test_three_adapters_list_the_same_jobs_in_the_same_states(node: Nodus, tmp_path: Path) -> None:
    images, hold = shadowed.payloads("hold"), tmp_path / "hold"
    held, waiting = header_of_payload(images[0]).study_instance_uid, commanded("waiting", "nothing special").study_uid
    hold.touch()
    with worker(node, "hold", AT_WILL_HOLDS=str(hold)):
        send(node.dicom_port, images)
        eventually(lambda: job_in(node, held)["state"] == "running", 60, "it is being read")
        send(node.dicom_port, commanded("waiting", "nothing special").payloads())
        eventually(lambda: job_in(node, waiting)["state"] == "queued", 60, "it has a job")
        running, queued = seen(node, held), seen(node, waiting)
        assert (running.by_step, running.by_worklist, running.by_keys) == (
            ("IN PROGRESS", "READY"), "STARTED", "RUNNING"
        )  # fmt: skip
        assert (queued.by_step, queued.by_worklist, queued.by_keys) == (("SCHEDULED", "READY"), "READY", "QUEUED")
        assert how_far(node, held, running.uids[0])
        hold.unlink()
        eventually(lambda: {job_in(node, each)["state"] for each in (held, waiting)} == {"done"}, READ_WITHIN_S)
    done, refused = seen(node, held), seen(node, waiting)
    assert (done.by_step, done.by_worklist, done.by_keys) == (("COMPLETED", "READY"), "DEPARTED", "DONE")
    assert (refused.by_step, refused.by_worklist, refused.by_keys) == (("CANCELED", "READY"), "DEPARTED", "DONE")
    assert running.uids == done.uids
    assert running.uids[0] == running.uids[1] == step_of(node, job_in(node, held)["id"])
    (step,) = steps(node, f"SOPInstanceUID={done.uids[0]}", "UnifiedProcedureStepPerformedProcedureSequence")
    (performed,) = step.UnifiedProcedureStepPerformedProcedureSequence
    named = [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in performed.OutputInformationSequence]
    assert set(private(node, held, REPORT, SEGMENTATION)) == set(named)


def how_far(node: Nodus, study: str, uid: str) -> bool:
    """All three tell the same progress."""
    (step,) = steps(node, f"SOPInstanceUID={uid}", "ProcedureStepProgressInformationSequence")
    (progress,) = step.ProcedureStepProgressInformationSequence
    (entry,) = worklist(node, study, "ScheduledProcedureStepSequence[0].ScheduledProcedureStepDescription")
    percent, stage = private(node, study, PROGRESS, STAGE)
    told = entry.ScheduledProcedureStepSequence[0].ScheduledProcedureStepDescription
    assert (str(progress.ProcedureStepProgress), progress.ProcedureStepProgressDescription) == (percent, stage)
    return bool(told == f"AI {percent} %: {stage}")


def job_in(node: Nodus, study: str) -> dict[str, Any]:
    """The newest job of a study; where there is none yet, one without a state."""
    flow = Flow(node.catalog)
    of_study = [row["id"] for row in flow.rows(tables.study, study_instance_uid=study)]
    return next((row for row in reversed(flow.jobs()) if row["study_id"] in of_study), {"state": ""})


def test_the_worklist_is_served_under_its_own_title_only(node: Nodus) -> None:
    series, _ = brought(node, "apart")
    key = ("-k", f"StudyInstanceUID={series.study_uid}")
    at = ("127.0.0.1", str(node.dicom_port))
    nothing = "No Acceptable Presentation Contexts"
    assert nothing in run_dcmtk("findscu", "-W", "-aec", "NODUS", *at, *key, check=False)
    assert nothing in run_dcmtk("findscu", "-S", "-aec", "WORKLIST", *at, *key, check=False)
    (entry,) = worklist(node, series.study_uid, "PatientID", "AccessionNumber", "RequestedProcedureID")
    assert (entry.PatientID, entry.AccessionNumber) == ("TEST-apart", "ACC-apart")
    assert run_dcmtk("echoscu", "-aec", "WORKLIST", *at) == ""


@pytest.mark.parametrize(
    ("key", "matches"),
    [
        ("ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus=READY", True),
        ("ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus=STARTED", False),
        ("ScheduledProcedureStepSequence[0].ScheduledStationAETitle=WORKLIST", True),
        ("ScheduledProcedureStepSequence[0].ScheduledStationAETitle=CT1", False),
        ("ScheduledProcedureStepSequence[0].Modality=MR", False),
        ("ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate=20240101-", True),
        ("PatientName=nodus*", True),
        ("PatientID=TEST-listed", True),
        ("PatientID=TEST", False),
    ],
)
def test_worklist_entries_match_by_each_key(node: Nodus, key: str, matches: bool) -> None:
    if not Flow(node.catalog).rows(tables.study, study_instance_uid=LISTED.study_uid):
        brought(node, "listed")
    asked = ["-k", f"StudyInstanceUID={LISTED.study_uid}", "-k", key]
    assert len(dcmtk_find(node, "-W", "-aec", "WORKLIST", *asked)) == matches


LISTED = Series("listed")


def test_an_admin_is_told_what_the_node_knows_of_itself_and_that_is_written_down(node: Nodus) -> None:
    series, _ = brought(node, "admin asks")
    before = len(node.audit("audit log used"))
    queue, failed, storage, events = private(node, series.study_uid, QUEUE, FAILED, STORAGE, EVENTS, calling="ADMIN")
    waiting = [job for job in Flow(node.catalog).jobs() if job["state"] == "queued"]
    assert (int(queue), failed) == (len(waiting), "0")
    assert int(storage) > 0
    assert "job created" in events
    assert not any(word in events for word in ("Nodus^Test", "TEST-admin", "ACC-admin"))
    row = eventually(lambda: node.audit("audit log used")[before:], what="it is written down")[0]
    assert (row.actor, row.address) == ("ADMIN", "127.0.0.1")
    assert json.loads(row.detail) == {"keys": "QueueDepth FailedJobs StorageLeft LastEvents"}


def test_who_is_no_admin_gets_the_keys_of_the_node_empty_and_a_warning(node: Nodus) -> None:
    series, _ = brought(node, "visitor asks")
    before = len(node.audit("audit log used"))
    assert private(node, series.study_uid, QUEUE, FAILED, STORAGE, EVENTS) == [""] * 4
    keys = ["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={series.study_uid}", "(0099,0010)=NODUS 1.0", "(0099,100d)"]
    asked = [part for key in keys for part in ("-k", key)]
    command = ("findscu", "-d", "-S", "-aec", "NODUS", "127.0.0.1", str(node.dicom_port), *asked)
    assert "0xff01" in run_dcmtk(*command).lower()
    assert len(node.audit("audit log used")) == before


def test_an_admin_who_asks_for_jobs_alone_leaves_no_such_row(node: Nodus) -> None:
    series, _ = brought(node, "admin looks")
    before = len(node.audit("audit log used"))
    answered = len(node.audit("query answered"))
    assert private(node, series.study_uid, STATE, calling="ADMIN") == ["QUEUED"]
    eventually(lambda: len(node.audit("query answered")) > answered)
    assert len(node.audit("audit log used")) == before
