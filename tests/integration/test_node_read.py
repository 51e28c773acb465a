"""flow/complete.py on both databases: what is read of a complete study, and how it ends when nothing can be."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from node.catalog import studies, tables
from node.catalog.session import Catalog
from node.domain.instance import InstanceHeader
from node.domain.peers import Destination
from node.domain.study import VersionKind
from node.flow import complete, release
from tests.flow import Flow
from tests.studies import AT, Series, after, arrivals, reception, with_ct

CHEST = Series()
STUDY = CHEST.study_uid


def report() -> list[InstanceHeader]:
    """Something in the same study that is no image."""
    return [replace(header, ct=None, modality="SR") for header in Series(series="report", count=1).headers()]


def test_the_job_holds_what_was_chosen_and_is_made_once(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(CHEST.headers())
    flow.complete(after(3))
    flow.complete(after(30))
    (job,) = flow.jobs()
    (series,) = flow.rows(tables.series)
    assert (job["kind"], job["state"], job["revision"], job["series_id"]) == ("analysis", "queued", 1, series["id"])
    assert job["digest"] == series["digest"] != ""
    assert (series["eligibility"], series["reasons"]) == ("full", [])
    assert flow.study(STUDY)["outcome"] == ""


def test_late_slices_open_a_revision_that_takes_the_place_of_the_first(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(CHEST.headers(range(60)))
    flow.complete(after(3))
    flow.receive(CHEST.headers(range(60, 64)), after(10))
    flow.complete(after(13))
    assert [(job["revision"], job["state"]) for job in flow.jobs()] == [(1, "superseded"), (2, "queued")]
    assert flow.jobs()[1]["predecessor_job_id"] is None  # nobody has seen anything of the first
    assert [entry.job_id for entry in flow.audit("job superseded")] == [flow.jobs()[0]["id"]]


def test_a_better_series_supersedes_and_a_worse_one_does_not(catalog: Catalog) -> None:
    flow = Flow(catalog)
    thick, thin = (
        Series(series="thick", thickness_mm=4),
        Series(series="thin", step_mm=1.0, thickness_mm=1.0, count=200),
    )
    flow.receive(CHEST.headers())
    flow.complete(after(3))
    flow.receive(thick.headers(), after(10))
    flow.complete(after(13))
    assert [job["state"] for job in flow.jobs()] == ["queued"]
    flow.receive(thin.headers(), after(20))
    flow.complete(after(23))
    assert [job["state"] for job in flow.jobs()] == ["superseded", "queued"]
    chosen = next(row for row in flow.rows(tables.series) if row["series_instance_uid"] == thin.series_uid)
    assert flow.jobs()[1]["series_id"] == chosen["id"]


@pytest.mark.parametrize(
    "extra",
    [
        report(),
        with_ct(Series(series="scout", count=1).headers(), image_type=("ORIGINAL", "PRIMARY", "LOCALIZER")),
        with_ct(CHEST.headers([70]), image_type=("DERIVED", "SECONDARY", "SCREEN SAVE")),
    ],
    ids=["report", "scout series", "screen save in the series"],
)
def test_what_is_not_read_never_alters_a_job(catalog: Catalog, extra: list[InstanceHeader]) -> None:
    flow = Flow(catalog)
    flow.receive(CHEST.headers())
    flow.complete(after(3))
    flow.receive(extra, after(60))
    flow.complete(after(75))
    assert [(job["revision"], job["state"]) for job in flow.jobs()] == [(1, "queued")]
    assert flow.study(STUDY)["state"] == "complete"


def test_a_chest_that_cannot_be_read_ends_with_its_reasons_and_a_notice(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(CHEST.headers(range(20)))
    flow.complete(after(3))
    study = flow.study(STUDY)
    assert (study["state"], study["outcome"]) == ("complete", "not analysed")
    assert study["reasons"] == ["There are fewer than 40 slices."]
    (job,) = flow.jobs()
    assert (job["kind"], job["state"], job["reasons"]) == ("notice", "queued", study["reasons"])
    (entry,) = flow.audit("study not analysed")
    assert "fewer than 40" in entry.detail


def test_every_reason_of_every_series_is_told_once(catalog: Catalog) -> None:
    flow = Flow(catalog)
    thick = Series(series="2", step_mm=6, thickness_mm=6, count=45)
    short = Series(series="3").headers(range(10))
    flow.receive([*CHEST.headers(range(20)), *thick.headers(), *short])
    flow.complete(after(15))
    assert flow.study(STUDY)["reasons"] == ["There are fewer than 40 slices.", "The slices are thicker than 5 mm."]


def test_a_ct_of_another_part_of_the_body_ends_unread_without_a_notice(catalog: Catalog) -> None:
    flow = Flow(catalog)
    knee = CHEST.having(BodyPartExamined="KNEE", StudyDescription="CT Knie", SeriesDescription="axial")
    flow.receive(knee.headers(range(20)))
    flow.complete(after(3))
    assert flow.study(STUDY)["outcome"] == "not analysed"
    assert flow.study(STUDY)["reasons"]
    assert flow.jobs() == []


def test_a_study_without_ct_ends_visibly_without_a_notice(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(report())
    flow.complete(after(15))
    study = flow.study(STUDY)
    assert (study["state"], study["outcome"], study["reasons"]) == (
        "complete", "not analysed", ["There is no CT image in the study."]
    )  # fmt: skip
    assert flow.jobs() == []


def test_a_notice_gives_way_when_the_missing_slices_come(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(CHEST.headers(range(20)))
    flow.complete(after(3))
    flow.receive(CHEST.headers(range(20, 64)), after(60))
    flow.complete(after(63))
    assert [(job["kind"], job["state"]) for job in flow.jobs()] == [("notice", "superseded"), ("analysis", "queued")]
    assert (flow.study(STUDY)["outcome"], flow.study(STUDY)["reasons"]) == ("", [])


def in_conflict(flow: Flow, headers: list[InstanceHeader], at: datetime = AT) -> None:
    """The first of these instances comes again with different content."""
    (second,) = arrivals(headers[:1], reception(at))
    with flow.catalog.writing() as session:
        studies.register(session, [replace(second, path=f"{second.path}-second", version=VersionKind.CONFLICT)])


def test_a_study_in_conflict_is_not_read_and_says_so(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(CHEST.headers())
    in_conflict(flow, CHEST.headers())
    flow.complete(after(15))
    study = flow.study(STUDY)
    assert (study["outcome"], study["reasons"]) == ("not analysed", [complete.CONFLICT])
    assert [job["kind"] for job in flow.jobs()] == ["notice"]


def test_a_conflict_of_something_that_is_not_read_stops_nothing(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive([*CHEST.headers(), *report()])
    in_conflict(flow, report())
    flow.complete(after(15))
    assert [(job["kind"], job["state"]) for job in flow.jobs()] == [("analysis", "queued")]


@pytest.mark.parametrize("more", [range(0), range(64, 70)], ids=["alone", "with late slices"])
def test_a_conflict_before_the_reading_is_done_withdraws_it(catalog: Catalog, more: range) -> None:
    flow = Flow(catalog)
    flow.receive(CHEST.headers())
    flow.complete(after(3))
    in_conflict(flow, CHEST.headers(), after(10))
    flow.receive(CHEST.headers(more), after(10))
    flow.complete(after(30))
    assert [(job["kind"], job["state"]) for job in flow.jobs()] == [("analysis", "superseded"), ("notice", "queued")]
    assert flow.study(STUDY)["reasons"] == [complete.CONFLICT]


def test_a_reading_that_is_out_is_not_taken_back_by_a_conflict(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.destination(Destination("PACS", "127.0.0.1", 104))
    flow.receive(CHEST.headers())
    flow.complete(after(3))
    flow.finish(1, after(3))
    release.step(catalog, after(3))
    in_conflict(flow, CHEST.headers(), after(10))
    flow.complete(after(30))
    assert [job["state"] for job in flow.jobs()] == ["done"]
    assert flow.study(STUDY)["conflicts"] == 1  # a person sees it


def test_a_reading_that_is_held_is_withdrawn_by_a_conflict(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.destination(Destination("PACS", "127.0.0.1", 104))
    flow.receive([*CHEST.headers(), *report()])
    flow.complete(after(3))
    flow.finish(1, after(3))
    in_conflict(flow, CHEST.headers(), after(10))
    flow.complete(after(30))
    assert [(job["kind"], job["state"]) for job in flow.jobs()] == [("analysis", "superseded"), ("notice", "queued")]
    assert {state for _, _, state in flow.outbox()} == {"cancelled"}


@pytest.mark.parametrize("done", [False, True], ids=["queued", "held"])
def test_a_reading_of_what_turns_out_to_be_incomplete_is_withdrawn(catalog: Catalog, done: bool) -> None:
    flow = Flow(catalog)
    flow.destination(Destination("PACS", "127.0.0.1", 104))
    flow.receive([*CHEST.headers(range(50)), *report()])
    flow.complete(after(3))
    if done:
        flow.finish(1, after(4))
    flow.receive(CHEST.headers(range(60, 64)), after(5))
    flow.complete(after(25))
    assert [(job["kind"], job["state"]) for job in flow.jobs()] == [("analysis", "superseded"), ("notice", "queued")]
    assert flow.study(STUDY)["outcome"] == "not analysed"
    assert {state for _, _, state in flow.outbox()} <= {"cancelled"}


def test_a_report_that_is_out_gets_a_notice_as_successor_when_its_series_turns_out_incomplete(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.destination(Destination("PACS", "127.0.0.1", 104))
    flow.receive(CHEST.headers(range(50)))
    flow.complete(after(3))
    flow.finish(1, after(4))
    with catalog.writing() as session:
        session.execute(update(tables.outbox).values(state="delivered", attempts=1))
    flow.receive(CHEST.headers(range(60, 64)), after(60))
    flow.complete(after(90))
    assert [(job["kind"], job["predecessor_job_id"]) for job in flow.jobs()] == [("analysis", None), ("notice", 1)]


def test_a_worse_series_does_not_take_the_place_of_a_better_one_that_is_open_again(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(CHEST.headers())
    flow.complete(after(3))
    late = [replace(header, ct=None, modality="SR") for header in Series(count=65).headers([64])]
    flow.receive(late, after(10), ending=None)
    flow.receive(Series(series="thick", thickness_mm=4).headers(), after(10), calling="CT2")
    flow.complete(after(14))
    assert [row["state"] for row in flow.rows(tables.series)] == ["receiving", "complete"]
    flow.complete(after(40))
    assert [job["state"] for job in flow.jobs()] == ["queued"]


def test_every_study_ends_in_exactly_one_visible_outcome_or_has_a_job(catalog: Catalog) -> None:
    flow = Flow(catalog)
    kinds = {
        "good": CHEST.headers(),
        "short": Series("2").headers(range(20)),
        "none": [replace(header, ct=None) for header in Series("3", count=1).headers()],
        "knee": Series("4").having(BodyPartExamined="KNEE", StudyDescription="", SeriesDescription="").headers([0]),
    }
    for headers in kinds.values():
        flow.receive(headers)
    flow.complete(AT + timedelta(minutes=1))
    for row in flow.rows(tables.study):
        jobs = [job for job in flow.jobs() if job["study_id"] == row["id"] and job["kind"] == "analysis"]
        assert row["state"] == "complete"
        assert (row["outcome"] == "") is bool(jobs)
        assert bool(row["reasons"]) is not bool(jobs)
