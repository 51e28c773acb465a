"""C-STORE over the network to a running node: kept byte for byte, or refused with the status that says why."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
)
from sqlalchemy import select

from node.catalog.tables import study
from node.dicom.contexts import STORED_SYNTAXES, storage_sop_classes
from tests.received import kept, registered, slices
from tests.sender import (
    Payload,
    Scanner,
    announced_as,
    payload_of,
    payload_of_file,
    scanner,
    send,
)
from tests.servers import Nodus, eventually, run_dcmtk
from tests.studies import Series, reception

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about odd files


def test_echo_is_answered(node: Nodus) -> None:
    run_dcmtk("echoscu", "-aec", "NODUS", "127.0.0.1", str(node.dicom_port))


def test_a_series_sent_by_dcmsend_is_there_and_known(node: Nodus, tmp_path: Path) -> None:
    series = Series(f"send {node.web_port}")
    for number, dataset in enumerate(series.datasets()):
        dataset.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    run_dcmtk("dcmsend", "-aec", "NODUS", "127.0.0.1", str(node.dicom_port), "+sd", str(tmp_path))
    registered(node, series, 64)
    for payload in series.payloads():
        assert kept(node, payload) == [payload.data_set]


def test_an_instance_is_received_when_its_file_is_durable_not_when_its_first_byte_comes(node: Nodus) -> None:
    series = Series(f"slow {node.web_port}")
    (payload,) = series.payloads([0])
    incoming = node.data / "spool" / "incoming"
    with scanner(node.dicom_port, [payload]) as one:
        context, half = one.begin(payload), len(payload.data_set) // 2
        one.send(context, payload.data_set[:half], 0, half, finish=False)
        eventually(lambda: list(incoming.iterdir()), what="the node has begun to write")
        between = datetime.now(UTC)
        one.send(context, payload.data_set[half:], 0, len(payload.data_set))
        assert one.answer().status == 0
    registered(node, series, 1)
    with node.catalog.reading() as session:
        seen = session.scalars(select(study.c.last_received_at).where(study.c.study_instance_uid == series.study_uid))
        assert seen.one() > between


def test_every_syntax_and_class_of_the_corpus_is_kept_byte_for_byte_or_refused_by_name(
    sqlite_node: Nodus, corpus: Path
) -> None:
    refused = {
        "pydicom/ExplVR_BigEndNoMeta.dcm": "The data set does not parse",
        "pydicom/ExplVR_LitEndNoMeta.dcm": "The data set does not parse",
        "pydicom/MR_truncated.dcm": "The data set does not parse",
        "pydicom/rtplan_truncated.dcm": "The data set ends before its last element does.",
        "pydicom/JPEGLSNearLossless_08.dcm": "StudyInstanceUID is missing.",
        "pydicom/JPEGLSNearLossless_16.dcm": "StudyInstanceUID is missing.",
        "pydicom/SC_rgb_jls_lossy_line.dcm": "StudyInstanceUID is missing.",
        "pydicom/SC_rgb_jls_lossy_sample.dcm": "StudyInstanceUID is missing.",
    }
    retired = ("1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55")
    files = sorted(path for path in corpus.rglob("*") if path.is_file())
    payloads = {str(path.relative_to(corpus)): payload_of_file(path) for path in files}
    whole = {name: each for name, each in payloads.items() if each.sop_instance_uid and each.sop_class_uid}
    wanted = {each.transfer_syntax_uid for each in whole.values()} - set(retired)
    assert wanted <= set(STORED_SYNTAXES)
    answers, syntaxes = {}, set()
    for name, payload in whole.items():
        with scanner(sqlite_node.dicom_port, [payload]) as one:
            if payload.transfer_syntax_uid in retired:
                assert not one.accepted, name
                continue
            answers[name] = one.store(payload)
        if answers[name].status == 0:
            assert payload.data_set in kept(sqlite_node, payload), name
            syntaxes.add(payload.transfer_syntax_uid)
    said = {name: answer.comment for name, answer in answers.items() if answer.status}
    assert said.keys() == refused.keys()
    assert all(said[name].startswith(text) for name, text in refused.items())
    assert {each.status for each in answers.values()} == {0x0000, 0xC000}
    assert syntaxes == wanted
    assert len(answers) > 250


def test_what_is_no_dicom_at_all_is_refused_as_that(sqlite_node: Nodus, corpus: Path) -> None:
    names = ("pydicom/README.txt", "pydicom/zipMR.gz", "highdicom/frame_rgb.jpeg", "dcmqi/segmentations/liver_seg.nrrd")
    payloads = [
        Payload(CTImageStorage, f"1.2.3.{number}", syntax, (corpus / name).read_bytes())
        for number, name in enumerate(names)
        for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    ]
    assert {answer.status for answer in send(sqlite_node.dicom_port, payloads)} == {0xC000}


def test_every_standard_storage_class_is_accepted_in_every_syntax(sqlite_node: Nodus) -> None:
    classes = storage_sop_classes()
    for start in range(0, len(classes), 8):
        kinds = [(sop_class, syntax) for sop_class in classes[start : start + 8] for syntax in STORED_SYNTAXES]
        one = Scanner(sqlite_node.dicom_port, kinds)
        assert one.accepted == set(kinds)
        one.release()


def test_a_private_class_is_refused_as_a_context_and_not_as_an_association(sqlite_node: Nodus) -> None:
    private = ("1.2.826.0.1.3680043.9.9999.1", ExplicitVRLittleEndian)
    one = Scanner(sqlite_node.dicom_port, [private, (CTImageStorage, ExplicitVRLittleEndian)])
    assert one.accepted == {(CTImageStorage, ExplicitVRLittleEndian)}
    (payload,) = slices("private class")
    assert one.store(payload, kind=private).status == 0x0122
    assert one.store(payload).status == 0x0000
    one.release()


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        (lambda p: announced_as(p, sop_instance_uid="1.2.3.4"), 0xA900),
        (lambda p: p._replace(data_set=p.data_set.replace(CTImageStorage.encode(), MRImageStorage.encode())), 0xA900),
        (lambda p: p._replace(data_set=p.data_set[:-1]), 0xC000),
        (lambda p: p._replace(data_set=p.data_set[:200]), 0xC000),
        (lambda p: p._replace(data_set=b""), 0xC000),
        (lambda p: p._replace(data_set=b"\xff" * 5000), 0xC000),
        (lambda p: p._replace(sop_instance_uid=""), 0xA900),
        (lambda p: announced_as(p, sop_instance_uid="1.2." + "3" * 100), 0xA900),
    ],
    ids=["instance uid", "class uid", "cut at the end", "cut at the start", "empty", "garbage", "no uid", "long uid"],
)
def test_a_wrong_instance_is_refused_by_name_and_the_association_goes_on(
    sqlite_node: Nodus, request: pytest.FixtureRequest, wrong: object, status: int
) -> None:
    good = slices(f"goes on {request.node.callspec.id}", 2)
    bad = wrong(good[0])  # type: ignore[operator]
    kinds = [(CTImageStorage, ExplicitVRLittleEndian)]
    one = Scanner(sqlite_node.dicom_port, kinds)
    answer = one.store(bad, kind=kinds[0])
    assert answer.status == status
    assert 0 < len(answer.comment) <= 64
    assert [one.store(payload).status for payload in good] == [0, 0]
    one.release()
    assert kept(sqlite_node, good[0]) == [good[0].data_set]


def test_a_class_announced_on_another_classes_context_is_refused(sqlite_node: Nodus) -> None:
    (payload,) = slices("other context")
    mr = (MRImageStorage, ExplicitVRLittleEndian)
    one = Scanner(sqlite_node.dicom_port, [mr, (CTImageStorage, ExplicitVRLittleEndian)])
    assert one.store(payload, kind=mr).status == 0xA900
    one.release()


def test_a_file_in_another_syntax_than_announced_is_refused(sqlite_node: Nodus) -> None:
    (payload,) = slices("other syntax")
    for syntax in (ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian):
        (answer,) = send(sqlite_node.dicom_port, [payload._replace(transfer_syntax_uid=syntax)])
        assert answer.status == 0xC000, syntax


def test_the_same_instance_again_is_one_file_and_a_success(node: Nodus) -> None:
    payloads = slices(f"twice {node.web_port}", 3)
    assert [answer.status for answer in send(node.dicom_port, payloads + payloads)] == [0] * 6
    assert kept(node, payloads[0]) == [payloads[0].data_set]
    registered(node, Series(f"twice {node.web_port}"), 3)


@pytest.mark.parametrize(
    ("other", "told"),
    [({"PatientComments": "other"}, "demographics changed"), ({"RescaleIntercept": "-1000"}, "instance conflict")],
)
def test_another_version_is_kept_beside_the_first_and_told_to_the_operator(
    node: Nodus, other: dict[str, str], told: str
) -> None:
    series = Series(f"versions {node.web_port} {told}", count=2)
    (later,) = series.having(**other).payloads([0])
    assert {answer.status for answer in send(node.dicom_port, [*series.payloads(), later])} == {0}
    eventually(lambda: told in {entry.kind for entry in node.audit(study=series.study_uid)})
    registered(node, series, 2)
    assert len(kept(node, later)) == 2


def test_the_same_uid_in_another_study_is_refused(sqlite_node: Nodus) -> None:
    one = Series("patient safety", count=1)
    other = one.having(StudyInstanceUID="1.2.3.4.5")
    first, second = send(sqlite_node.dicom_port, [*one.payloads(), *other.payloads()])
    assert (first.status, second.status) == (0x0000, 0xA900)
    assert second.comment == "This SOP Instance UID was received under another Study Instance"[:64]


def test_the_spool_alone_knows_who_brought_an_instance(sqlite_node: Nodus) -> None:
    (payload,) = slices("origin")
    before = time.time()
    with scanner(sqlite_node.dicom_port, [payload], calling="CT-7") as one:
        assert one.store(payload).status == 0
    (path,) = [
        p for p in (sqlite_node.data / "spool").rglob("*.dcm") if payload.sop_instance_uid.encode() in p.read_bytes()
    ]
    meta = dcmread(path).file_meta
    said = json.loads(meta.PrivateInformation)
    assert (said["calling_ae_title"], said["called_ae_title"], said["address"]) == ("CT-7", "NODUS", "127.0.0.1")
    assert meta.SourceApplicationEntityTitle == "CT-7"
    assert set(said) == set(reception().__dict__)
    assert path.stat().st_mtime >= before - 1


def test_a_big_image_is_streamed(sqlite_node: Nodus) -> None:
    (dataset,) = Series("big").datasets([0])
    dataset.Rows, dataset.Columns = 4096, 4096
    dataset.PixelData = bytes(range(256)) * (4096 * 4096 * 2 // 256)
    payload = payload_of(dataset)
    assert send(sqlite_node.dicom_port, [payload])[0].status == 0
    assert kept(sqlite_node, payload) == [payload.data_set]


def test_many_senders_at_once_lose_nothing(node: Nodus) -> None:
    many = [Series(f"many {node.web_port}", str(number), count=20) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda series: send(node.dicom_port, series.payloads(), "MANY"), many))
    assert {answer.status for each in answers for answer in each} == {0}
    registered(node, many[0], 160)
