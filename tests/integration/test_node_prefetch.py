"""Earlier exams from an archive: Orthanc has them, others are down or silent, and no reading waits for long."""

import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from node.catalog import prefetch, tables
from node.catalog.instant import now_of
from node.catalog.session import Catalog
from node.dicom import archive_scu
from node.dicom.store_scu import Patience
from node.domain.peers import Destination
from node.domain.prefetch import NOT_FETCHED, Fetch
from node.flow import complete
from node.flow.clock import Clock
from node.flow.prefetch import NO_ID, TOO_LATE, Prefetch
from tests.flow import Flow
from tests.sender import send
from tests.servers import HASTY, Nodus, Orthanc, eventually, free_port, nodus, orthanc
from tests.servers.telling import available, tell
from tests.studies import Series, after

PATIENT = "SENTINEL-4711"
OLDER = Series("older").having(StudyDate="20230102", PatientID=PATIENT)
OLD = Series("old").having(StudyDate="20240102", PatientID=PATIENT)
OTHERS = Series("others").having(StudyDate="20240301", PatientID="SOMEBODY-ELSE")
YOUNG = Series("young").having(StudyDate="20250102", PatientID=PATIENT)
WAIT = timedelta(seconds=20)

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""pynetdicom leaves the socket of a connection that was refused to the garbage collector."""


def waits(catalog: Catalog, series: Series = YOUNG) -> Flow:
    """A flow with a job that waits for earlier exams."""
    flow = Flow(catalog)
    flow.receive(series.headers(range(64)))
    while complete.step(catalog, flow.associations, Clock(lambda: after(4)), prior_wait=WAIT):
        pass
    return flow


def asking(catalog: Catalog, port: int, wait_s: float = 1.0) -> Prefetch:
    archive = Destination("ARCHIVE", "127.0.0.1", port)
    connect = partial(archive_scu.connected, "NODUS", Patience(connect_s=wait_s, answer_s=wait_s), archive)
    return Prefetch(catalog, "NODUS", "ARCHIVE", connect, most_days=2000)


def seconds_to_wait(flow: Flow) -> float:
    """Until the job may begin."""
    with flow.catalog.reading() as session:
        return float((flow.jobs()[-1]["not_before"] - now_of(session)).total_seconds())


def look(flow: Flow) -> tuple[str, str]:
    (row,) = flow.rows(tables.prefetch)
    return row["state"], row["reason"]


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of somebody who takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_a_reading_waits_for_the_archive_and_no_longer_than_was_said(catalog: Catalog) -> None:
    flow = waits(catalog)
    assert 0 < seconds_to_wait(flow) <= WAIT.total_seconds()
    assert look(flow) == (Fetch.DUE, "")


def test_an_archive_that_is_down_delays_nothing_and_is_said_to_be(catalog: Catalog) -> None:
    flow = waits(catalog)
    assert asking(catalog, free_port()).step()
    assert seconds_to_wait(flow) <= 0
    state, reason = look(flow)
    assert (state, "cannot be reached" in reason) == (Fetch.FAILED, True)
    (row,) = flow.audit("priors not fetched")
    assert row.study_instance_uid == YOUNG.study_uid
    with catalog.reading() as session:
        assert prefetch.notice_of(session, 1) == NOT_FETCHED
    assert not asking(catalog, free_port()).step()


def test_an_archive_that_says_nothing_is_left_after_its_time_and_others_do_not_wait_for_it_again(
    catalog: Catalog, silent: int
) -> None:
    flow = waits(catalog)
    flow.receive(Series("second").having(StudyDate="20250103").headers(), after(5))
    while complete.step(catalog, flow.associations, Clock(lambda: after(9)), prior_wait=WAIT):
        pass
    begun = time.monotonic()
    assert asking(catalog, silent).step()
    assert time.monotonic() - begun < 15
    assert [row["state"] for row in flow.rows(tables.prefetch)] == [Fetch.FAILED, Fetch.FAILED]
    assert seconds_to_wait(flow) <= 0


def test_who_asks_too_late_does_not_ask(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(YOUNG.headers())
    while complete.step(catalog, flow.associations, Clock(lambda: after(4)), prior_wait=timedelta(microseconds=1)):
        pass
    assert asking(catalog, free_port()).step()
    assert look(flow) == (Fetch.FAILED, TOO_LATE)


@pytest.mark.parametrize("patient_id", ["", "47*", "4?", "A\\B"])
def test_an_id_that_would_match_others_is_never_asked_for(catalog: Catalog, patient_id: str) -> None:
    flow = waits(catalog, YOUNG.having(PatientID=patient_id))
    assert asking(catalog, free_port()).step()
    assert look(flow) == (Fetch.FAILED, NO_ID)


def test_a_new_reading_of_a_study_asks_again_only_where_that_failed(catalog: Catalog) -> None:
    flow = waits(catalog)
    asking(catalog, free_port()).step()
    with catalog.writing() as session:
        assert prefetch.want(session, 1, now_of(session) + WAIT)
        assert not prefetch.want(session, 1, now_of(session) + WAIT)
    assert look(flow) == (Fetch.DUE, "")


def rows(node: Nodus, table: Any) -> list[dict[str, Any]]:
    return Flow(node.catalog).rows(table)


def test_the_newest_exam_of_the_patient_is_fetched_kept_and_never_read(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "orthanc").mkdir()
    with orthanc(tmp_path / "orthanc", ["NODUS", "127.0.0.1", port]) as archive:
        for series in (OLDER, OLD, OTHERS):
            send(archive.port, series.payloads())
        asked = {"ae_title": "ORTHANC", "host": "127.0.0.1", "port": archive.port}
        with nodus(tmp_path / "data", "--port", str(port), senders=HASTY, archive=asked) as node:
            send(node.dicom_port, YOUNG.payloads())
            eventually(lambda: [row["state"] for row in rows(node, tables.prefetch)] == ["fetched"], 60, "it is here")
            studies = {row["study_instance_uid"]: row for row in rows(node, tables.study)}
            assert set(studies) == {OLD.study_uid, YOUNG.study_uid}
            kept = studies[OLD.study_uid]
            assert (kept["outcome"], kept["reasons"]) == ("not analysed", [complete.FETCHED])
            (job,) = rows(node, tables.job)
            assert job["study_id"] == studies[YOUNG.study_uid]["id"]
            kinds = [entry.kind for entry in node.audit(study=YOUNG.study_uid)]
            assert kinds.index("job created") < kinds.index("prior asked for") < kinds.index("prior fetched")
            assert PATIENT not in node.log()
            send(node.dicom_port, Series("next").having(StudyDate="20250105", PatientID=PATIENT).payloads())
            eventually(lambda: len(rows(node, tables.prefetch)) == 2, 60, "the next study asks")
            eventually(lambda: rows(node, tables.prefetch)[1]["state"] == "nothing", 60, "all that is newest is here")
            with node.catalog.writing() as session:  # as if it had been stopped in the middle of the C-MOVE
                again = {"state": Fetch.DUE, "until": now_of(session) + timedelta(seconds=60)}
                session.execute(update(tables.prefetch).where(tables.prefetch.c.id == 1).values(again))
            eventually(lambda: rows(node, tables.prefetch)[0]["state"] == "fetched", 60, "it is fetched again")
            missing_images_come(node, archive)


def missing_images_come(node: Nodus, archive: Orthanc) -> None:
    """A scanner sends less than was told of, and the archive has the rest."""
    short = Series("short").having(PatientID="SHORT")
    send(archive.port, short.payloads())
    images = {short.series_uid: [short.instance_uid(number) for number in range(short.count)]}
    assert tell(node.dicom_port, ("notify", available(short.study_uid, images), "1.2.3")) == [0x0000]
    send(node.dicom_port, short.payloads(range(60)))
    eventually(lambda: Flow(node.catalog).study(short.study_uid)["evidence"] == "independent count", 60, "all are here")
    (row,) = rows(node, tables.missing)
    assert {short.instance_uid(number) for number in range(60, 64)} <= {
        *row["sop_instance_uids"]
    }  # more of a slow sender
    kinds = [entry.kind for entry in node.audit(study=short.study_uid)]
    assert kinds.index("missing images asked for") < kinds.index("study complete")
