"""C-GET and C-MOVE against a running node: what goes out, how it is counted, who may have it, and what fails."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, RLELossless
from sqlalchemy import update

from node.catalog import tables
from node.domain.audit import Entry
from node.domain.study import Completeness
from tests.deliveries import finish_by_hand
from tests.flow import Flow
from tests.received import data_set_of as stored_data_set
from tests.retrieving import CT, PT, cancelled_move, data_set_of, encoded, find, get, identifier, move
from tests.sender import payload_of, send
from tests.servers import HASTY, AnsweringPacs, Nodus, StoreScp, answering_pacs, eventually, nodus, storescp
from tests.studies import Series

CHEST = Series("chest", count=5).having(PatientID="P1")
SECOND = Series("chest", "2", count=2).having(PatientID="P1", Modality="PT", SOPClassUID=PT)
OTHER = Series("other", count=3).having(PatientID="P1", StudyDate="20250101")
DAMAGED = Series("damaged", count=3).having(PatientID="P2")
PURGED = Series("purged", count=3).having(PatientID="P3")
PACKED = Series("packed", count=1).having(PatientID="P4")
JUNK = Series("junk", count=1).having(PatientID="P5")
LARGE_BYTES = 64 << 20
LARGE = Series("large", count=1).having(PatientID="P6", Rows=4096, Columns=8192, PixelData=bytes(LARGE_BYTES))
MAY = [{**HASTY[0], "may_retrieve": True}]


@dataclass
class Site:
    """A node, a PACS that gets what is moved to it, and one that answers as it is told."""

    node: Nodus
    viewer: StoreScp
    slow: AnsweringPacs


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("retrieve")
    with (
        storescp(folder / "viewer") as viewer,
        answering_pacs(sop_classes=(CT, PT)) as slow,
        nodus_on(request, folder, viewer, slow) as node,
    ):
        filled(node)
        yield Site(node, viewer, slow)


def nodus_on(request: pytest.FixtureRequest, folder: Path, viewer: StoreScp, slow: AnsweringPacs):  # type: ignore[no-untyped-def]
    plain = {"host": "127.0.0.1", "results": [], "not_analysed": False}
    destinations = [
        {"ae_title": "MOVED", "port": viewer.port, **plain},
        {"ae_title": "SLOW", "port": slow.port, **plain},
        {"ae_title": "GONE", "port": 9, **plain},
        {"ae_title": "RESULTS", "port": viewer.port, **plain, "retrieve": False},
    ]
    database = {}
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_server").database()
        database = {"database_url": url.__enter__()}
        request.addfinalizer(lambda: url.__exit__(None, None, None))
    return nodus(folder / "data", senders=MAY, destinations=destinations, answer_timeout_s=5.0, **database)


def filled(node: Nodus) -> None:
    packed = PACKED.datasets()[0]
    packed.compress(RLELossless, generate_instance_uid=False)
    junk = JUNK.datasets()[0]
    junk.PixelData, junk.file_meta.TransferSyntaxUID = encapsulate([b"none of JPEG 2000"]), JPEG2000Lossless
    series = (CHEST, SECOND, OTHER, DAMAGED, PURGED)
    send(node.dicom_port, [*(each for some in series for each in some.payloads()), *map(payload_of, (packed, junk))])
    flow = Flow(node.catalog)
    eventually(lambda: len(flow.rows(tables.instance)) == 18)
    eventually(lambda: all(row["state"] == Completeness.COMPLETE for row in flow.rows(tables.study)), 40)
    rows = {row["sop_instance_uid"]: row for row in flow.rows(tables.instance)}
    broken = node.data / rows[DAMAGED.instance_uid(1)]["path"]
    raw = bytearray(broken.read_bytes())
    raw[-1] ^= 1
    broken.chmod(0o600)
    broken.write_bytes(raw)
    with node.catalog.writing() as session:
        gone = rows[PURGED.instance_uid(0)]
        place = tables.instance.c.id == gone["id"]
        session.execute(update(tables.instance).where(place).values(purged_at=gone["received_at"]))
    (node.data / rows[PURGED.instance_uid(0)]["path"]).unlink()


def uids(*series: Series) -> set[str]:
    return {each.instance_uid(number) for each in series for number in range(each.count)}


def moved(site: Site) -> dict[str, bytes]:
    """What the viewer has, by SOP Instance UID; it has nothing afterwards."""
    found = {}
    for path in site.viewer.files():
        found[str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)] = stored_data_set(path)
        path.unlink()
    return found


ASKED = [
    (identifier("STUDY", StudyInstanceUID=CHEST.study_uid), uids(CHEST, SECOND)),
    (identifier("STUDY", StudyInstanceUID=[CHEST.study_uid, OTHER.study_uid]), uids(CHEST, SECOND, OTHER)),
    (
        identifier("SERIES", StudyInstanceUID=CHEST.study_uid, SeriesInstanceUID=SECOND.series_uid),
        uids(SECOND),
    ),
    (
        identifier(
            "IMAGE", StudyInstanceUID=CHEST.study_uid, SeriesInstanceUID=CHEST.series_uid,
            SOPInstanceUID=[CHEST.instance_uid(0), CHEST.instance_uid(3)],
        ),
        {CHEST.instance_uid(0), CHEST.instance_uid(3)},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "expected"), ASKED)
def test_each_level_gets_all_that_it_names_and_nothing_else(site: Site, asked: Dataset, expected: set[str]) -> None:
    fetched = get(site.node, asked)
    assert fetched.uids == expected
    assert fetched.last == (0x0000, None, len(expected), 0, 0)


@pytest.mark.parametrize(("asked", "expected"), ASKED)
def test_each_level_moves_all_that_it_names_to_a_destination(site: Site, asked: Dataset, expected: set[str]) -> None:
    assert move(site.node, asked, "MOVED").last == (0x0000, None, len(expected), 0, 0)
    assert moved(site).keys() == expected


def test_bytes_go_out_as_they_are_stored(site: Site) -> None:
    sent = {payload.sop_instance_uid: payload.data_set for payload in CHEST.payloads()}
    asked = identifier("SERIES", StudyInstanceUID=CHEST.study_uid, SeriesInstanceUID=CHEST.series_uid)
    assert {str(each.request.AffectedSOPInstanceUID): data_set_of(each) for each in get(site.node, asked).got} == sent
    assert move(site.node, asked, "MOVED").last[0] == 0x0000
    assert moved(site) == sent


def test_every_answer_counts_what_remains_and_what_is_done(site: Site) -> None:
    asked = identifier("STUDY", StudyInstanceUID=OTHER.study_uid)
    expected = [(0xFF00, 2, 1, 0, 0), (0xFF00, 1, 2, 0, 0), (0x0000, None, 3, 0, 0)]
    assert get(site.node, asked).answers == expected
    assert move(site.node, asked, "MOVED").answers == expected
    moved(site)


def test_failures_and_warnings_of_the_peer_are_counted_and_named(site: Site) -> None:
    asked = identifier("STUDY", StudyInstanceUID=OTHER.study_uid)
    fetched = get(site.node, asked, answers=(0xA700, 0xB007))
    assert fetched.answers == [(0xFF00, 2, 0, 1, 0), (0xFF00, 1, 0, 1, 1), (0xB000, None, 1, 1, 1)]
    assert fetched.failed == [str(fetched.got[0].request.AffectedSOPInstanceUID)]


def test_a_class_that_the_peer_is_no_scp_of_fails_alone(site: Site) -> None:
    fetched = get(site.node, identifier("STUDY", StudyInstanceUID=CHEST.study_uid), classes=(CT,))
    assert fetched.last == (0xB000, None, 5, 2, 0)
    assert set(fetched.failed) == uids(SECOND)


def test_nothing_goes_out_to_who_proposes_no_role(site: Site) -> None:
    fetched = get(site.node, identifier("STUDY", StudyInstanceUID=OTHER.study_uid), classes=())
    assert fetched.last == (0xA702, None, 0, 3, 0)
    assert set(fetched.failed) == uids(OTHER)


@pytest.mark.parametrize(("series", "bad"), [(DAMAGED, 1), (PURGED, 0)])
def test_files_that_are_damaged_or_gone_fail_and_the_others_go(site: Site, series: Series, bad: int) -> None:
    fetched = get(site.node, identifier("STUDY", StudyInstanceUID=series.study_uid))
    assert fetched.last == (0xB000, None, 2, 1, 0)
    assert fetched.failed == [series.instance_uid(bad)]
    assert fetched.uids == uids(series) - {series.instance_uid(bad)}


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"])
def test_who_cannot_take_a_lossless_syntax_gets_the_same_pixels_uncompressed(site: Site, syntax: str) -> None:
    fetched = get(site.node, identifier("STUDY", StudyInstanceUID=PACKED.study_uid), syntaxes=(syntax,))
    assert fetched.last == (0x0000, None, 1, 0, 0)
    (image,) = fetched.got
    assert image.context.transfer_syntax == syntax
    assert image.dataset.SOPInstanceUID == PACKED.instance_uid(0)
    assert image.dataset.PixelData == PACKED.datasets()[0].PixelData
    assert list((site.node.data / "run" / "recoded").iterdir()) == []


def test_who_takes_the_stored_syntax_gets_it(site: Site) -> None:
    fetched = get(site.node, identifier("STUDY", StudyInstanceUID=PACKED.study_uid), syntaxes=(RLELossless,))
    assert fetched.last == (0x0000, None, 1, 0, 0)
    assert fetched.got[0].context.transfer_syntax == RLELossless


def test_who_takes_only_implicit_gets_it(site: Site) -> None:
    fetched = get(site.node, identifier("STUDY", StudyInstanceUID=OTHER.study_uid), syntaxes=("1.2.840.10008.1.2",))
    assert fetched.last == (0x0000, None, 3, 0, 0)
    originals = {each.SOPInstanceUID: each for each in OTHER.datasets()}
    for each in (event.dataset for event in fetched.got):
        assert encoded(each) == encoded(originals[each.SOPInstanceUID])


def test_what_does_not_decode_fails(site: Site) -> None:
    fetched = get(site.node, identifier("STUDY", StudyInstanceUID=JUNK.study_uid))
    assert fetched.last == (0xA702, None, 0, 1, 0)
    assert fetched.failed == [JUNK.instance_uid(0)]


@pytest.mark.parametrize("destination", ["NOBODY", "RESULTS"])
def test_nothing_is_moved_to_who_is_no_destination_for_it(site: Site, destination: str) -> None:
    asked = identifier("STUDY", StudyInstanceUID=OTHER.study_uid)
    assert move(site.node, asked, destination).answers == [(0xA801, None, None, None, None)]
    assert moved(site) == {}


def test_a_destination_that_cannot_be_reached_fails_each_of_them(site: Site) -> None:
    fetched = move(site.node, identifier("STUDY", StudyInstanceUID=OTHER.study_uid), "GONE")
    assert fetched.last == (0xA702, None, 0, 3, 0)
    assert set(fetched.failed) == uids(OTHER)


@pytest.mark.parametrize(
    "asked",
    [
        identifier("PATIENT", PatientID="P*"),
        identifier("STUDY"),
        identifier("STUDY", StudyInstanceUID=""),
        identifier("SERIES", SeriesInstanceUID=CHEST.series_uid),
        identifier("SERIES", StudyInstanceUID=[CHEST.study_uid, OTHER.study_uid], SeriesInstanceUID=CHEST.series_uid),
        identifier("BODY", StudyInstanceUID=CHEST.study_uid),
        Dataset(),
    ],
)
def test_what_names_nothing_by_unique_keys_is_refused(site: Site, asked: Dataset) -> None:
    if not len(asked):
        asked.StudyInstanceUID = CHEST.study_uid
    assert move(site.node, asked, "MOVED").answers == [(0xA900, None, None, None, None)]


def test_nothing_matches_what_is_not_here(site: Site) -> None:
    assert get(site.node, identifier("STUDY", StudyInstanceUID="1.2.3")).answers == [(0x0000, None, 0, 0, 0)]


def test_a_cancel_stops_a_move_while_its_destination_does_not_answer(site: Site) -> None:
    asked, when = identifier("STUDY", StudyInstanceUID=CHEST.study_uid), threading.Event()
    site.slow.got.clear()
    site.slow.open.clear()
    watching = threading.Thread(target=lambda: (eventually(lambda: site.slow.got), when.set()))
    watching.start()
    fetched = cancelled_move(site.node, asked, "SLOW", when)
    watching.join()
    site.slow.open.set()
    assert fetched.last == (0xFE00, 6, 0, 1, 0)
    assert len(fetched.failed) == 1


def test_a_destination_that_does_not_answer_holds_nobody_up_for_longer_than_the_setting(site: Site) -> None:
    site.slow.open.clear()
    try:
        fetched = move(site.node, identifier("STUDY", StudyInstanceUID=OTHER.study_uid), "SLOW")
    finally:
        site.slow.open.set()
    assert fetched.last == (0xA702, None, 0, 3, 0)


def test_the_destination_is_told_who_asked(site: Site) -> None:
    site.slow.asked_by.clear()
    assert move(site.node, identifier("STUDY", StudyInstanceUID=OTHER.study_uid), "SLOW").last[0] == 0x0000
    assert site.slow.asked_by == [("VIEWER", 1)] * 3


def peak_bytes(node: Nodus) -> int:
    """The most memory that any process of a node ever had."""
    assert node.process is not None
    pid = node.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = [line for child in children for line in Path(f"/proc/{child}/status").read_text().splitlines()]
    return max(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def test_a_large_image_goes_out_without_being_held_in_memory(site: Site) -> None:
    send(site.node.dicom_port, LARGE.payloads())
    asked = identifier("STUDY", StudyInstanceUID=LARGE.study_uid)
    eventually(lambda: find(site.node, asked))
    before = peak_bytes(site.node)
    assert move(site.node, asked, "MOVED").last == (0x0000, None, 1, 0, 0)
    assert peak_bytes(site.node) - before < LARGE_BYTES // 4
    moved(site)


def test_who_may_not_retrieve_is_refused_and_may_still_ask(tmp_path: Path) -> None:
    with nodus(tmp_path / "data", senders=HASTY) as node:
        asked = identifier("STUDY", StudyInstanceUID="1.2.3")
        assert get(node, asked).answers == [(0x0124, None, None, None, None)]
        assert move(node, asked, "MOVED").answers == [(0x0124, None, None, None, None)]
        assert find(node, asked) == []
        rows = eventually(lambda: len(found := node.audit("images retrieved")) == 2 and found)
        assert {json.loads(row.detail)["status"] for row in rows} == {"0x0124"}
        assert {row.outcome for row in rows} == {4}


def test_each_retrieval_leaves_a_row_for_each_study(site: Site) -> None:
    studies = [CHEST.study_uid, OTHER.study_uid]
    move(site.node, identifier("STUDY", StudyInstanceUID=studies), "MOVED", "AUDITED")
    moved(site)

    def told() -> list[Entry]:
        return [row for row in site.node.audit("images retrieved") if row.actor == "AUDITED"]

    rows = eventually(lambda: len(found := told()) == 2 and found)
    assert [(row.actor, row.address, row.study_instance_uid) for row in rows] == [
        ("AUDITED", "127.0.0.1", each) for each in sorted(studies)
    ]
    counts = {row.study_instance_uid: json.loads(row.detail) for row in rows}
    assert counts[CHEST.study_uid] == {
        "service": "C-MOVE", "level": "STUDY", "destination": "MOVED", "asked": 10, "completed": 7, "warning": 0,
        "failed": 0, "status": "0x0000",
    }  # fmt: skip
    assert counts[OTHER.study_uid]["completed"] == 3


def test_results_can_be_found_and_fetched_once_a_destination_has_them(tmp_path: Path) -> None:
    study = Series("delivered")
    with storescp(tmp_path / "pacs") as pacs:
        peer = f"PACS@127.0.0.1:{pacs.port}"
        with nodus(tmp_path / "data", "--pacs", peer, senders=MAY) as node:
            pacs.process.kill()
            pacs.process.wait()
            send(node.dicom_port, study.payloads())
            finish_by_hand(node)
            asked = identifier("SERIES", StudyInstanceUID=study.study_uid, SeriesInstanceUID="", Modality="")
            eventually(lambda: {row["state"] for row in Flow(node.catalog).rows(tables.outbox)} == {"due"}, 30)
            assert [each.Modality for each in find(node, asked)] == ["CT"]
            classes = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.34", CT)
            whole = identifier("STUDY", StudyInstanceUID=study.study_uid)
            assert len(get(node, whole, classes=classes).got) == study.count
            with storescp(tmp_path / "pacs", port=pacs.port):
                node.command("destinations", "resume", "PACS")
                states = lambda: {row["state"] for row in Flow(node.catalog).rows(tables.outbox)}  # noqa: E731
                eventually(lambda: states() == {"delivered"}, 40)
            found = find(node, asked)
            assert sorted(each.Modality for each in found) == ["CT", "SEG", "SR"]
            fetched = get(node, whole, classes=classes)
            assert fetched.last == (0x0000, None, study.count + 2, 0, 0)
            results = {row["sop_instance_uid"] for row in Flow(node.catalog).rows(tables.outbox)}
            assert fetched.uids == {study.instance_uid(number) for number in range(study.count)} | results
            counted = find(node, identifier(
                "STUDY", StudyInstanceUID=study.study_uid, NumberOfStudyRelatedInstances=None, ModalitiesInStudy="SR",
                NumberOfStudyRelatedSeries=None,
            ))  # fmt: skip
            assert [int(each.NumberOfStudyRelatedInstances) for each in counted] == [study.count + 2]
            assert set(counted[0].ModalitiesInStudy) == {"CT", "SEG", "SR"}
