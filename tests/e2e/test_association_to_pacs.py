"""An association leaves spool files; each file becomes a catalog row; a complete series gets a job; a worker reads the
volume, detects, segments, classifies, writes SR and SEG, and puts them in the outbox, from which they are delivered to
the PACS. Every step leaves an audit row."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from node.domain.delivery import SENDING_ORDER
from node.domain.eligibility import judge
from node.headers import read_header
from tests import dcmqi
from tests.peers import require
from tests.servers import (
    Nodus,
    Orthanc,
    Postgres,
    StoreScp,
    eventually,
    fetch,
    nodus,
    orthanc,
    redis,
    run_dcmtk,
    storescp,
)
from workers import pipeline
from workers.phantom import Spec, chest
from workers.phantom.series import write_series

COMPREHENSIVE_3D_SR, ENHANCED_SR, SEG, SC = (
    f"1.2.840.10008.5.1.4.1.1.{last}" for last in ("88.34", "88.22", "66.4", "7")
)
ANALYSIS_WITHIN_S = 180.0


@pytest.fixture(scope="session")
def scan(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A phantom's CT series with nodules that the shipped models find."""
    folder = tmp_path_factory.mktemp("phantom")
    return write_series(
        chest(Spec(seed=2, nodules=4, matrix=320, step_mm=2.0, thickness_mm=2.0, smallest_mm=9.0)), folder
    )


@dataclass
class Site:
    """A node between a scanner and two PACS."""

    node: Nodus
    archive: Orthanc
    viewer: StoreScp

    def send(self, scan: list[Path]) -> str:
        """As a scanner; returns the Study Instance UID."""
        run_dcmtk("dcmsend", "-aec", "NODUS", "127.0.0.1", str(self.node.dicom_port), *map(str, scan))
        return str(dcmread(scan[0], stop_before_pixels=True).StudyInstanceUID)

    def find(self, study: str, element: str) -> str:
        """A private job key of a study, as findscu prints it."""
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}", "-k", "0099,0010=NODUS 1.0"]
        output = run_dcmtk("findscu", "-S", "-aec", "NODUS", *keys, "-k", f"0099,10{element}", "127.0.0.1",
                           str(self.node.dicom_port))  # fmt: skip
        line = next(line for line in output.splitlines() if f"(0099,10{element})" in line)
        return line.partition("[")[2].partition("]")[0].strip()

    def is_delivered(self, study: str) -> bool:
        """Whether every result of the study's newest job is at its destination."""
        job = self.node.json("studies", study)["jobs"][-1:]
        final = ("delivered", "refused")
        return bool(job and job[0]["results"]) and all(each["state"] in final for each in job[0]["results"])


@contextmanager
def site(folder: Path, **settings: object) -> Iterator[Site]:
    """Orthanc gets every kind of result; storescp, which takes only what every old PACS takes, is offered the same."""
    with ExitStack() as stack:
        (folder / "orthanc").mkdir()
        archive = stack.enter_context(orthanc(folder / "orthanc"))
        viewer = stack.enter_context(storescp(folder / "viewer", "-aet", "VIEWER", "-xf", _old_pacs(folder), "Old"))
        everything = list(map(str, SENDING_ORDER))
        destinations = [
            {"ae_title": "ORTHANC", "host": "127.0.0.1", "port": archive.port, "results": everything},
            {"ae_title": "VIEWER", "host": "127.0.0.1", "port": viewer.port, "results": everything},
        ]
        node = stack.enter_context(nodus(folder / "data", destinations=destinations, **settings))
        yield Site(node, archive, viewer)


def _old_pacs(folder: Path) -> str:
    """An association profile of storescp that knows Enhanced SR and Secondary Capture, no SEG and no 3D SR."""
    profile = folder / "old-pacs.cfg"
    lines = ["[[TransferSyntaxes]]", "[Plain]", "TransferSyntax1 = LocalEndianExplicit",
             "TransferSyntax2 = LittleEndianImplicit", "[[PresentationContexts]]", "[Results]",
             f"PresentationContext1 = {ENHANCED_SR}\\Plain", f"PresentationContext2 = {SC}\\Plain",
             "PresentationContext3 = VerificationSOPClass\\Plain", "[[Profiles]]", "[Old]",
             "PresentationContexts = Results"]  # fmt: skip
    profile.write_text("\n".join(lines) + "\n")
    return str(profile)


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Site]:
    """One command: SQLite, files as broker, the worker a child of the node."""
    with site(tmp_path, worker=True, receivers=2) as here:
        yield here


def test_a_chest_ct_goes_in_and_a_report_and_a_segmentation_come_back(
    embedded: Site, scan: list[Path], tmp_path: Path
) -> None:
    study = embedded.send(scan)
    eventually(lambda: embedded.is_delivered(study) or None, ANALYSIS_WITHIN_S, "results delivered")

    told = embedded.node.json("studies", study)
    (job,) = told["jobs"]
    assert told["outcome"] == "findings"
    assert told["evidence"] == "gapless stack, clean release"
    assert embedded.find(study, "01") == "DONE"
    the_archive_has_what_the_catalog_says(embedded, job, scan, tmp_path)
    the_old_pacs_got_what_it_can_show(embedded, job)
    assert "rows verified" in embedded.node.command("audit", "verify")


def the_archive_has_what_the_catalog_says(here: Site, job: dict[str, Any], scan: list[Path], folder: Path) -> None:
    """SEG voxel-identical to the masks, SR numbers those of the catalog, every kind without an error of dciodvfy."""
    files = {each: _from_archive(here.archive, each, folder) for each in here.archive.instances().values()}
    assert len(files) == len(SENDING_ORDER)
    for path in files.values():
        assert not [line for line in _dciodvfy(path) if line.startswith("Error")]
    reading = pipeline.read(scan, judge(map(read_header, scan)))
    read_back = dcmqi.segments(files[SEG], folder / "masks", reading.volume)
    for lps, mask in zip(read_back, reading.masks, strict=True):
        expected = reading.volume.to_lps_mm(np.argwhere(mask.voxels) + np.array(mask.offset_zyx, float))
        assert lps.shape == expected.shape
        assert np.abs(lps[np.lexsort(lps.T)] - expected[np.lexsort(expected.T)]).max() < 1e-3
    groups = dcmqi.measurement_groups(files[COMPREHENSIVE_3D_SR], folder)
    assert len(groups) == len(job["findings"]) > 0
    for finding in job["findings"]:
        group = groups[f"N{finding['ordinal']}"]
        assert group["ReferencedSegment"] == finding["ordinal"]
        assert dcmqi.values(group)["Diameter"] == finding["mean_diameter_mm"]
        assert dcmqi.values(group)["Volume"] == finding["volume_mm3"]


def the_old_pacs_got_what_it_can_show(here: Site, job: dict[str, Any]) -> None:
    """No SEG, the report as Enhanced SR, the picture."""
    came = {str(dcmread(path).SOPClassUID) for path in here.viewer.files()}
    assert came == {ENHANCED_SR, SC}
    states = {(each["ae_title"], each["kind"]): each["state"] for each in job["results"]}
    assert states[("VIEWER", "SEG")] == "refused"


def _from_archive(archive: Orthanc, sop_class: str, folder: Path) -> Path:
    (uid,) = [uid for uid, its_class in archive.instances().items() if its_class == sop_class]
    path = folder / f"{sop_class}.dcm"
    path.write_bytes(archive.file(uid))
    return path


def _dciodvfy(path: Path) -> list[str]:
    command = [require("dciodvfy", "dicom3tools"), "-new", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr.splitlines()


@contextmanager
def workers(count: int, here: Site) -> Iterator[None]:
    """Celery workers as an administrator starts them on other hosts."""
    environment = {**os.environ, **here.node.environment, "NODUS_DATA": str(here.node.data), "REMAP_SIGTERM": "SIGQUIT"}
    command = [sys.executable, "-m", "celery", "-A", "workers.app", "worker", "--without-gossip", "--without-mingle"]
    running = [subprocess.Popen([*command, "-n", f"w{number}@%h"], env=environment) for number in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(20)


def test_the_same_on_postgresql_and_redis_with_two_workers(
    postgres_server: Postgres, scan: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "redis").mkdir()
    with postgres_server.database() as database, redis(tmp_path / "redis") as broker:
        settings = {"worker": False, "database_url": database, "broker_url": broker}
        with site(tmp_path, **settings) as here, workers(2, here):
            study = here.send(scan)
            eventually(lambda: here.is_delivered(study) or None, ANALYSIS_WITHIN_S, "results delivered")
            assert here.node.json("studies", study)["outcome"] == "findings"
            reports = [uid for uid, its_class in here.archive.instances().items() if its_class == COMPREHENSIVE_3D_SR]
            assert len(reports) == 1
            assert "rows verified" in here.node.command("audit", "verify")
            assert fetch(f"http://127.0.0.1:{here.node.web_port}/readyz").status == 200
