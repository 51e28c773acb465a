"""Companion results at real PACS, on both databases: who asks gets them, and none names what its destination lacks."""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    EnhancedSRStorage,
    KeyObjectSelectionDocumentStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from node.catalog import jobs, outbox, peers
from node.catalog.outbox import StoredResult
from node.catalog.session import Catalog
from node.dicom.store_scu import Patience, connected
from node.domain.delivery import SENDING_ORDER, OutboxState, ResultKind
from node.domain.outcome import Outcome
from node.domain.peers import Destination
from node.flow import release
from node.flow.deliver import Delivery
from tests.flow import Flow
from tests.readings import reading, result_request
from tests.servers import Orthanc, StoreScp, orthanc, storescp
from tests.studies import AT, Series, after
from workers.results import EncodedResult, encode_all

ALL = tuple(map(str, SENDING_ORDER))
OLD_PACS = (EnhancedSRStorage, SecondaryCaptureImageStorage, KeyObjectSelectionDocumentStorage, EncapsulatedPDFStorage)
"""What it takes: no segmentation, no 3D report, no presentation states."""


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> tuple[EncodedResult, ...]:
    """Every result of a reading with three nodules."""
    return encode_all(result_request(reading(tmp_path_factory.mktemp("three"), 3)))


@dataclass
class Here:
    """A node's catalog with one study that was read, whose results are due."""

    flow: Flow
    data: Path

    def deliver(self, ae_title: str) -> None:
        """Everything that is due at one destination."""
        with self.flow.catalog.reading() as session:
            (to,) = [each for each in peers.destinations(session) if each.destination.ae_title == ae_title]
        connect = partial(connected, "NODUS", Patience(5.0, 20.0))
        at_its_path = self.data.joinpath
        Delivery(self.flow.catalog, to, connect, at_its_path, random.Random(1), lambda: after(60)).step()

    def states(self, ae_title: str) -> dict[str, str]:
        with self.flow.catalog.reading() as session:
            rows = outbox.listing(session, [1])
        return {row["kind"]: row["state"] for row in rows if row["ae_title"] == ae_title}


def read_for(catalog: Catalog, data: Path, encoded: tuple[EncodedResult, ...], *destinations: Destination) -> Here:
    """A worker's part: the results are files and rows, and released."""
    flow = Flow(catalog)
    flow.destination(*destinations)
    flow.receive(Series().headers())
    flow.complete(after(3))
    flow.claimed(1, after(3))
    (data / "results").mkdir(exist_ok=True)
    stored = []
    for number, each in enumerate(encoded):
        path = f"results/{each.kind}-{number}.dcm"
        (data / path).write_bytes(each.data)
        uids = (each.sop_class_uid, each.sop_instance_uid, each.series_instance_uid)
        stored.append(
            StoredResult(each.kind, number, *uids, path, hashlib.sha256(each.data).hexdigest(), each.refers_to)
        )
    with catalog.writing() as session:
        outbox.keep_results(session, 1, stored)
        outbox.hold(session, 1, tuple(ResultKind), False, after(4))
        jobs.finish(session, 1, "t", after(4), outcome=Outcome.FINDINGS)
    assert release.step(catalog, after(5))
    return Here(flow, data)


def profile(folder: Path) -> str:
    """An association profile of storescp for OLD_PACS."""
    lines = ["[[TransferSyntaxes]]", "[Plain]", "TransferSyntax1 = LocalEndianExplicit", "[[PresentationContexts]]"]
    lines += ["[Results]", *(f"PresentationContext{n} = {each}\\Plain" for n, each in enumerate(OLD_PACS, 1))]
    (folder / "old.cfg").write_text("\n".join([*lines, "[[Profiles]]", "[Old]", "PresentationContexts = Results\n"]))
    return str(folder / "old.cfg")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with orthanc(tmp_path_factory.mktemp("orthanc")) as started:
        yield started


@pytest.fixture
def viewer(tmp_path: Path) -> Iterator[StoreScp]:
    with storescp(tmp_path / "viewer", "-aet", "VIEWER", "-xf", profile(tmp_path), "Old") as started:
        yield started


def of_class(datasets: list[Dataset], sop_class_uid: str) -> Dataset:
    (found,) = [each for each in datasets if each.SOPClassUID == sop_class_uid]
    return found


def selected(keys: Dataset) -> set[str]:
    """SOP classes that a key object selection names, images aside."""
    items = [each.ReferencedSOPSequence[0] for each in keys.ContentSequence if "ReferencedSOPSequence" in each]
    return {str(each.ReferencedSOPClassUID) for each in items if not each.ReferencedSOPClassUID.endswith(".1.2")}


def test_an_archive_gets_everything_and_every_reference_in_it_resolves(
    catalog: Catalog, data: Path, encoded: tuple[EncodedResult, ...], archive: Orthanc
) -> None:
    here = read_for(catalog, data, encoded, Destination("ORTHANC", "127.0.0.1", archive.port, ALL))
    here.deliver("ORTHANC")
    assert here.states("ORTHANC") == dict.fromkeys(ALL, "delivered")
    has = archive.instances()
    assert len(has) == len(ALL)
    objects = [dcmread(BytesIO(archive.file(uid))) for uid in has]
    assert selected(of_class(objects, KeyObjectSelectionDocumentStorage)) == {
        SegmentationStorage, Comprehensive3DSRStorage
    }  # fmt: skip
    images = {str(each) for result in encoded for each in _images(result)}
    for document in objects:
        named = {str(each.value) for each in document.iterall() if each.keyword == "ReferencedSOPInstanceUID"}
        assert named <= images | set(has), document.SOPClassUID
    sent = {each.sop_instance_uid: each.data for each in encoded}
    assert {dcmread(BytesIO(sent[uid])).SeriesNumber for uid in has} == set(range(9001, 9008))


def _images(result: EncodedResult) -> list[str]:
    """What a segmentation was drawn on."""
    if result.kind is not ResultKind.SEG:
        return []
    (series,) = dcmread(BytesIO(result.data)).ReferencedSeriesSequence
    return [each.ReferencedSOPInstanceUID for each in series.ReferencedInstanceSequence]


def test_an_old_pacs_that_refuses_some_kinds_gets_the_others_and_a_selection_of_what_it_has(
    catalog: Catalog, data: Path, encoded: tuple[EncodedResult, ...], viewer: StoreScp
) -> None:
    here = read_for(catalog, data, encoded, Destination("VIEWER", "127.0.0.1", viewer.port, ALL))
    here.deliver("VIEWER")
    refused = {"SEG", "GSPS", "PM"}
    assert here.states("VIEWER") == {kind: "refused" if kind in refused else "delivered" for kind in ALL}
    came = [dcmread(path) for path in viewer.files()]
    assert {str(each.SOPClassUID) for each in came} == set(OLD_PACS)
    assert selected(of_class(came, KeyObjectSelectionDocumentStorage)) == {EnhancedSRStorage}
    assert of_class(came, EncapsulatedPDFStorage).EncapsulatedDocument[:5] == b"%PDF-"


def test_who_asks_for_key_images_alone_gets_no_reference_to_what_it_has_not(
    catalog: Catalog, data: Path, encoded: tuple[EncodedResult, ...], viewer: StoreScp
) -> None:
    here = read_for(catalog, data, encoded, Destination("VIEWER", "127.0.0.1", viewer.port, ("KOS", "PDF")),
                    Destination("ELSEWHERE", "h", 1, ("SEG", "SR")))  # fmt: skip
    here.deliver("VIEWER")
    assert here.states("VIEWER") == {"KOS": "delivered", "PDF": "delivered"}
    came = [dcmread(path) for path in viewer.files()]
    assert selected(of_class(came, KeyObjectSelectionDocumentStorage)) == set()


def test_what_was_fixed_before_an_attempt_goes_out_again_as_it_was(
    catalog: Catalog, data: Path, encoded: tuple[EncodedResult, ...], viewer: StoreScp
) -> None:
    here = read_for(catalog, data, encoded, Destination("VIEWER", "127.0.0.1", viewer.port, ("SR", "KOS")))
    here.deliver("VIEWER")
    (first,) = [path.read_bytes() for path in viewer.files() if dcmread(path).Modality == "KO"]
    for path in viewer.files():
        path.unlink()
    with catalog.writing() as session:
        assert outbox.send_again(session, 1, (OutboxState.DELIVERED,), AT) == 2
    here.deliver("VIEWER")
    assert [path.read_bytes() for path in viewer.files() if dcmread(path).Modality == "KO"] == [first]
