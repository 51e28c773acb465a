"""Scenarios over the wire: a scanner that is cut off, a PACS that sends twice, a correction, a conflict and its end."""

from collections.abc import Iterator

import numpy as np
import pytest
from pydicom.uid import ImplicitVRLittleEndian

from node.catalog import tables
from tests.flow import Flow
from tests.sender import Payload, Scanner, payload_of, scanner, send
from tests.servers import Nodus, eventually, nodus
from tests.studies import Series

IN_TIME_S = 30.0
PATIENT = [{"network": "127.0.0.0/8", "gapless_quiet_s": 1.0, "quiet_s": 10.0}]


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodus]:
    """A node whose senders are quiet soon, without a worker."""
    with nodus(tmp_path_factory.mktemp("hasty") / "data", senders=PATIENT, receivers=2) as node:
        yield node


def chest(study: str) -> Series:
    return Series(study=study, count=42)


def ended(node: Nodus, series: Series, *, instances: int, jobs: int = 1) -> list[tuple[str, str]]:
    """Kind and state of the jobs of a study, once it is complete with so many files and jobs."""
    flow = Flow(node.catalog)

    def complete() -> list[tuple[str, str]]:
        (study,) = flow.rows(tables.study, study_instance_uid=series.study_uid) or ({"id": 0, "state": ""},)
        ids = {row["id"] for row in flow.rows(tables.series, study_id=study["id"])}
        files = [row for row in flow.rows(tables.instance) if row["series_id"] in ids]
        made = flow.rows(tables.job, study_id=study["id"])
        if study["state"] != "complete" or len(files) != instances or len(made) < jobs:
            return []
        return [(job["kind"], job["state"]) for job in made]

    return eventually(complete, IN_TIME_S, "the study is complete")


def kinds(payloads: list[Payload]) -> list[tuple[str, str]]:
    return [(each.sop_class_uid, each.transfer_syntax_uid) for each in payloads]


def test_a_scanner_that_is_cut_off_inside_a_slice_and_sends_again_is_read_once(hasty: Nodus) -> None:
    payloads = chest("cut").payloads()
    one = Scanner(hasty.dicom_port, kinds(payloads))
    for payload in payloads[:17]:
        assert one.store(payload).status == 0
    context = one.begin(payloads[17])
    one.send(context, payloads[17].data_set[:100], 0, 50, finish=False)
    one.vanish()
    assert {stored.status for stored in send(hasty.dicom_port, payloads)} == {0}
    assert ended(hasty, chest("cut"), instances=42) == [("analysis", "queued")]


def test_two_associations_at_once_are_read_once(hasty: Nodus) -> None:
    payloads = chest("both").payloads()
    with scanner(hasty.dicom_port, payloads) as odd, scanner(hasty.dicom_port, payloads) as even:
        for number, payload in enumerate(payloads):
            (odd if number % 2 else even).store(payload)
    assert ended(hasty, chest("both"), instances=42) == [("analysis", "queued")]


def test_a_pacs_that_sends_everything_twice_and_encoded_otherwise_is_read_once(hasty: Nodus) -> None:
    series = chest("twice")
    send(hasty.dicom_port, series.payloads())
    again = series.datasets()
    for dataset in again:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    send(hasty.dicom_port, series.payloads())
    send(hasty.dicom_port, [payload_of(dataset) for dataset in again])
    assert ended(hasty, series, instances=84) == [("analysis", "queued")]


def test_a_correction_before_anything_is_sent_is_what_a_query_finds(hasty: Nodus) -> None:
    series = chest("corrected")
    send(hasty.dicom_port, series.payloads())
    ended(hasty, series, instances=42)
    send(hasty.dicom_port, series.having(PatientName="Right^Person").payloads())
    assert ended(hasty, series, instances=84, jobs=2) == [("analysis", "superseded"), ("analysis", "queued")]
    (patient,) = Flow(hasty.catalog).rows(tables.patient, patient_name="Right^Person")
    (study,) = Flow(hasty.catalog).rows(tables.study, study_instance_uid=series.study_uid)
    assert study["patient_id"] == patient["id"]


def test_a_conflict_waits_for_the_operator_and_is_read_after_the_decision(hasty: Nodus) -> None:
    series = chest("conflict")
    send(hasty.dicom_port, series.payloads())
    ended(hasty, series, instances=42)
    pixels = np.random.default_rng(2).integers(0, 4096, (4, 4), "<u2").tobytes()
    send(hasty.dicom_port, series.having(PixelData=pixels).payloads([7]))
    assert ended(hasty, series, instances=43, jobs=2) == [("analysis", "superseded"), ("notice", "queued")]
    listed = hasty.json("conflicts", code=1)
    assert [row["version"] for row in listed] == ["authoritative", "conflict"]
    assert "1 images are settled, 0 wait." in hasty.command(
        "conflicts", "settle", series.study_uid, "--keep", listed[1]["digest"]
    )
    assert ended(hasty, series, instances=43, jobs=3)[1:] == [("notice", "superseded"), ("analysis", "queued")]
