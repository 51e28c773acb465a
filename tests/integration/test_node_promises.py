"""Storage commitment for senders: what is durable and stays is committed to, and nobody who asked is forgotten."""

import json
import random
import urllib.request
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage, generate_uid

from node.catalog import peers, promises, tables
from node.catalog.session import Catalog
from node.domain.peers import Destination, Secured, Sender, Standing
from node.domain.promise import GIVEN_UP_AFTER, Verdict
from node.domain.reception import PromiseAsked
from node.domain.retention import Retention
from node.errors import PeerFailed
from node.flow import promise
from tests.flow import Flow
from tests.sender import send
from tests.servers import Nodus, eventually, free_port, nodus, orthanc, run_dcmtk
from tests.servers.committing import Scanner, ask, information, scanner
from tests.sites import Site
from tests.studies import AT, Series, after

CHEST = Series("promised")
FIRST, SECOND = CHEST.instance_uid(0), CHEST.instance_uid(1)


class Callers:
    """Who is told, and takes it or not."""

    def __init__(self) -> None:
        self.away = False
        self.told: list[tuple[str, int, str, Verdict]] = []

    def tell(self, caller: Destination, uid: str, verdict: Verdict) -> None:
        if self.away:
            raise PeerFailed("CT1 cannot be reached.")
        self.told.append((caller.host, caller.port, uid, verdict))


class Promising:
    """A flow that is asked to keep things."""

    def __init__(self, catalog: Catalog, retention: Retention | None = None) -> None:
        self.flow, self.callers, self.now, self.until = Flow(catalog), Callers(), after(2), AT
        sender = Sender("CT1", "10.0.0.0/24", Standing.ALLOWED, commitment_port=104)
        with catalog.writing() as session:
            peers.configure_senders(session, [sender])
        self.answering = promise.Answering(
            catalog, self.callers.tell, lambda _: self.until, retention or Retention(), Secured(), random.Random(1),
            lambda: self.now,
        )  # fmt: skip

    def asked(self, *wanted: tuple[str, str], uid: str = "2.25.1", at: datetime = AT, aet: str = "CT1") -> None:
        with self.flow.catalog.writing() as session:
            promise.asked(session, PromiseAsked(aet, "10.0.0.5", uid, wanted, at))

    def told(self) -> list[tuple[list[str], list[int]]]:
        """Of each answer, what is committed, and the reasons of what is not."""
        while self.answering.step():
            pass
        return [
            ([each.sop_instance_uid for each in verdict.committed], [reason for _, reason in verdict.failed])
            for *_, verdict in self.callers.told
        ]

    def states(self) -> list[str]:
        return [row["state"] for row in self.flow.rows(tables.promise)]


def test_what_is_here_is_committed_and_what_is_not_is_said_with_its_reason(catalog: Catalog) -> None:
    one = Promising(catalog)
    one.flow.receive(CHEST.headers(range(2)))
    one.asked((CTImageStorage, FIRST), (MRImageStorage, SECOND), (CTImageStorage, "1.2.3"))
    assert one.told() == [([FIRST], [0x0119, 0x0112])]
    assert one.callers.told[0][:3] == ("10.0.0.5", 104, "2.25.1")
    assert one.states() == ["told"]
    (told,) = one.flow.audit("promise told")
    assert json.loads(told.detail) == {"transaction_uid": "2.25.1", "committed": 1, "failed": 2}
    assert len(one.told()) == 1


def test_a_request_waits_until_what_came_before_it_is_registered(catalog: Catalog) -> None:
    one = Promising(catalog)
    one.until = after(-1)
    one.asked((CTImageStorage, FIRST))
    assert one.told() == []
    one.flow.receive(CHEST.headers([0]))
    one.until = AT
    assert one.told() == [([FIRST], [])]


def test_many_instances_and_a_request_that_comes_again_are_answered_again(catalog: Catalog) -> None:
    one = Promising(catalog)
    one.flow.receive(CHEST.headers())
    wanted = [(str(CTImageStorage), CHEST.instance_uid(number)) for number in range(64)]
    lacking = [(str(CTImageStorage), f"1.2.{number}") for number in range(promises.AT_ONCE)]
    one.asked(*lacking, *wanted)
    assert [(len(kept), len(missing)) for kept, missing in one.told()] == [(64, promises.AT_ONCE)]
    one.asked(*wanted)
    one.asked(*wanted)
    assert one.told()[1:] == [([uid for _, uid in wanted], [])]
    assert len(one.flow.rows(tables.promise)) == 1


def test_a_version_that_was_purged_and_images_that_do_not_stay_are_not_committed_to(catalog: Catalog) -> None:
    """Not before their series is complete: then it is decided where they are forwarded to."""
    one = Promising(catalog, Retention(after=timedelta(days=1)))
    one.flow.receive(CHEST.headers(range(2)))
    with catalog.writing() as session:
        session.execute(
            tables.instance.update().where(tables.instance.c.sop_instance_uid == SECOND).values(purged_at=AT)
        )
    one.asked((CTImageStorage, FIRST), (CTImageStorage, SECOND))
    assert one.told() == []
    one.flow.complete(after(20))
    assert one.told() == []
    one.now = after(4)
    assert one.told() == [([], [0x0110, 0x0112])]


def test_a_caller_that_is_away_is_told_later_and_given_up_after_days(catalog: Catalog) -> None:
    one = Promising(catalog)
    one.flow.receive(CHEST.headers([0]))
    one.callers.away = True
    one.asked((CTImageStorage, FIRST))
    assert one.told() == []
    row = one.flow.rows(tables.promise)[0]
    assert (row["state"], row["attempts"], row["error"]) == ("asked", 1, "CT1 cannot be reached.")
    assert timedelta(seconds=1) < row["not_before"] - one.now < timedelta(seconds=3)
    one.callers.away, one.now = False, after(6)
    assert one.told() == [([FIRST], [])]
    one.callers.away = True
    one.asked((CTImageStorage, FIRST), uid="2.25.2")
    one.now = AT + GIVEN_UP_AFTER
    one.told()
    assert one.states() == ["told", "given up"]
    assert len(one.flow.audit("promise given up")) == 1


def test_who_is_not_to_be_told_any_more_is_told_nothing(catalog: Catalog) -> None:
    one = Promising(catalog)
    one.asked((CTImageStorage, FIRST), aet="OTHER")
    assert one.told() == []
    assert one.flow.rows(tables.promise)[0]["error"] == promise.NO_PORT


# over the wire


def settings(*asking: Scanner, ae_title: str = "CT1", **more: Any) -> list[dict[str, Any]]:
    callers = [
        {"ae_title": ae_title, "network": "127.0.0.0/8", "commitment_port": each.port, **more} for each in asking
    ]
    return [{"network": "127.0.0.0/8"}, *callers]


def told(one: Scanner) -> tuple[int, list[str], list[tuple[str, int]]]:
    """Event Type, what is committed, and what is not with its reason."""
    event_type, what = eventually(lambda: one.told and one.told.pop(0))
    return (
        event_type,
        [each.ReferencedSOPInstanceUID for each in what.get("ReferencedSOPSequence") or []],
        [(each.ReferencedSOPInstanceUID, each.FailureReason) for each in what.get("FailedSOPSequence") or []],
    )


@pytest.mark.parametrize("roles", [(), (1, 0)])
def test_a_scanner_asks_and_is_called_back_again_until_it_takes_the_answer(
    tmp_path: Path, roles: tuple[int, ...]
) -> None:
    with scanner("CT1", 0x0110) as one, nodus(tmp_path / "data", senders=settings(one)) as node:
        send(node.dicom_port, CHEST.payloads([0, 1]), calling="CT1")
        request = information("2.25.7", {FIRST: CTImageStorage, "1.2.3": CTImageStorage})
        assert ask(node.dicom_port, request, roles=roles) == 0x0000
        assert told(one) == (2, [FIRST], [("1.2.3", 0x0112)])
        assert told(one) == (2, [FIRST], [("1.2.3", 0x0112)])
        assert one.roles == [(False, True)] * 2
        assert ask(node.dicom_port, information("2.25.8", {SECOND: CTImageStorage}), roles=roles) == 0x0000
        assert told(one) == (1, [SECOND], [])
        eventually(lambda: len(node.audit("promise told")) == 2)
        assert len(node.audit("promise asked")) == 2


def test_what_is_no_request_and_who_may_not_ask_get_a_named_status(tmp_path: Path) -> None:
    with scanner() as one, nodus(tmp_path / "data", senders=settings(one)) as node:
        assert ask(node.dicom_port, ae_title="OTHER") == 0x0122
        assert ask(node.dicom_port, action_type=2) == 0x0123
        empty, nameless = Dataset(), information("2.25.3", {"": CTImageStorage})
        empty.TransactionUID = "2.25.1"
        assert [ask(node.dicom_port, each) for each in (empty, nameless)] == [0x0115, 0x0115]
        assert not node.audit("promise asked")


def test_a_request_outlives_a_node_that_is_killed_and_a_scanner_that_is_away(tmp_path: Path) -> None:
    away = Scanner(port=free_port())
    with nodus(tmp_path / "data", senders=settings(away)) as node:
        send(node.dicom_port, CHEST.payloads([0]), calling="CT1")
        assert ask(node.dicom_port, information("2.25.9", {FIRST: CTImageStorage})) == 0x0000
        node.kill()
        node.start()
        with scanner(port=away.port) as one:
            assert told(one) == (1, [FIRST], [])


def test_a_scanner_is_called_back_over_tls(tmp_path: Path, site: Site) -> None:
    with scanner(tls=site.server("pacs")) as one:
        callers = settings(one, commitment_tls=True)
        with nodus(tmp_path / "data", **site.settings(senders=callers)) as node:
            send(node.dicom_port, CHEST.payloads([0]), calling="CT1")
            ask(node.dicom_port, information("2.25.9", {FIRST: CTImageStorage}))
            assert told(one) == (1, [FIRST], [])


def test_orthanc_asks_for_storage_commitment_and_gets_its_report(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "orthanc").mkdir()
    with orthanc(tmp_path / "orthanc", ["NODUS", "127.0.0.1", port]) as pacs:
        callers = [{"ae_title": pacs.aet, "network": "127.0.0.0/8", "commitment_port": pacs.port}]
        with nodus(tmp_path / "data", "--port", str(port), senders=callers) as node:
            path = tmp_path / "0.dcm"
            CHEST.datasets([0])[0].save_as(path, enforce_file_format=True)
            run_dcmtk("storescu", "-aet", pacs.aet, "-aec", "NODUS", "127.0.0.1", str(node.dicom_port), str(path))
            lacking = generate_uid()
            asked = post(pacs.http_port, {"DicomInstances": [[CTImageStorage, FIRST], [CTImageStorage, lacking]]})
            report = eventually(lambda: (r := pacs.get(asked["Path"]))["Status"] != "Pending" and r)
    assert [each["SOPInstanceUID"] for each in report["Success"]] == [FIRST]
    (failed,) = report["Failures"]
    assert (failed["SOPInstanceUID"], "not available" in failed["Description"]) == (lacking, True)


def post(port: int, what: dict[str, Any]) -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}/modalities/nodus/storage-commitment"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(what).encode(), method="POST")) as answer:
        return dict(json.loads(answer.read()))


def test_nobody_commits_by_default(node: Nodus) -> None:
    assert ask(node.dicom_port) == 0x0122
