"""DCMTK, Orthanc and pynetdicom's own programs ask a node, and fetch from it."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from node.catalog import tables
from tests.flow import Flow
from tests.sender import send
from tests.servers import HASTY, Nodus, Orthanc, StoreScp, eventually, free_port, nodus, orthanc, run_dcmtk, storescp
from tests.servers.processes import answers, running
from tests.studies import Series

STUDY = Series("peers", count=4).having(PatientID="P1", PatientName="Müller^Jürgen")
OTHER = Series("peers", "2", count=2).having(PatientID="P1", PatientName="Müller^Jürgen", SeriesDescription="other")
NEXT = Series("next", count=2).having(PatientID="P1", PatientName="Müller^Jürgen")
EVERYTHING = (STUDY, OTHER, NEXT)


@dataclass
class Site:
    """A node and who fetches from it."""

    node: Nodus
    viewer: StoreScp
    orthanc: Orthanc
    qrscp: int
    """Port of pynetdicom's archive."""


@contextmanager
def qrscp(folder: Path) -> Iterator[int]:
    """pynetdicom's archive; its port."""
    folder.mkdir()
    port, places = free_port(), ("--database-location", str(folder / "db"), "--instance-location", str(folder / "kept"))
    command = [sys.executable, "-m", "pynetdicom", "qrscp", "--port", str(port), "-ba", "127.0.0.1", *places]
    with running(command, folder / "log", ready=lambda: answers(port)):
        yield port


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("peers")
    (folder / "orthanc").mkdir()
    port = free_port()
    with (
        storescp(folder / "viewer") as viewer,
        orthanc(folder / "orthanc", ["NODUS", "127.0.0.1", port]) as archive,
        qrscp(folder / "qrscp") as other,
        nodus(
            folder / "data", "--port", str(port),
            senders=[{**HASTY[0], "may_retrieve": True}],
            destinations=[
                {"ae_title": name, "host": "127.0.0.1", "port": where, "results": [], "not_analysed": False}
                for name, where in (("VIEWER", viewer.port), ("ORTHANC", archive.port), ("QRSCP", other))
            ],
        ) as node,
    ):  # fmt: skip
        send(node.dicom_port, [payload for series in EVERYTHING for payload in series.payloads()])
        eventually(lambda: len(Flow(node.catalog).rows(tables.instance)) == 8)
        yield Site(node, viewer, archive, other)


def uids(*series: Series) -> set[str]:
    return {each.instance_uid(number) for each in series for number in range(each.count)}


def taken(paths: list[Path]) -> set[str]:
    """SOP Instance UIDs of files, which are gone afterwards."""
    found = {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in paths}
    for path in paths:
        path.unlink()
    return found


LEVELS: list[tuple[str, list[str], set[str]]] = [
    ("-P", ["QueryRetrieveLevel=PATIENT", "PatientID=P1"], uids(*EVERYTHING)),
    ("-P", ["QueryRetrieveLevel=STUDY", "PatientID=P1", f"StudyInstanceUID={NEXT.study_uid}"], uids(NEXT)),
    ("-S", ["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={STUDY.study_uid}"], uids(STUDY, OTHER)),
    (
        "-S",
        ["QueryRetrieveLevel=SERIES", f"StudyInstanceUID={STUDY.study_uid}", f"SeriesInstanceUID={OTHER.series_uid}"],
        uids(OTHER),
    ),
    (
        "-S",
        [
            "QueryRetrieveLevel=IMAGE", f"StudyInstanceUID={STUDY.study_uid}", f"SeriesInstanceUID={STUDY.series_uid}",
            f"SOPInstanceUID={STUDY.instance_uid(2)}",
        ],
        {STUDY.instance_uid(2)},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("model", "keys", "expected"), LEVELS)
def test_movescu_has_them_sent(site: Site, model: str, keys: list[str], expected: set[str]) -> None:
    asked = [part for key in keys for part in ("-k", key)]
    run_dcmtk("movescu", model, "-aec", "NODUS", "-aem", "VIEWER", *asked, "127.0.0.1", str(site.node.dicom_port))
    assert taken(site.viewer.files()) == expected


@pytest.mark.parametrize(("model", "keys", "expected"), LEVELS)
def test_getscu_fetches_them(site: Site, tmp_path: Path, model: str, keys: list[str], expected: set[str]) -> None:
    asked = [part for key in keys for part in ("-k", key)]
    place = ["127.0.0.1", str(site.node.dicom_port)]
    run_dcmtk("getscu", model, "-aec", "NODUS", "+B", "-od", str(tmp_path), *asked, *place)
    assert taken(list(tmp_path.iterdir())) == expected


def program(site: Site, name: str, *arguments: str, folder: Path) -> str:
    """One of pynetdicom's programs."""
    command = [sys.executable, "-m", "pynetdicom", name, "127.0.0.1", str(site.node.dicom_port), *arguments]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    return ended.stdout + ended.stderr


def test_the_programs_of_pynetdicom_ask_and_fetch(site: Site, tmp_path: Path) -> None:
    study = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={NEXT.study_uid}"]
    asked = ["-aec", "NODUS", "-S", *study]
    assert NEXT.study_uid in program(site, "findscu", *asked, "-k", "PatientName=", folder=tmp_path)
    program(site, "getscu", *asked, "-od", str(tmp_path), folder=tmp_path)
    assert taken(list(tmp_path.iterdir())) == uids(NEXT)
    program(site, "movescu", *asked, "-aem", "VIEWER", folder=tmp_path)
    assert taken(site.viewer.files()) == uids(NEXT)


def test_the_archive_of_pynetdicom_has_them_sent_to_itself_and_answers_for_them(site: Site, tmp_path: Path) -> None:
    study = ["-k", "QueryRetrieveLevel=IMAGE", "-k", f"StudyInstanceUID={NEXT.study_uid}"]
    program(
        site,
        "movescu",
        "-aec",
        "NODUS",
        "-S",
        *study[2:],
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-aem",
        "QRSCP",
        folder=tmp_path,
    )
    asked = ["-S", "-aec", "QRSCP", "127.0.0.1", str(site.qrscp), *study, "-k", f"SeriesInstanceUID={NEXT.series_uid}"]
    said = run_dcmtk("findscu", *asked, "-k", "SOPInstanceUID=")
    assert {uid for uid in uids(*EVERYTHING) if uid in said} == uids(NEXT)


def test_who_asks_the_node_to_shut_down_is_told_that_it_does_no_such_thing(site: Site) -> None:
    said = run_dcmtk("termscu", "-aec", "NODUS", "127.0.0.1", str(site.node.dicom_port), check=False)
    assert "No Acceptable Presentation Contexts" in said
    run_dcmtk("echoscu", "-aec", "NODUS", "127.0.0.1", str(site.node.dicom_port))


def post(site: Site, path: str, body: object) -> Any:
    """Orthanc's REST interface."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{site.orthanc.http_port}{path}", json.dumps(body).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


@pytest.mark.parametrize("level", ["Patient", "Study", "Series"])
def test_orthanc_asks_and_has_them_sent_to_itself(site: Site, level: str) -> None:
    keys = {"PatientID": "P1", "StudyInstanceUID": NEXT.study_uid, "SeriesInstanceUID": ""}
    known = {"Patient": 1, "Study": 2, "Series": 3}[level]
    query = post(site, "/modalities/nodus/query", {"Level": level, "Query": dict(list(keys.items())[:known])})
    found = site.orthanc.get(f"/queries/{query['ID']}/answers")
    assert len(found) == 1
    content = site.orthanc.get(f"/queries/{query['ID']}/answers/0/content?simplify")
    assert content["PatientID"] == "P1"
    post(site, f"/queries/{query['ID']}/retrieve", {"TargetAet": "ORTHANC", "Synchronous": True})
    expected = uids(*EVERYTHING) if level == "Patient" else uids(NEXT)
    assert expected <= set(site.orthanc.instances())
