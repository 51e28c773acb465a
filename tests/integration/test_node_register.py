"""flow/register.py on SQLite and PostgreSQL: each file becomes one row, whatever comes twice, late or after a crash."""

import logging
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import delete

from node.catalog import outbox, studies, tables
from node.catalog.session import Catalog
from node.domain.delivery import ResultKind
from node.domain.study import VersionKind
from node.flow import inbox as inbox_module
from node.flow import register
from node.flow.inbox import BATCH, Inbox
from node.spool import Spool
from tests.flow import Flow, results
from tests.studies import Series, after, arrivals, keep, keep_all, reception, with_ct

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # as `logs.configure` does: pydicom's name values
SERIES = Series(count=5)
EVERYTHING = (tables.instance, tables.series, tables.study, tables.patient)


def versions(flow: Flow) -> list[str]:
    return [row["version"] for row in flow.rows(tables.instance)]


def forget_everything(catalog: Catalog) -> None:
    with catalog.writing() as session:
        for table in EVERYTHING:
            session.execute(delete(table))


def test_a_batch_becomes_one_patient_one_study_one_series_and_a_row_for_each_file(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(SERIES.headers())
    (patient,) = flow.rows(tables.patient)
    assert (patient["patient_name"], patient["patient_id"]) == ("Nodus^Test", "TEST-1")
    study = flow.study(SERIES.study_uid)
    assert (study["patient_id"], study["accession_number"], study["state"]) == (patient["id"], "ACC-1", "receiving")
    assert study["first_received_at"] == study["last_received_at"] == after(0)
    (series,) = flow.rows(tables.series)
    assert (series["study_id"], series["series_instance_uid"]) == (study["id"], SERIES.series_uid)
    assert [row["instance_number"] for row in flow.rows(tables.instance)] == [1, 2, 3, 4, 5]
    (entry,) = flow.audit("instances registered")
    assert (entry.study_instance_uid, entry.actor) == (SERIES.study_uid, "CT1")
    assert entry.detail == '{"again": 0, "association": "a-1", "new": 5}'


def test_the_headers_of_ct_images_come_back_as_they_were(catalog: Catalog) -> None:
    flow = Flow(catalog)
    odd = SERIES.having(PatientName="Ж\\山田", SeriesDescription="\u2028 \x01 '\"").headers()
    flow.receive(odd)
    with catalog.reading() as session:
        assert studies.headers_of_series(session, flow.rows(tables.series)[0]["id"]) == odd


def test_one_batch_may_hold_several_studies_of_several_patients(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(
        [*Series("1", count=2).headers(), *Series("2", count=2).headers(), *Series("1", "b", count=1).headers()]
    )
    assert [len(flow.rows(table)) for table in EVERYTHING] == [5, 3, 2, 2]
    assert len(flow.audit("instances registered")) == 2


def test_who_shares_a_patient_id_is_not_merged(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(Series("1", count=1).having(PatientID="7").headers())
    flow.receive(Series("2", count=1).having(PatientID="7", PatientName="Other^Person").headers())
    assert [row["patient_name"] for row in flow.rows(tables.patient)] == ["Nodus^Test", "Other^Person"]


def test_the_same_batch_again_changes_nothing_but_the_audit_trail(catalog: Catalog) -> None:
    flow = Flow(catalog)
    batch = arrivals(SERIES.headers())
    register.register(catalog, flow.spool, batch)
    before = {table.name: flow.rows(table) for table in EVERYTHING}
    register.register(catalog, flow.spool, batch)
    assert {table.name: flow.rows(table) for table in EVERYTHING} == before
    assert '"again": 5' in flow.audit("instances registered")[1].detail


def test_a_file_named_twice_in_one_batch_is_one_row(catalog: Catalog) -> None:
    flow = Flow(catalog)
    batch = arrivals(SERIES.headers())
    register.register(catalog, flow.spool, [*batch, *batch])
    assert len(flow.rows(tables.instance)) == 5


def test_other_bytes_with_the_same_content_are_a_duplicate_that_opens_nothing(catalog: Catalog, spool: Spool) -> None:
    flow = Flow(catalog, spool)
    register.register(catalog, spool, keep_all(spool, SERIES.payloads()))
    flow.complete(after(15))
    padded = SERIES.having(DataSetTrailingPadding=b"\0" * 8).payloads()
    register.register(catalog, spool, keep_all(spool, padded, reception(after(60), "a-2")))
    assert versions(flow) == ["authoritative"] * 5 + ["duplicate"] * 5
    study = flow.study(SERIES.study_uid)
    assert (study["state"], study["last_received_at"], study["conflicts"]) == ("complete", after(0), 0)


@pytest.mark.parametrize(
    "changed", [{"PixelData": b"\7" * 32}, {"RescaleIntercept": "0"}, {"ImagePositionPatient": [0, 0, 1]}]
)
def test_other_content_under_the_same_uid_is_a_conflict_and_the_first_stays(
    catalog: Catalog, spool: Spool, caplog: pytest.LogCaptureFixture, changed: dict[str, object]
) -> None:
    flow = Flow(catalog, spool)
    register.register(catalog, spool, keep_all(spool, SERIES.payloads()))
    flow.complete(after(15))
    (other,) = SERIES.having(**changed).payloads([2])
    register.register(catalog, spool, [keep(spool, other, reception(after(60), "a-2", "CT2"))])
    assert versions(flow) == ["authoritative"] * 5 + ["conflict"]
    assert flow.study(SERIES.study_uid)["conflicts"] == 1
    (entry,) = flow.audit("instance conflict")
    assert (entry.actor, entry.outcome, entry.study_instance_uid) == ("CT2", 8, SERIES.study_uid)
    assert SERIES.instance_uid(2) in entry.detail
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_versions_in_one_batch_are_told_apart(catalog: Catalog, spool: Spool) -> None:
    changes: tuple[dict[str, object], ...] = ({}, {"WindowWidth": "80"}, {"PixelData": b"x" * 32}, {"StudyID": "2"})
    batch = [keep(spool, payload) for changed in changes for payload in SERIES.having(**changed).payloads([0])]
    register.register(catalog, spool, batch)
    assert versions(Flow(catalog)) == ["replaced", "duplicate", "conflict", "authoritative"]


def test_a_result_of_ours_that_comes_back_changes_nothing(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(Series().headers())
    flow.complete(after(3))
    job = flow.job_in("queued")
    with catalog.writing() as session:
        outbox.keep_results(session, job["id"], results(job["id"], ResultKind.SR))
    (report,) = Series(series="report", count=1).having(Modality="SR").headers()
    ours = replace(report, sop_instance_uid=results(job["id"], ResultKind.SR)[0].sop_instance_uid, ct=None)
    flow.receive([ours], after(60))
    flow.complete(after(120))
    study = flow.study(Series().study_uid)
    assert (study["state"], study["last_received_at"], study["revision"]) == ("complete", after(0), 1)
    assert len(flow.jobs()) == 1
    assert len(flow.rows(tables.instance)) == 65


def test_everything_is_rebuilt_from_the_spool_when_the_rows_are_gone(catalog: Catalog, spool: Spool) -> None:
    flow = Flow(catalog, spool)
    by = reception(after(0), "a-7", "CT 7", "10.0.0.7")
    register.register(catalog, spool, keep_all(spool, SERIES.payloads(), by))
    ignored = ("id", "series_id", "study_id", "patient_id")
    before = {
        table.name: sorted(str({k: v for k, v in row.items() if k not in ignored}) for row in flow.rows(table))
        for table in EVERYTHING
    }
    forget_everything(catalog)
    register.step(catalog, spool, Inbox())
    after_rebuild = {
        table.name: sorted(str({k: v for k, v in row.items() if k not in ignored}) for row in flow.rows(table))
        for table in EVERYTHING
    }
    assert after_rebuild == before


def test_the_first_version_is_still_the_first_after_a_rebuild(catalog: Catalog, spool: Spool) -> None:
    flow = Flow(catalog, spool)
    many = Series(count=12)
    for number in range(12):
        for second, content in enumerate(({}, {"RescaleIntercept": "0"})):
            (payload,) = many.having(**content).payloads([number])
            register.register(catalog, spool, [keep(spool, payload, reception(after(second)))])
    first = {row["path"] for row in flow.rows(tables.instance) if row["version"] == VersionKind.AUTHORITATIVE}
    forget_everything(catalog)
    register.step(catalog, spool, Inbox())
    rebuilt = {row["path"] for row in flow.rows(tables.instance) if row["version"] == VersionKind.AUTHORITATIVE}
    assert rebuilt == first
    assert flow.study(many.study_uid)["last_received_at"] == after(1)


def test_a_file_that_cannot_be_read_is_logged_and_does_not_hold_up_the_others(
    catalog: Catalog, spool: Spool, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep_all(spool, SERIES.payloads())
    (data / "spool/instances/000" / ("0" * 64 + "-" + "1" * 64 + ".dcm")).write_bytes(b"garbage")
    inbox = Inbox()
    register.step(catalog, spool, inbox)
    assert len(Flow(catalog).rows(tables.instance)) == 5
    assert inbox.incomplete_since is None
    assert "a file of the spool cannot be read" in caplog.text


def test_an_empty_spool_has_nothing_to_register(catalog: Catalog, spool: Spool) -> None:
    inbox = Inbox()
    assert register.step(catalog, spool, inbox) is False
    assert inbox.incomplete_since is None
    assert Flow(catalog).audit() == []


def test_more_than_a_batch_is_registered_in_several_transactions(catalog: Catalog) -> None:
    inbox = Inbox()
    inbox.rescanned(after(1e9))
    for arrival in arrivals(Series(count=BATCH + 1).headers()):
        inbox.put(arrival)
    flow = Flow(catalog)
    assert register.step(catalog, flow.spool, inbox) is True
    assert len(flow.rows(tables.instance)) == BATCH
    assert register.step(catalog, flow.spool, inbox) is False
    assert len(flow.rows(tables.instance)) == BATCH + 1


def test_a_batch_stays_in_the_inbox_while_the_database_is_away(spool: Spool, tmp_path: Path) -> None:
    inbox = Inbox()
    inbox.rescanned(after(1e9))
    inbox.put(arrivals(SERIES.headers())[0])
    away = Catalog(f"sqlite:///{tmp_path}/no/such/folder/nodus.db", b"")
    for _ in range(2):
        with pytest.raises(Exception, match="unable to open"):
            register.step(away, spool, inbox)
    away.close()
    assert len(inbox.peek()) == 1


def test_what_does_not_fit_into_memory_is_found_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "INBOX_LIMIT", 3)
    inbox = Inbox()
    inbox.rescanned(after(1e9))
    for arrival in arrivals(SERIES.headers()):
        inbox.put(arrival)
    assert len(inbox.peek()) == 3
    assert inbox.incomplete_since is not None


@pytest.mark.parametrize("gap", ["lost receiver", "full inbox"])
def test_what_goes_missing_while_the_disk_is_looked_at_is_looked_for_again(
    monkeypatch: pytest.MonkeyPatch, gap: str
) -> None:
    monkeypatch.setattr(inbox_module, "INBOX_LIMIT", 0)
    inbox = Inbox()
    begun_at = datetime.now(UTC)
    if gap == "lost receiver":
        inbox.must_rescan()
    else:
        inbox.put(arrivals(SERIES.headers([0]))[0])
    inbox.rescanned(begun_at)
    assert inbox.incomplete_since == begun_at
    inbox.rescanned(datetime.now(UTC))
    assert inbox.incomplete_since is None


def test_the_catalog_knows_everything_up_to_the_oldest_file_that_waits() -> None:
    inbox = Inbox()
    inbox.rescanned(after(1e9))
    assert inbox.registered_until(after(100)) == after(100)
    inbox.put(arrivals(SERIES.headers([0]), reception(after(7)))[0])
    inbox.put(arrivals(SERIES.headers([1]), reception(after(9)))[0])
    assert inbox.registered_until(after(100)) == after(7)
    inbox.drop(1)
    assert inbox.registered_until(after(100)) == after(9)
    inbox.must_rescan()
    assert inbox.registered_until(after(1e9)) < after(1e9)


@pytest.mark.parametrize("keyword", ["AccessionNumber", "PatientID", "StudyDescription", "SeriesDescription"])
def test_text_of_any_length_and_letters_is_registered(catalog: Catalog, spool: Spool, keyword: str) -> None:
    """PostgreSQL takes no index entry above 2.7 kB."""
    letters = np.random.default_rng(5).integers(0x4E00, 0x9FFF, 1300)
    series = Series(count=1).having(**{keyword: "".join(map(chr, letters))})
    with warnings.catch_warnings(action="ignore"):
        payloads = series.payloads()
    register.register(catalog, spool, keep_all(spool, payloads))
    assert len(Flow(catalog).rows(tables.instance)) == 1


def test_a_geometry_of_broken_numbers_is_registered_and_judged(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(with_ct(Series().headers(), frames=()))
    flow.complete(after(15))
    assert flow.study(Series().study_uid)["outcome"] == "not analysed"
