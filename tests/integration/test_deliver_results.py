"""Hand-made results from a running node to PACS of every temper: in order, byte for byte, once."""

import hashlib
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SegmentationStorage,
)

from node.catalog import tables
from node.domain.delivery import ResultKind
from tests.deliveries import STUDY, Delivered, analyse_by_hand
from tests.flow import Flow, results
from tests.sender import payload_of_file, send
from tests.servers import (
    HASTY,
    AnsweringPacs,
    Orthanc,
    StoreScp,
    answering_pacs,
    eventually,
    free_port,
    nodus,
    orthanc,
    storescp,
)
from tests.studies import AT, Series


@dataclass
class Site(Delivered):
    """One node and everybody it sends to."""

    plain: StoreScp
    implicit: StoreScp
    orthanc: Orthanc
    picky: AnsweringPacs
    busy: AnsweringPacs
    strict: AnsweringPacs
    nervous: AnsweringPacs

    def settled(self, ae_title: str) -> list[object]:
        eventually(lambda: not {"held", "due"} & set(self.states(ae_title)), what=f"{ae_title} has answered")
        return self.states(ae_title)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Eight destinations of one node, and one study analysed by hand."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "orthanc").mkdir()
    with ExitStack() as stack:
        plain = stack.enter_context(storescp(folder / "plain"))
        implicit = stack.enter_context(storescp(folder / "implicit", "+xi"))
        archive = stack.enter_context(orthanc(folder / "orthanc"))
        picky = stack.enter_context(answering_pacs(sop_classes=[ComprehensiveSRStorage]))
        busy = stack.enter_context(answering_pacs(0xA700))
        strict = stack.enter_context(answering_pacs(0xC000))
        nervous = stack.enter_context(answering_pacs(None))
        closed = stack.enter_context(answering_pacs(only_from=["SOMEBODY"]))
        ports = {
            "PLAIN": plain.port, "IMPLICIT": implicit.port, "ORTHANC": archive.port, "PICKY": picky.port,
            "BUSY": busy.port, "STRICT": strict.port, "NERVOUS": nervous.port, "CLOSED": closed.port,
        }  # fmt: skip
        arguments = [text for name, port in ports.items() for text in ("--pacs", f"{name}@127.0.0.1:{port}")]
        node = stack.enter_context(nodus(folder / "data", *arguments, senders=HASTY))
        job = analyse_by_hand(node, STUDY)
        yield Site(node, job, plain, implicit, archive, picky, busy, strict, nervous)


def test_storescp_gets_the_segmentation_then_the_report_as_the_bytes_on_disk(site: Site) -> None:
    assert site.settled("PLAIN") == ["delivered", "delivered"]
    received = {payload.sop_class_uid: payload for payload in map(payload_of_file, site.plain.files())}
    assert set(received) == {SegmentationStorage, Comprehensive3DSRStorage}
    for kind in (ResultKind.SEG, ResultKind.SR):
        ours = payload_of_file(site.node.data / results(site.job, kind)[0].path)
        theirs = received[ours.sop_class_uid]
        assert theirs.data_set == ours.data_set
        assert theirs.transfer_syntax_uid == ExplicitVRLittleEndian
    seg, sr = site.rows("PLAIN")
    assert seg["delivered_at"] <= sr["delivered_at"]  # type: ignore[operator]
    assert (seg["attempts"], seg["failures"], seg["status"]) == (1, 0, 0)


def test_orthanc_gets_both(site: Site) -> None:
    assert site.settled("ORTHANC") == ["delivered", "delivered"]
    assert set(site.orthanc.instances()) == {
        results(site.job, ResultKind.SEG)[0].sop_instance_uid,
        results(site.job, ResultKind.SR)[0].sop_instance_uid,
    }


def test_who_insists_on_implicit_vr_gets_the_same_content(site: Site) -> None:
    assert site.settled("IMPLICIT") == ["delivered", "delivered"]
    for path in site.implicit.files():
        theirs = dcmread(path)
        assert theirs.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
        assert theirs == dcmread(next(site.node.data.glob(f"results/*-{theirs.Modality}-0.dcm")))
        assert theirs.PatientName == "Müller^Jürgen"


def test_who_knows_only_plain_reports_gets_one_and_refuses_the_rest(site: Site) -> None:
    assert site.settled("PICKY") == ["refused", "delivered"]
    assert [ds.SOPInstanceUID for ds in site.picky.got] == [results(site.job, ResultKind.SR)[1].sop_instance_uid]
    assert "accepts none of the SOP classes" in str(site.rows("PICKY")[0]["error"])


def test_who_is_busy_gets_the_same_instance_again_and_nothing_before_it(site: Site) -> None:
    assert site.settled("BUSY") == ["delivered", "delivered"]
    assert [ds.SOPClassUID for ds in site.busy.got] == [
        SegmentationStorage, SegmentationStorage, Comprehensive3DSRStorage
    ]  # fmt: skip
    assert site.busy.got[0] == site.busy.got[1]
    assert [row["attempts"] for row in site.rows("BUSY")] == [2, 1]


def test_who_refuses_for_good_is_not_asked_again_and_still_gets_the_report(site: Site) -> None:
    assert site.settled("STRICT") == ["refused", "delivered"]
    assert [ds.SOPClassUID for ds in site.strict.got] == [SegmentationStorage, Comprehensive3DSRStorage]
    assert site.rows("STRICT")[0]["status"] == 0xC000


def test_who_aborts_in_the_middle_gets_it_again(site: Site) -> None:
    assert site.settled("NERVOUS") == ["delivered", "delivered"]
    assert [ds.SOPClassUID for ds in site.nervous.got] == [
        SegmentationStorage, SegmentationStorage, Comprehensive3DSRStorage
    ]  # fmt: skip


def test_who_does_not_know_us_is_asked_again_and_the_operator_is_told_why(site: Site) -> None:
    eventually(lambda: site.rows("CLOSED")[0]["failures"] != 0)
    seg, sr = site.rows("CLOSED")
    assert (seg["state"], seg["attempts"], sr["state"], sr["failures"]) == ("due", 0, "due", 0)
    reason = "rejected the association: allow our AE title there."
    assert str(seg["error"]).endswith(reason)
    answers = {row["ae_title"]: row["answer"] for row in site.node.json("destinations", "echo", code=1)}
    assert answers.pop("CLOSED").endswith(reason)
    assert set(answers.values()) == {"ok"}


def test_every_answer_leaves_an_audit_row(site: Site) -> None:
    for ae_title in ("PLAIN", "ORTHANC", "IMPLICIT", "PICKY", "BUSY", "STRICT", "NERVOUS"):
        site.settled(ae_title)
    delivered = [entry.actor for entry in site.node.audit("result delivered")]
    refused = [entry.actor for entry in site.node.audit("result refused")]
    assert sorted(delivered) == sorted(["PLAIN", "ORTHANC", "IMPLICIT", "BUSY", "NERVOUS"] * 2 + ["PICKY", "STRICT"])
    assert sorted(refused) == ["PICKY", "STRICT"]


def test_what_is_sent_back_to_us_changes_nothing(site: Site) -> None:
    site.settled("PLAIN")
    (before,) = Flow(site.node.catalog).rows(tables.study)
    payloads = [payload_of_file(path) for path in site.plain.files()]
    assert {answer.status for answer in send(site.node.dicom_port, payloads, "ORTHANC")} == {0}
    flow = Flow(site.node.catalog)
    eventually(lambda: len(flow.rows(tables.instance)) == 66)
    assert flow.rows(tables.study) == [before]
    assert len(flow.jobs()) == 1


def test_a_pacs_that_was_down_gets_everything_once_even_if_the_node_was_killed(tmp_path: Path) -> None:
    port = free_port()
    with nodus(tmp_path / "data", "--pacs", f"LATE@127.0.0.1:{port}", senders=HASTY) as node:
        job = analyse_by_hand(node, Series("delivered"))
        flow = Flow(node.catalog)
        eventually(lambda: flow.rows(tables.outbox)[0]["failures"] >= 2, what="it was tried twice")
        assert "cannot be reached" in flow.rows(tables.outbox)[0]["error"]
        node.kill()
        with storescp(tmp_path / "late", port=port) as late:
            node.start()
            eventually(lambda: {row["state"] for row in flow.rows(tables.outbox)} == {"delivered"}, 40)
            assert len(late.files()) == 2
            digests = {hashlib.sha256(payload_of_file(path).data_set).hexdigest() for path in late.files()}
            kept = {results(job, ResultKind.SEG)[0].path, results(job, ResultKind.SR)[0].path}
            assert digests == {hashlib.sha256(payload_of_file(node.data / path).data_set).hexdigest() for path in kept}
            assert flow.rows(tables.outbox)[0]["delivered_at"] > AT
            assert node.json("status")["results"] == {"delivered": 2}
            assert node.json("audit", "verify")["problems"] == []


def test_a_pacs_that_accepts_and_then_says_nothing_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        peer = f"SILENT@127.0.0.1:{silent.getsockname()[1]}"
        with nodus(tmp_path / "data", "--pacs", peer, senders=HASTY) as node:
            analyse_by_hand(node, STUDY)
            connection, _ = silent.accept()
            with connection:
                assert connection.recv(1) == b"\x01"  # A-ASSOCIATE-RQ
                node.stop()
