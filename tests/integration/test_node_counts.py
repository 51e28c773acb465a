"""Independent counts of a study: MPPS, IAN and C-FIND complete it at once, or keep it waiting, and never harm it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid

from node.catalog import overview, peers, tables
from node.catalog.session import Catalog
from node.domain.announcement import StepState, Teller
from node.domain.peers import Destination, Sender, Standing
from node.domain.reception import CountTold, Ending
from node.errors import PeerFailed
from node.flow import counts as counts_flow
from tests.flow import Flow
from tests.sender import send
from tests.servers import Nodus, eventually, nodus, orthanc, run_dcmtk
from tests.servers.telling import SECRET, available, begun, ended, tell
from tests.studies import AT, Series, after

CHEST = Series("counted")
PACS = Destination("PACS", "127.0.0.1", 104)
IN_PROGRESS, COMPLETED = StepState.IN_PROGRESS, StepState.COMPLETED


TOLD = CountTold("CT1", "127.0.0.1", Teller.MPPS, "1.2.3", CHEST.study_uid, COMPLETED, (), AT)


def says(
    flow: Flow, state: StepState = COMPLETED, count: int = 64, series: str = CHEST.series_uid, **changes: Any
) -> None:
    counts = ((series, count),) if count else ()
    with flow.catalog.writing() as session:
        counts_flow.told(session, replace(TOLD, state=state, series=counts, **changes))


def evidence(flow: Flow) -> list[str]:
    """Of the series, then of the study; empty while open."""
    rows = (*flow.rows(tables.series), *flow.rows(tables.study))
    return [row["evidence"] if row["state"] == "complete" else "" for row in rows]


COUNTED = ["independent count"] * 2


@pytest.mark.parametrize("teller", list(Teller))
def test_a_count_that_is_reached_completes_series_and_study_at_once_though_the_association_is_open(
    catalog: Catalog, teller: Teller
) -> None:
    flow = Flow(catalog)
    says(flow, teller=teller)
    flow.receive(CHEST.headers(), ending=None)
    flow.complete(AT)
    assert evidence(flow) == COUNTED
    grounds = flow.study(CHEST.study_uid)["evidence_detail"]
    assert (grounds["expected"], grounds["told_by"]) == (64, str(teller))
    assert [row["state"] for row in flow.jobs()] == ["queued"]


def test_it_does_not_matter_what_comes_first_or_twice(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(CHEST.headers(range(63)), ending=None)
    says(flow, COMPLETED, study_instance_uid="")
    says(flow, IN_PROGRESS, 0)
    says(flow, COMPLETED, study_instance_uid="")
    flow.complete(after(20))
    assert evidence(flow) == ["", ""]
    flow.receive(CHEST.headers([63]), after(20), ending=None)
    flow.complete(after(20))
    assert evidence(flow) == COUNTED
    says(flow, COMPLETED, 99, study_instance_uid="", at=after(30))
    says(flow, IN_PROGRESS, 0, at=after(30))
    flow.complete(after(2000))
    assert evidence(flow) == COUNTED
    assert len(flow.audit("count told")) == 2


def test_a_count_that_is_not_reached_keeps_a_gapless_study_open_until_the_cap_and_is_told(catalog: Catalog) -> None:
    flow = Flow(catalog)
    says(flow, count=70)
    flow.receive(CHEST.headers())
    flow.complete(after(899))
    assert evidence(flow) == ["", ""]
    flow.complete(after(900))
    assert evidence(flow) == ["hard cap"] * 2
    assert flow.study(CHEST.study_uid)["evidence_detail"]["expected"] == 70


@pytest.mark.parametrize(
    ("state", "count", "series"),
    [
        (IN_PROGRESS, 70, CHEST.series_uid),  # it goes on, for ever
        (COMPLETED, 0, CHEST.series_uid),
        (COMPLETED, 63, CHEST.series_uid),  # contradicted by what is here
    ],
)
def test_what_says_nothing_changes_nothing(catalog: Catalog, state: StepState, count: int, series: str) -> None:
    flow = Flow(catalog)
    says(flow, state, count, series=series)
    says(flow, COMPLETED, 64, study_instance_uid=generate_uid(), uid="9.9")
    flow.receive(CHEST.headers())
    flow.complete(after(2.9))
    assert evidence(flow) == ["", ""]
    flow.complete(after(3))
    assert evidence(flow) == ["gapless stack, clean release"] * 2


def test_a_discontinued_step_counts_what_it_made(catalog: Catalog) -> None:
    flow = Flow(catalog)
    says(flow, StepState.DISCONTINUED, 30)
    flow.receive(CHEST.headers(range(30)), ending=Ending.ABORTED)
    flow.complete(AT)
    assert evidence(flow) == COUNTED
    assert flow.study(CHEST.study_uid)["evidence_detail"]["told_by"] == "MPPS (discontinued)"


def test_a_study_waits_for_a_series_that_was_told_of(catalog: Catalog) -> None:
    flow, other = Flow(catalog), Series("counted", "2", count=10)
    says(flow)
    says(flow, uid="1.2.4", series=other.series_uid, count=10)
    flow.receive(CHEST.headers())
    flow.complete(after(60))
    assert evidence(flow) == ["independent count", ""]
    flow.receive(other.headers(), after(60))
    flow.complete(after(60))
    assert evidence(flow) == [*COUNTED, "independent count"]


def test_a_series_that_nobody_told_of_keeps_its_own_time(catalog: Catalog) -> None:
    flow, other = Flow(catalog), Series("counted", "2", count=10)
    says(flow)
    flow.receive([*CHEST.headers(), *other.headers()])
    flow.complete(AT)
    assert evidence(flow) == ["independent count", "", ""]
    flow.complete(after(3))
    assert evidence(flow) == ["independent count", *["gapless stack, clean release"] * 2]


def test_what_was_told_of_studies_that_never_come_is_forgotten(catalog: Catalog) -> None:
    flow = Flow(catalog)
    says(flow, uid="9.1", study_instance_uid="9.9")
    says(flow, uid="9.2", study_instance_uid="9.8", at=AT + counts_flow.KEPT_FOR * 2)
    assert [row["uid"] for row in flow.rows(tables.announcement)] == ["9.2"]


class Archive:
    """Asked how many images a study has."""

    def __init__(self, *answers: int | PeerFailed) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, _: Destination, study: str) -> dict[str, int]:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, PeerFailed):
            raise answer
        return {CHEST.series_uid: answer} if answer else {}


def asking(flow: Flow, archive: Archive, now: list[datetime]) -> counts_flow.Counting:
    flow.destination(PACS)
    sender = Sender("*", "127.0.0.0/8", Standing.ALLOWED, count_at="PACS")
    with flow.catalog.writing() as session:
        peers.configure_senders(session, [sender])
    return counts_flow.Counting(flow.catalog, archive, lambda: now[0])


def test_the_archive_of_a_sender_is_asked_when_its_study_is_quiet_and_again_while_images_are_missing(
    catalog: Catalog,
) -> None:
    flow, archive, now = Flow(catalog), Archive(64, PeerFailed("away"), 64), [after(0.5)]
    counting = asking(flow, archive, now)
    flow.receive(CHEST.headers(range(60)))
    assert not counting.step()
    now[0] = after(1)
    assert counting.step()
    assert not counting.step()
    flow.complete(after(20))
    assert evidence(flow) == ["", ""]
    now[0] = after(31)
    assert counting.step()  # the archive is away
    flow.receive(CHEST.headers(range(60, 64)), after(31))
    flow.complete(after(31))
    assert (evidence(flow), archive.asked) == (COUNTED, 2)
    now[0] = after(99)
    assert not counting.step()


def test_an_archive_that_does_not_say_or_is_away_leaves_a_study_to_its_own_evidence(catalog: Catalog) -> None:
    flow, now = Flow(catalog), [after(1)]
    counting = asking(flow, Archive(PeerFailed("away"), 0), now)
    flow.receive(CHEST.headers())
    counting.step()
    now[0] = after(2)
    flow.receive([], after(2))
    counting.step()
    flow.complete(after(3))
    assert evidence(flow) == ["gapless stack, clean release"] * 2


# over the wire


def uids(series: Series, count: int = 64) -> Sequence[str]:
    return [series.instance_uid(number) for number in range(count)]


def test_a_step_is_created_set_and_ended_with_the_statuses_of_the_standard(node: Nodus) -> None:
    step, other, study = generate_uid(), generate_uid(), generate_uid()
    series = {generate_uid(): ["1.2", "1.3"]}
    none, bad = Dataset(), ended(series, "FINISHED")
    none.PatientID = "SENTINEL"
    assert tell(
        node.dicom_port,
        ("set", ended(series), other),
        ("create", none, other),
        ("create", begun(""), other),
        ("create", begun(study, "COMPLETED"), other),
        ("create", begun(study), step),
        ("set", bad, step),
        ("set", ended(series, "IN PROGRESS"), step),
    ) == [0x0112, 0x0120, 0x0121, 0x0106, 0x0000, 0x0106, 0x0000]
    eventually(lambda: len([each for each in node.audit("count told") if each.study_instance_uid == study]) == 2)
    assert tell(node.dicom_port, ("create", begun(study), step), ("set", ended(series), step)) == [0x0111, 0x0000]
    eventually(lambda: len([each for each in node.audit("count told") if each.study_instance_uid == study]) == 3)
    assert tell(node.dicom_port, ("set", ended(series), step)) == [0x0110]
    for status in ("0x0106", "0x0110", "0x0111"):
        eventually(lambda status=status: [each for each in refusals(node, step) if status in each], what=status)
    assert SECRET not in node.log() + str(node.audit())


def refusals(node: Nodus, uid: str) -> list[str]:
    return [each.detail for each in node.audit("count refused") if uid in each.detail]


def test_a_notification_is_taken_once(node: Nodus) -> None:
    uid, study = generate_uid(), generate_uid()
    told = available(study, {generate_uid(): ["1.2", "1.3"]})
    assert tell(node.dicom_port, ("notify", told, uid)) == [0x0000]
    eventually(lambda: [each for each in node.audit("count told") if each.study_instance_uid == study])
    nothing = Dataset()
    nothing.PatientID = "SENTINEL"
    assert tell(node.dicom_port, ("notify", told, uid), ("notify", nothing, generate_uid())) == [0x0111, 0x0120]


def test_a_study_is_complete_with_the_last_image_that_the_scanner_told_of(node: Nodus) -> None:
    series, step = Series(f"mpps {node.dicom_port}"), generate_uid()
    tell(node.dicom_port, ("create", begun(series.study_uid), step))
    send(node.dicom_port, series.payloads(range(60)))
    tell(node.dicom_port, ("set", ended({series.series_uid: uids(series)}), step))
    detail = eventually(lambda: told_of(node, series))
    assert "Open: 60 of 64 images that MPPS told of. It waits for the rest" in detail["why"]
    send(node.dicom_port, series.payloads(range(60, 64)))
    detail = eventually(lambda: completed(node, series))
    assert detail["why"] == "Complete: all 64 images that MPPS told of are here."
    assert "MPPS completed: 64 images in 1 series" in node.command("studies", series.study_uid)


def told_of(node: Nodus, series: Series) -> dict[str, object] | None:
    detail = node.json("studies", series.study_uid)
    return detail if detail["told"] and detail["told"][0]["images"] == 64 else None


def test_orthanc_is_asked_how_many_images_a_study_of_its_own_has(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("archive")
    series, files = Series("asked"), tmp_path_factory.mktemp("files")
    for number, dataset in enumerate(series.datasets()):
        dataset.save_as(files / f"{number:02}.dcm", enforce_file_format=True)
    paths = [str(path) for path in sorted(files.iterdir())]
    with orthanc(folder) as pacs:
        run_dcmtk("storescu", "-aec", pacs.aet, "127.0.0.1", str(pacs.port), *paths)
        to = {"ae_title": pacs.aet, "host": "127.0.0.1", "port": pacs.port}
        senders = [{"network": "127.0.0.0/8", "gapless_quiet_s": 600, "quiet_s": 600, "count_at": pacs.aet}]
        with nodus(tmp_path_factory.mktemp("node") / "data", destinations=[to], senders=senders) as node:
            run_dcmtk("storescu", "-aec", "NODUS", "127.0.0.1", str(node.dicom_port), *paths)
            detail = eventually(lambda: completed(node, series))
    assert detail["why"] == "Complete: all 64 images that C-FIND told of are here."


def completed(node: Nodus, series: Series) -> dict[str, object] | None:
    with node.catalog.reading() as session:
        row = overview.study_of_uid(session, series.study_uid)
    return node.json("studies", series.study_uid) if row and row["state"] == "complete" else None
