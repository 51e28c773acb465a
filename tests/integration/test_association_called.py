"""Several AE titles on one port, senders that must use TLS or may call only some, and what strangers asked for."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from node.catalog import tables
from tests.flow import Flow
from tests.peers import require
from tests.sender import Rejected, Scanner, send
from tests.servers import HASTY, Nodus, eventually, nodus, run_dcmtk
from tests.studies import Series

CT = [(CTImageStorage, ExplicitVRLittleEndian)]
SENDERS = [
    {"ae_title": "ANY", "network": ["127.0.0.1", "10.0.0.0/24"]},
    {"ae_title": "ONLYKEEP", "network": "127.0.0.1", "called": ["KEEP"]},
    {"ae_title": "SAFE", "network": "127.0.0.1", "tls": True},
    {"ae_title": "STORES", "network": "127.0.0.1", "pipeline": "store", **{k: HASTY[0][k] for k in ("quiet_s",)}},
    {"ae_title": "HASTY", **HASTY[0]},
]
AES = [{"ae_title": "KEEP", "pipeline": "store"}, {"ae_title": "URGENT", "priority": 7}]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodus]:
    """A node with three AE titles."""
    data = tmp_path_factory.mktemp("called") / "data"
    with nodus(data, senders=SENDERS, aes=AES, refusals_every_s=0.5) as node:
        yield node


def answer(node: Nodus, calling: str, called: str) -> tuple[int, int, int] | None:
    """A-ASSOCIATE-RJ; None where it was accepted."""
    try:
        Scanner(node.dicom_port, CT, calling, called).release()
    except Rejected as refused:
        return refused.result, refused.source, refused.reason
    return None


@pytest.mark.parametrize(
    ("calling", "called", "expected"),
    [
        ("ANY", "NODUS", None),
        ("ANY", "KEEP", None),
        ("ANY", "URGENT", None),
        ("ANY", "OTHER", (1, 1, 7)),
        ("ONLYKEEP", "KEEP", None),
        ("ONLYKEEP", "NODUS", (1, 1, 7)),
        ("SAFE", "NODUS", (1, 1, 3)),
    ],
)
def test_each_caller_is_heard_where_it_may_call(
    site: Nodus, calling: str, called: str, expected: tuple[int, int, int] | None
) -> None:
    assert answer(site, calling, called) == expected


def test_a_refusal_of_a_known_sender_is_a_security_alert_and_waits_for_no_decision(site: Nodus) -> None:
    answer(site, "SAFE", "NODUS")
    refused = eventually(lambda: [one for one in site.audit("association refused") if one.actor == "SAFE"])
    assert (refused[0].outcome, "heard over TLS alone" in refused[0].detail) == (8, True)
    assert {row["standing"] for row in Flow(site.catalog).rows(tables.sender, ae_title="SAFE")} == {"allowed"}


def send_to(node: Nodus, called: str, series: Series, calling: str = "HASTY") -> str:
    """Study Instance UID, once it is complete."""
    one = Scanner(node.dicom_port, CT, calling, called)
    for payload in series.payloads():
        assert one.store(payload).status == 0
    one.release()
    flow, uid = Flow(node.catalog), series.study_uid
    eventually(lambda: [row for row in flow.rows(tables.study, study_instance_uid=uid) if row["state"] == "complete"])
    return uid


def test_each_ae_title_has_a_routing_of_its_own(site: Nodus) -> None:
    kept, urgent, usual = (
        Flow(site.catalog).study(send_to(site, called, Series(f"at {called}", count=40)))
        for called in ("KEEP", "URGENT", "NODUS")
    )
    assert (kept["outcome"], kept["called_ae_title"]) == ("not analysed", "KEEP")
    assert kept["reasons"] == ["Kept, not read: AE title KEEP was called."]
    assert [job["priority"] for job in Flow(site.catalog).rows(tables.job, study_id=urgent["id"])] == [7]
    assert (usual["routing"], len(Flow(site.catalog).rows(tables.job, study_id=usual["id"]))) == ({}, 1)
    assert Flow(site.catalog).rows(tables.job, study_id=kept["id"]) == []
    assert "AE title KEEP was called: pipeline store" in site.command("studies", kept["study_instance_uid"])


def test_a_sender_whose_studies_are_only_stored_gets_no_job(site: Nodus) -> None:
    study = Flow(site.catalog).study(send_to(site, "NODUS", Series("stores", count=40), "STORES"))
    assert study["reasons"] == ["Kept, not read: its sender in the settings says so."]


def test_a_stranger_is_listed_with_what_it_asked_for_and_let_in_by_one_command(site: Nodus, tmp_path: Path) -> None:
    file = tmp_path / "image.dcm"
    series = Series("stranger", count=1)
    series.datasets()[0].save_as(file, enforce_file_format=True)
    us = ("-aet", "NEWCT", "-aec", "KEEP", "127.0.0.1", str(site.dicom_port), str(file))
    for _ in range(3):
        assert "Calling AE Title Not Recognized" in run_dcmtk("storescu", *us, check=False)
    (row,) = eventually(lambda: [
        row for row in site.json("senders") if row["ae_title"] == "NEWCT" and row["refusals"] == 3
    ])  # fmt: skip
    assert row["wish"]["called"] == ["KEEP"]
    assert CTImageStorage in row["wish"]["kinds"]
    assert row["wish"]["implementations"][0].startswith("OFFIS_DCMTK")
    assert row["first_refused_at"] <= row["last_refused_at"]
    said = site.command("senders")
    assert "called KEEP 3 times" in said
    assert "nodus senders allow NEWCT@127.0.0.1" in said
    site.command("senders", "allow", "NEWCT@127.0.0.1")
    eventually(lambda: answer(site, "NEWCT", "KEEP") is None, what="it is heard without a restart")
    assert "NEWCT" not in [row["ae_title"] for row in site.json("senders") if row["standing"] == "pending"]


def test_a_sender_that_must_use_tls_is_heard_over_it(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [require("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "2"]
    command += ["-subj", "/CN=nodus", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    tls = {"tls_certificate": str(certificate), "tls_key": str(key), "tls_port": 0}
    with nodus(tmp_path / "data", senders=[SENDERS[2]], **tls) as node:
        us = ("-aet", "SAFE", "-aec", "NODUS", "127.0.0.1", str(node.tls_port))
        run_dcmtk("echoscu", "+tla", "-ic", *us)
        closed = eventually(lambda: node.audit("association closed"))
        assert '"tls": true' in closed[0].detail


def test_a_plain_association_says_nothing_of_tls(site: Nodus) -> None:
    send(site.dicom_port, Series("plain", count=1).payloads(), "ANY")
    closed = eventually(lambda: [one for one in site.audit("association closed") if one.actor == "ANY"])
    assert '"tls"' not in closed[0].detail
