"""No patient's name, id or accession number in a log line, a metric, an exception text, a message or a file name."""

import signal
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from pydicom import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from node.catalog import tables
from node.dicom.answers import keep_answers
from node.domain.peers import Destination
from tests.flow import Flow
from tests.hooks import Hook
from tests.sender import Payload, announced_as, send
from tests.sentinel import BIRTH_DATE, NAME, PATIENT, sentinels_in
from tests.servers import HASTY, Nodus, eventually, free_port, nodus
from tests.studies import Series

KEYS = ("PatientName", "PatientID", "AccessionNumber", "PatientBirthDate", "ReferringPhysicianName")


def with_raw(payload: Payload, old: bytes, new: bytes) -> Payload:
    assert len(old) == len(new)
    assert old in payload.data_set
    return payload._replace(data_set=payload.data_set.replace(old, new))


def ask_for_the_patient(node: Nodus) -> None:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.update({keyword: PATIENT[keyword] for keyword in KEYS})
    ae = AE("FINDER")
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    association = keep_answers(ae.associate("127.0.0.1", node.dicom_port, ae_title="NODUS"))
    list(association.send_c_find(identifier, StudyRootQueryRetrieveInformationModelFind))
    association.release()


def everything_that_can_go_wrong(node: Nodus) -> None:
    """Good, refused, broken and contradicting instances of one patient, with the name where numbers belong."""
    good = Series("privacy").having(**PATIENT)
    short = Series("privacy short").having(**PATIENT, SeriesDescription=NAME)
    first = good.payloads()
    send(node.dicom_port, first)
    send(node.dicom_port, short.payloads(range(5)))
    send(node.dicom_port, Series("privacy").having(**PATIENT, PatientComments=NAME).payloads([1]))
    send(node.dicom_port, Series("privacy short").having(**PATIENT, PixelData=b"\7" * 32).payloads([1]))
    send(node.dicom_port, Series("privacy").having(**PATIENT, StudyInstanceUID="1.2.3").payloads([2]))
    send(node.dicom_port, [announced_as(first[3], sop_instance_uid="1.2.3.4")])
    send(node.dicom_port, [first[4]._replace(data_set=first[4].data_set[:400])])
    broken = Series("privacy broken").having(**PATIENT)
    for number, (old, new) in enumerate(
        [(b"0.7\\0.7", b"ZQ4711I"), (BIRTH_DATE.encode(), b"ZQ4711ID"), (b"101112", b"ZQ4711")]
    ):
        (payload,) = broken.payloads([number])
        send(node.dicom_port, [with_raw(payload, old, new)])
        send(node.dicom_port, [with_raw(with_raw(payload, old, new), b"Thorax 2.5", b"Zqsentinel")])
    ask_for_the_patient(node)


def journal(node: Nodus) -> str:
    """What its receivers write down while the node itself stands still, as when its database is away."""
    assert node.process is not None
    (payload,) = Series("privacy journal").having(**PATIENT).payloads([0])
    node.process.send_signal(signal.SIGSTOP)
    try:
        send(node.dicom_port, [announced_as(payload, sop_instance_uid="1.2.3.4")])
        ask_for_the_patient(node)
        folder = node.data / "spool" / "journal"
        return "".join(path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file())
    finally:
        node.process.send_signal(signal.SIGCONT)


def processes(node: Nodus) -> list[str]:
    """Command line, title and environment of the node and of everything that it started."""
    assert node.process is not None
    pids, found = [node.process.pid], []
    while pids:
        here = Path("/proc", str(pids.pop()))
        with suppress(OSError):  # it has ended meanwhile
            pids += [int(pid) for path in here.glob("task/*/children") for pid in path.read_text().split()]
            said = b" ".join((here / name).read_bytes() for name in ("cmdline", "comm", "environ"))
            found.append(said.replace(b"\0", b" ").decode(errors="replace"))
    return found


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Nodus:
    """A node that talks as much as it can, after everything went wrong, and has ended."""
    data = tmp_path_factory.mktemp("privacy") / "data"
    unreachable = Destination("AWAY", "127.0.0.1", free_port())
    arguments = ("--pacs", f"{unreachable.ae_title}@{unreachable.host}:{unreachable.port}")
    temporary = data.with_name("tmp")
    temporary.mkdir()
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("TMPDIR", str(temporary))
        hook = Hook()
        stack.enter_context(hook.listening())
        talkative = {"log_level": "DEBUG", "worker": True, "alert_webhook_url": hook.url}
        node = stack.enter_context(nodus(data, *arguments, senders=HASTY, **talkative))
        everything_that_can_go_wrong(node)
        flow = Flow(node.catalog)
        eventually(lambda: all(row["state"] == "complete" for row in flow.rows(tables.study)), what="all is settled")
        eventually(lambda: flow.audit("instance conflict"), what="a conflict is told")
        eventually(lambda: any(row["error"] for row in flow.rows(tables.outbox)), 120, "a delivery has failed")
        eventually(lambda: hook.bodies, 60, "an alert is told")
        node.environment["JOURNAL"] = journal(node)
        node.environment["PROCESSES"] = "\n".join(processes(node))
        node.environment["ALERTS"] = "\n".join(hook.bodies)
        node.environment["METRICS"] = node.web("/metrics").body + node.web("/readyz").body
        uids = [Series(name).study_uid for name in ("privacy", "privacy short", "privacy broken")]
        commands = (["studies"], *(["studies", uid] for uid in uids[1:]), ["jobs"], ["senders"])
        node.environment["COMMANDS"] = node.command("audit", "export") + node.command("studies", uids[0])
        node.environment["COMMANDS"] += "".join(node.command(*arguments, "--json") for arguments in commands)
        node.environment["COMMANDS"] += "".join(node.command(each, "--json", code=1) for each in ("status", "alerts"))
        node.stop()
    return node


def test_the_log_names_nobody(exposed: Nodus) -> None:
    assert "an instance came again with other content" in exposed.log()
    assert [line for line in exposed.log().splitlines() if sentinels_in(line)] == []


def test_metrics_and_health_name_nobody(exposed: Nodus) -> None:
    assert "nodus_instances_refused_total" in exposed.environment["METRICS"]
    assert sentinels_in(exposed.environment["METRICS"]) == []


def test_the_commands_of_an_operator_name_nobody(exposed: Nodus) -> None:
    assert Series("privacy").study_uid in exposed.environment["COMMANDS"]
    assert sentinels_in(exposed.environment["COMMANDS"]) == []


def test_the_audit_trail_names_nobody(exposed: Nodus) -> None:
    assert [entry for entry in exposed.audit() if sentinels_in(str(entry))] == []


def test_what_a_webhook_is_told_names_nobody(exposed: Nodus) -> None:
    assert "conflict" in exposed.environment["ALERTS"]
    assert sentinels_in(exposed.environment["ALERTS"]) == []


def test_no_process_carries_anybody_in_its_title_or_environment(exposed: Nodus) -> None:
    assert len(exposed.environment["PROCESSES"].splitlines()) >= 3
    assert sentinels_in(exposed.environment["PROCESSES"]) == []


def test_the_journal_of_what_happened_without_the_database_names_nobody(exposed: Nodus) -> None:
    assert "SOPInstanceUID is not the Affected SOP Instance UID." in exposed.environment["JOURNAL"]
    assert sentinels_in(exposed.environment["JOURNAL"]) == []


def test_no_file_name_names_anybody(exposed: Nodus) -> None:
    assert [path for path in exposed.data.rglob("*") if sentinels_in(path.name)] == []


def test_nothing_is_left_in_the_temporary_folder(exposed: Nodus) -> None:
    assert list(exposed.data.with_name("tmp").rglob("*")) == []


def test_queue_messages_name_nobody(exposed: Nodus) -> None:
    messages = [path.read_text(errors="replace") for path in (exposed.data / "broker").rglob("*") if path.is_file()]
    assert messages
    assert sentinels_in("".join(messages)) == []


def test_the_patient_stands_where_it_must_and_nowhere_else(exposed: Nodus) -> None:
    holding = {
        path.relative_to(exposed.data).parts[0]
        for path in exposed.data.rglob("*")
        if path.is_file() and sentinels_in(path.read_bytes().decode("latin-1"))
    }
    assert {name.removesuffix("-wal").removesuffix("-shm") for name in holding} == {
        "spool",
        "results",
        "nodus.db",
    }
    assert Path(exposed.data, "nodus.db").stat().st_mode & 0o077 == 0
