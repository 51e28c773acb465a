"""A running node asks PACS of every temper whether they have its results, and takes their answers."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom.uid import SegmentationStorage

from node.catalog import tables
from node.domain.delivery import ResultKind
from tests.deliveries import STUDY, Delivered, analyse_by_hand
from tests.flow import Flow, results
from tests.servers import HASTY, Nodus, Orthanc, StoreScp, eventually, free_port, nodus, orthanc, storescp
from tests.servers.committing import CommittingPacs, ask, committing_pacs, information, tell


def destination(ae_title: str, port: int, commitment: str) -> dict[str, object]:
    return {"ae_title": ae_title, "host": "127.0.0.1", "port": port, "commitment": commitment}


@dataclass
class Site(Delivered):
    """One node and everybody it asks."""

    orthanc: Orthanc
    here: CommittingPacs
    silent: CommittingPacs
    plain: StoreScp

    def asked(self, ae_title: str) -> list[dict[str, object]]:
        flow = Flow(self.node.catalog)
        (to,) = flow.rows(tables.destination, ae_title=ae_title)
        return flow.rows(tables.commitment, destination_id=to["id"])

    def committed(self, ae_title: str) -> None:
        eventually(lambda: self.states(ae_title) == ["committed"] * 2, 60, f"{ae_title} has confirmed everything")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Five destinations of one node, two of them one Orthanc, and one study analysed by hand."""
    folder, port = tmp_path_factory.mktemp("site"), free_port()
    (folder / "orthanc").mkdir()
    with ExitStack() as stack:
        archive = stack.enter_context(orthanc(folder / "orthanc", ["NODUS", "127.0.0.1", port]))
        here = stack.enter_context(committing_pacs(here=True))
        silent = stack.enter_context(committing_pacs())
        plain = stack.enter_context(storescp(folder / "plain"))
        to = [
            destination("ORTHANC", archive.port, "commitment"),
            destination("FOUND", archive.port, "find"),
            destination("HERE", here.port, "commitment"),
            destination("SILENT", silent.port, "commitment"),
            destination("PLAIN", plain.port, "commitment"),
        ]
        node = stack.enter_context(nodus(folder / "data", "--port", str(port), senders=HASTY, destinations=to))
        yield Site(node, analyse_by_hand(node, STUDY), archive, here, silent, plain)


def test_orthanc_keeps_the_results_and_says_so_on_an_association_of_its_own(site: Site) -> None:
    site.committed("ORTHANC")
    (asked,) = site.asked("ORTHANC")
    assert (asked["state"], asked["proof"], asked["asks"]) == ("committed", "commitment", 0)
    assert set(asked["attempts"]) == set(site.orthanc.instances())  # type: ignore[call-overload]
    (committed,) = [entry for entry in site.node.audit("results committed") if entry.actor == "ORTHANC"]
    assert (committed.study_instance_uid, committed.job_id) == (STUDY.study_uid, site.job)
    assert site.node.json("audit", "verify")["problems"] == []


def test_who_is_to_be_asked_by_c_find_is_asked_so_from_the_start(site: Site) -> None:
    site.committed("FOUND")
    (asked,) = site.asked("FOUND")
    assert (asked["state"], asked["proof"], asked["transaction_uid"]) == ("committed", "find", None)


def test_an_answer_on_the_association_that_was_asked_on_is_taken_and_acknowledged(site: Site) -> None:
    site.committed("HERE")
    eventually(lambda: site.here.acknowledged == [0x0000], what="the answer is acknowledged")
    (request,) = site.here.asked
    sent = {results(site.job, kind)[0].sop_instance_uid: results(site.job, kind)[0].sop_class_uid
            for kind in (ResultKind.SEG, ResultKind.SR)}  # fmt: skip
    assert sent == {each.ReferencedSOPInstanceUID: each.ReferencedSOPClassUID for each in request.ReferencedSOPSequence}
    assert request.TransactionUID == site.asked("HERE")[0]["transaction_uid"]


def test_who_offers_neither_is_said_plainly_and_the_results_stay_delivered(site: Site) -> None:
    reason = "The destination offers neither storage commitment nor C-FIND: set its `commitment` to off."
    eventually(lambda: site.asked("PLAIN"), 60, "PLAIN was asked")
    (asked,) = site.asked("PLAIN")
    assert (asked["state"], asked["error"]) == ("unsupported", reason)
    assert site.states("PLAIN") == ["delivered"] * 2
    assert len(site.plain.files()) == 2
    shown = {row["ae_title"]: row for row in site.node.json("destinations")}
    assert (shown["PLAIN"]["commitment"], shown["PLAIN"]["commitment_error"]) == ("commitment", reason)
    (job,) = site.node.json("studies", STUDY.study_uid)["jobs"]
    assert ("PLAIN", "unsupported") in [(each["ae_title"], each["state"]) for each in job["commitments"]]
    told = " ".join(site.node.command("studies", STUDY.study_uid).split())  # whatever the width that it is wrapped to
    assert f"PLAIN by commitment: unsupported {reason}" in told
    place = f"PLAIN@127.0.0.1:{site.plain.port}"
    alerts = Flow(site.node.catalog)
    (alert,) = eventually(lambda: alerts.rows(tables.alert, kind="result unconfirmed"), 60, "somebody is told")
    assert (alert["subject"], alert["detail"]) == (place, {"results": 2})
    assert site.node.json("status", code=1)["results_unconfirmed"] == 2


def test_only_who_was_asked_may_answer_and_only_what_was_asked(site: Site) -> None:
    eventually(lambda: site.silent.asked, 60, "SILENT was asked")
    (asked,) = site.asked("SILENT")
    uid = str(asked["transaction_uid"])
    told = information(uid, site.silent.has)
    assert tell(site.node.dicom_port, "HERE", told) == 0x0124
    assert tell(site.node.dicom_port, "SILENT", information("1.2.3", site.silent.has)) == 0x0115
    assert tell(site.node.dicom_port, "SILENT", told, event_type=3) == 0x0113
    assert site.states("SILENT") == ["delivered"] * 2
    refused = eventually(lambda: site.node.audit("commitment report refused")[1:], 30)
    assert [json.loads(entry.detail)["status"] for entry in refused] == ["0x0115"]


def test_a_late_answer_counts_and_an_acknowledged_one_survives_a_kill(site: Site) -> None:
    eventually(lambda: site.silent.asked, 60, "SILENT was asked")
    (asked,) = site.asked("SILENT")
    told = information(str(asked["transaction_uid"]), site.silent.has)
    assert tell(site.node.dicom_port, "SILENT", told, role=False) == 0x0000
    site.node.kill()
    site.node.start()
    site.committed("SILENT")
    assert len(site.silent.asked) == 1
    assert tell(site.node.dicom_port, "SILENT", told) == 0x0000  # it may not have heard us: nothing happens twice
    assert len([entry for entry in site.node.audit("results committed") if entry.actor == "SILENT"]) == 1


def test_a_stranger_is_not_heard(site: Site) -> None:
    told = information("1.2.3", {})
    site.node.command("senders", "deny", "STRANGER@127.0.0.1")
    eventually(lambda: tell(site.node.dicom_port, "STRANGER", told) is None, 30, "it is refused")


def test_the_node_itself_commits_to_nothing(site: Site) -> None:
    assert ask(site.node.dicom_port) == 0x0122


def outbox(node: Nodus) -> list[object]:
    return [row["state"] for row in Flow(node.catalog).rows(tables.outbox)]


def test_what_orthanc_has_lost_is_sent_again_and_then_committed(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "orthanc").mkdir()
    with orthanc(tmp_path / "orthanc", ["NODUS", "127.0.0.1", port]) as pacs:
        off = [destination("ORTHANC", pacs.port, "off")]
        with nodus(tmp_path / "data", "--port", str(port), senders=HASTY, destinations=off) as node:
            job = analyse_by_hand(node, STUDY)
            eventually(lambda: outbox(node) == ["delivered"] * 2, 60, "both are delivered")
            node.stop()
            tags = {each: pacs.get(f"/instances/{each}/simplified-tags") for each in pacs.get("/instances")}
            (lost,) = [each for each, values in tags.items() if values["SOPClassUID"] == SegmentationStorage]
            delete = urllib.request.Request(f"http://127.0.0.1:{pacs.http_port}/instances/{lost}", method="DELETE")
            urllib.request.urlopen(delete).close()
            assert len(pacs.instances()) == 1
            on = [destination("ORTHANC", pacs.port, "commitment")]
            node.environment |= {"NODUS_DESTINATIONS": json.dumps(on), "NODUS_COMMITMENT_TIMEOUT_S": "30"}
            node.start()
            eventually(lambda: outbox(node) == ["committed"] * 2, 90, "both are committed")
            first, second = Flow(node.catalog).rows(tables.commitment)
            segmentation = results(job, ResultKind.SEG)[0].sop_instance_uid
            assert (first["state"], second["state"]) == ("incomplete", "committed")
            assert second["attempts"] == {segmentation: 2}
            assert first["transaction_uid"] != second["transaction_uid"]
            assert segmentation in pacs.instances()
            (refused,) = node.audit("commitment refused")
            assert json.loads(refused.detail)["reasons"] == f"{segmentation}:0x0112"
