"""Other patient or study attributes for images that are here, conflicts, and what an operator decides about both."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydicom import dcmread
from sqlalchemy import update

from node.admin import conflicts
from node.catalog import installation, query, studies, tables
from node.catalog.session import Catalog
from node.domain.audit import EventKind
from node.domain.peers import Destination
from node.domain.query import Query, QueryLevel
from node.errors import SettingsError, Unavailable
from node.flow import release
from node.settings import Settings
from node.spool import Spool, write_durably
from tests.conftest import AUDIT_KEY
from tests.flow import Flow
from tests.sender import payload_of
from tests.studies import Series, after
from workers import tasks
from workers.workplace import Workplace

CHEST = Series(count=44)
CORRECTED = CHEST.having(PatientName="Right^Person", PatientID="RIGHT-1", StudyDate="20240204", AccessionNumber="A2")
OTHER_PIXELS = CHEST.having(PixelData=b"\7" * 32)
PACS = Destination("PACS", "127.0.0.1", 104)
STUDY = CHEST.study_uid


@pytest.fixture
def flow(catalog: Catalog, spool: Spool) -> Flow:
    """A node with one destination."""
    flow = Flow(catalog, spool)
    flow.destination(PACS)
    return flow


@pytest.fixture
def settings(catalog: Catalog, database_url: str, data: Path) -> Settings:
    """The settings of a command on the same data directory."""
    with catalog.writing() as session:
        installation.make(session)
    write_durably(data / "audit.key", AUDIT_KEY)
    return Settings(data=data, database_url=database_url)


@pytest.fixture
def workplace(settings: Settings) -> Iterator[Workplace]:
    """Where a worker of this node works."""
    place = Workplace(settings)
    yield place
    place.catalog.close()


def jobs(flow: Flow) -> list[tuple[str, str, int | None]]:
    return [(job["kind"], job["state"], job["predecessor_job_id"]) for job in flow.jobs()]


def versions(flow: Flow) -> dict[str, int]:
    kinds = [row["version"] for row in flow.rows(tables.instance)]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def named(flow: Flow) -> set[tuple[str, str]]:
    """Patient and accession number of the study, as a C-FIND finds them."""
    keys = {"StudyInstanceUID": STUDY, "PatientName": "", "AccessionNumber": ""}
    with flow.catalog.reading() as session:
        found = list(query.find(session, Query(QueryLevel.STUDY, keys)))
    return {(str(each.values["PatientName"]), str(each.values["AccessionNumber"])) for each in found}


def sent(flow: Flow) -> None:
    """The PACS has what was held."""
    release.step(flow.catalog, after(5))
    with flow.catalog.writing() as session:
        session.execute(
            update(tables.outbox).where(tables.outbox.c.state == "due").values(state="delivered", attempts=1)
        )


def test_a_correction_while_results_are_held_is_read_again_under_the_new_name(flow: Flow, data: Path) -> None:
    flow.take(CHEST.payloads())
    flow.complete(after(3))
    flow.finish(1, after(4))
    flow.take(CORRECTED.payloads(), after(10))
    flow.complete(after(13))
    assert versions(flow) == {"authoritative": 44, "replaced": 44}
    assert jobs(flow) == [("analysis", "superseded", None), ("analysis", "queued", None)]
    assert flow.jobs()[0]["digest"] != flow.jobs()[1]["digest"]
    assert {state for _, _, state in flow.outbox()} == {"cancelled"}
    assert named(flow) == {("Right^Person", "A2")}
    (entry,) = flow.audit(EventKind.DEMOGRAPHICS_CHANGED)
    assert (entry.outcome, entry.detail) == (0, '{"taken": 44, "too_late": 0}')
    assert flow.study(STUDY)["conflicts"] == 0
    with flow.catalog.reading() as session:
        files = studies.files_of_series(session, 1, [CHEST.instance_uid(number) for number in range(44)])
    assert {str(dcmread(data / path).PatientName) for path, _ in files.values()} == {"Right^Person"}  # what is read


def test_results_that_are_due_and_were_offered_to_nobody_wait_for_the_correction(flow: Flow) -> None:
    flow.take(CHEST.payloads())
    flow.complete(after(3))
    flow.finish(1, after(4))
    release.step(flow.catalog, after(5))
    assert {state for _, _, state in flow.outbox()} == {"due"}
    flow.take(CORRECTED.payloads(), after(10))
    assert {state for _, _, state in flow.outbox()} == {"held"}
    assert [entry.detail for entry in flow.audit("results held again")] == ['{"results": 2}']
    assert not release.step(flow.catalog, after(11))
    flow.complete(after(13))
    assert {state for _, _, state in flow.outbox()} == {"cancelled"}
    assert [state for _, state, _ in jobs(flow)] == ["superseded", "queued"]


def test_a_correction_after_sending_stays_and_tells_the_operator(flow: Flow, settings: Settings) -> None:
    flow.take(CHEST.payloads())
    flow.complete(after(3))
    flow.finish(1, after(4))
    sent(flow)
    flow.take(CORRECTED.payloads(), after(10))
    flow.complete(after(60))
    assert versions(flow) == {"authoritative": 44, "demographics": 44}
    assert jobs(flow) == [("analysis", "done", None)]
    assert {state for _, _, state in flow.outbox()} == {"delivered"}
    assert named(flow) == {("Nodus^Test", "ACC-1")}
    study = flow.study(STUDY)
    assert (study["state"], study["conflicts"]) == ("complete", 44)
    (entry,) = flow.audit(EventKind.DEMOGRAPHICS_CHANGED)
    assert (entry.outcome, entry.detail) == (8, '{"taken": 0, "too_late": 44}')
    assert not conflicts.conflicts(settings).well


def test_the_operator_takes_a_late_correction_and_a_successor_names_what_was_sent(
    flow: Flow, settings: Settings
) -> None:
    flow.take(CHEST.payloads())
    flow.complete(after(3))
    flow.finish(1, after(4))
    sent(flow)
    flow.take(CORRECTED.payloads(), after(10))
    view = conflicts.settle(settings, STUDY, "newest")
    assert view.well
    assert view.data["settled"] == 44
    flow.complete(later())
    assert jobs(flow) == [("analysis", "superseded", None), ("analysis", "queued", 1)]
    assert named(flow) == {("Right^Person", "A2")}
    assert conflicts.conflicts(settings).well
    assert {entry.actor for entry in flow.audit(EventKind.VERSIONS_SETTLED)} == {"operator"}


def later() -> datetime:
    """Long after a command that was just given."""
    return datetime.now(UTC) + timedelta(minutes=1)


def test_an_old_file_that_comes_once_more_undoes_no_correction(flow: Flow) -> None:
    flow.take(CHEST.payloads([0]))
    flow.take(CORRECTED.payloads([0]), after(1))
    flow.take(CHEST.having(WindowWidth="80").payloads([0]), after(2))
    assert [row["version"] for row in flow.rows(tables.instance)] == ["replaced", "authoritative", "duplicate"]
    assert named(flow) == {("Right^Person", "A2")}


def test_half_a_correction_is_nobodys_report_until_the_rest_has_come(flow: Flow) -> None:
    flow.take(CHEST.payloads())
    flow.complete(after(3))
    flow.finish(1, after(4))
    flow.take(CORRECTED.payloads(range(20)), after(5))
    flow.complete(after(30))
    assert jobs(flow) == [("analysis", "superseded", None)]  # and no notice: it would name one of two patients
    study = flow.study(STUDY)
    assert study["outcome"] == "not analysed"
    assert study["reasons"] == ["The images name different patients or frames of reference."]
    flow.take(CORRECTED.payloads(range(20, 44)), after(60))
    flow.complete(after(63))
    assert jobs(flow) == [("analysis", "superseded", None), ("analysis", "queued", None)]


def test_a_notice_follows_a_correction_and_shares_no_uid_with_the_one_before(
    flow: Flow, workplace: Workplace, data: Path
) -> None:
    flow.take(CHEST.payloads(range(20)))
    flow.complete(after(3))
    tasks.perform(workplace, 1)
    flow.take(CORRECTED.payloads(range(20)), after(10))
    flow.complete(after(30))
    tasks.perform(workplace, 2)
    assert jobs(flow) == [("notice", "superseded", None), ("notice", "done", None)]
    rows = flow.rows(tables.result)
    names = {row["job_id"]: str(dcmread(data / row["path"]).PatientName) for row in rows}
    assert names == {1: "Nodus^Test", 2: "Right^Person"}
    assert len({row["sop_instance_uid"] for row in rows}) == len(rows)
    flow.take(CHEST.payloads(range(20, 22)), after(60))
    flow.complete(after(90))
    assert len(flow.jobs()) == 2  # still too few slices: nothing new to tell


def in_conflict(flow: Flow, *, late: bool) -> None:
    """Two of its images come again with other pixels, before or after the study was reported on."""
    flow.take(CHEST.payloads())
    if late:
        flow.complete(after(3))
        flow.finish(1, after(4))
        sent(flow)
    flow.take(OTHER_PIXELS.payloads([3, 4]), after(10))
    flow.complete(after(40))


def test_a_conflict_stops_the_reading_until_the_operator_keeps_what_counts(flow: Flow, settings: Settings) -> None:
    in_conflict(flow, late=False)
    assert jobs(flow) == [("notice", "queued", None)]
    view = conflicts.conflicts(settings)
    assert not view.well
    assert [(row["version"], row["counts"]) for row in view.rows] == [("authoritative", "yes"), ("conflict", "no")] * 2
    assert {row["sender"] for row in view.rows} == {"CT1"}
    assert conflicts.settle(settings, STUDY, "current").well
    flow.complete(later())
    assert jobs(flow) == [("notice", "superseded", None), ("analysis", "queued", None)]
    assert (flow.study(STUDY)["conflicts"], flow.study(STUDY)["reasons"]) == (0, [])
    assert versions(flow) == {"authoritative": 44, "rejected": 2}
    assert conflicts.conflicts(settings).well


def test_the_newest_pixels_are_read_when_the_operator_says_so(flow: Flow, settings: Settings) -> None:
    in_conflict(flow, late=True)
    assert jobs(flow) == [("analysis", "done", None)]
    conflicts.settle(settings, STUDY, "newest")
    flow.complete(later())
    assert versions(flow) == {"authoritative": 44, "replaced": 2}
    assert jobs(flow) == [("analysis", "superseded", None), ("analysis", "queued", 1)]
    flow.take(OTHER_PIXELS.having(WindowWidth="80").payloads([3]), after(99))
    assert versions(flow) == {"authoritative": 44, "duplicate": 1, "replaced": 2}


def test_keeping_what_was_reported_on_reports_nothing_again(flow: Flow, settings: Settings) -> None:
    in_conflict(flow, late=True)
    conflicts.settle(settings, STUDY, "current")
    flow.complete(later())
    assert jobs(flow) == [("analysis", "done", None)]
    assert flow.study(STUDY)["state"] == "complete"


def test_one_image_is_settled_by_the_digest_of_a_version(flow: Flow, settings: Settings) -> None:
    in_conflict(flow, late=False)
    (chosen, *_) = (row for row in flow.rows(tables.instance) if row["version"] == "conflict")
    view = conflicts.settle(settings, STUDY, chosen["digest"][:8].upper())
    assert (view.data["settled"], view.data["left"], view.well) == (1, 1, False)
    assert versions(flow) == {"authoritative": 44, "conflict": 1, "replaced": 1}
    assert flow.study(STUDY)["conflicts"] == 1


def test_a_wrong_order_says_what_is_wrong_and_changes_nothing(flow: Flow, settings: Settings, data: Path) -> None:
    with pytest.raises(Unavailable, match="waits for a decision"):
        conflicts.settle(settings, STUDY, "newest")
    in_conflict(flow, late=False)
    for keep in ("oldest", "12", "g" * 8, "%" * 8):
        with pytest.raises(SettingsError, match="Keep current, newest, or"):
            conflicts.settle(settings, STUDY, keep)
    with pytest.raises(SettingsError, match="exactly one version"):
        conflicts.settle(settings, STUDY, "0" * 64)
    (gone, *_) = (row for row in flow.rows(tables.instance) if row["version"] == "conflict")
    (data / gone["path"]).unlink()
    with pytest.raises(Unavailable, match="is gone"):
        conflicts.settle(settings, STUDY, gone["digest"])
    assert versions(flow) == {"authoritative": 44, "conflict": 2}


def test_a_result_of_ours_that_a_pacs_describes_otherwise_changes_nothing(
    flow: Flow, workplace: Workplace, data: Path
) -> None:
    flow.take(CHEST.payloads(range(20)))
    flow.complete(after(3))
    tasks.perform(workplace, 1)
    sent(flow)
    before = flow.study(STUDY)
    report = dcmread(data / flow.rows(tables.result)[0]["path"])
    for name in ("Nodus^Test", "Somebody^Else"):
        report.PatientName = name
        flow.take([payload_of(report)], after(100))
    flow.complete(after(200))
    assert flow.study(STUDY) == before
    assert len(flow.jobs()) == 1
