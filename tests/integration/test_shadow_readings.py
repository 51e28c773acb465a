"""A worker reads with the model in use, and then in shadow: both are kept, one is for the PACS, on both databases."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from sqlalchemy import update
from sqlalchemy.orm import Session

from node.catalog import comparisons, installation, jobs, overview, tables
from node.catalog.revisions import Plan, open_revision
from node.catalog.session import Catalog
from node.domain.job import JobKind
from node.domain.peers import Destination
from node.errors import LeaseLost
from node.pictures import strips_in
from node.settings import Settings
from node.spool import Spool
from tests import shadowed
from tests.brought import write_onnx
from tests.conftest import AUDIT_KEY
from tests.flow import Flow
from tests.peers import require_library
from tests.sender import Payload
from tests.studies import AT, Series, after
from workers import tasks
from workers.models import store
from workers.own_models import add, try_beside, use
from workers.tasks import Claim
from workers.workplace import Workplace

EVERYTHING = ("SEG", "SR", "KOS", "GSPS", "PDF", "SC", "PM")


@pytest.fixture
def workplace(catalog: Catalog, database_url: str, data: Path, tmp_path: Path) -> Iterator[Workplace]:
    """Where a worker works; the model `peak` is there."""
    require_library("onnxruntime", "onnx")
    with catalog.writing() as session:
        installation.make(session)
    (data / "audit.key").write_bytes(AUDIT_KEY)
    place = Workplace(Settings(data=data, database_url=database_url))
    add(place.settings, write_onnx(tmp_path / "brought"), "peak")
    yield place
    place.catalog.close()


def come(catalog: Catalog, spool: Spool, payloads: tuple[Payload, ...]) -> Flow:
    """A study that is to be read."""
    flow = Flow(catalog, spool)
    flow.destination(Destination("PACS", "127.0.0.1", 104, EVERYTHING))
    flow.take(payloads)
    flow.complete(after(3))
    return flow


def small(catalog: Catalog, spool: Spool) -> Flow:
    """One whose images show no lungs; it was read, and job 2 is to read it in shadow."""
    flow = come(catalog, spool, tuple(Series().payloads()))
    with catalog.writing() as session:
        session.execute(update(tables.job).values(state="done", outcome="findings"))
        session.execute(update(tables.study).values(outcome="findings"))
        jobs.open_beside(session, jobs.get(session, 1), "peak", AT)
    return flow


def as_it_was(flow: Flow) -> None:
    """Nothing of the reading or its study has changed."""
    (study,) = flow.rows(tables.study)
    assert (study["outcome"], study["state"]) == ("findings", "complete")
    assert (flow.jobs()[0]["state"], flow.outbox()) == ("done", [])


def uids(flow: Flow, job_id: int) -> set[str]:
    return {row["sop_instance_uid"] for row in flow.rows(tables.result, job_id=job_id)}


def test_both_readings_are_kept_and_beside_each_other_and_one_of_them_is_for_the_pacs(
    catalog: Catalog, spool: Spool, workplace: Workplace, data: Path
) -> None:
    try_beside(workplace.settings, "peak")
    flow = come(catalog, spool, shadowed.payloads())
    tasks.perform(workplace, 1)
    before = flow.study(flow.rows(tables.study)[0]["study_instance_uid"])
    tasks.perform(workplace, 2)
    reading, shadow = flow.jobs()
    assert [(job["state"], job["outcome"]) for job in (reading, shadow)] == [("done", "findings")] * 2
    assert "detector peak 1.2" in shadow["model_version"] and "peak" not in reading["model_version"]
    assert flow.outbox() == [(1, kind, "held") for kind in EVERYTHING]
    assert flow.study(before["study_instance_uid"]) == before
    with catalog.reading() as session:
        (one,) = comparisons.listing(session)
        assert comparisons.of_study(session, before["study_instance_uid"]) == [one]
        detail = overview.study_detail(session, before["study_instance_uid"])
    assert (one["found"], one["found_in_shadow"], one["same_place"]) == (2, 1, 1)
    assert [each["finding"] for each in one["only_reading"]] != []
    assert (one["only_shadow"], one["shadow"], one["job"], one["shadow_job"]) == ([], "peak", 1, 2)
    assert detail is not None and detail["comparisons"] == [one]
    assert all((data / path).is_file() for job in detail["jobs"] for path in job["files"])
    results_say_so(flow, data)


def results_say_so(flow: Flow, data: Path) -> None:
    """Every object of the shadow reading, and none of the other."""
    for row in flow.rows(tables.result):
        dataset = dcmread(data / row["path"])
        text = dataset.to_json()
        assert dataset.SeriesDescription.startswith("SHADOW ") == (row["job_id"] == 2)
        assert ("SHADOW READING" in text) == (row["job_id"] == 2)
    assert {row["kind"] for row in flow.rows(tables.result, job_id=1)} == set(EVERYTHING)
    theirs = {row["kind"] for row in flow.rows(tables.result, job_id=2)}
    assert theirs == set(EVERYTHING) - {"PM"}  # a model that was brought along tells no scores
    for row in flow.rows(tables.result, rung=0, kind="SEG"):
        strips = strips_in((data / row["path"]).parent)
        assert len(strips) == len(flow.rows(tables.finding, job_id=row["job_id"])) > 0


def test_a_model_that_is_used_after_its_shadow_has_other_uids_and_no_predecessor_in_shadow(
    catalog: Catalog, spool: Spool, workplace: Workplace
) -> None:
    use(workplace.settings, "peak")
    try_beside(workplace.settings, "shipped")
    flow = come(catalog, spool, shadowed.payloads())
    tasks.perform(workplace, 1)
    tasks.perform(workplace, 2)
    use(workplace.settings, "shipped")
    with catalog.writing() as session:
        open_revision(session, Plan(1, JobKind.ANALYSIS, 1, flow.jobs()[0]["digest"]), AT)
    tasks.perform(workplace, 3)
    assert [job["state"] for job in flow.jobs()] == ["superseded", "superseded", "done"]
    assert [len(flow.rows(tables.finding, job_id=each)) for each in (1, 2, 3)] == [1, 2, 2]
    assert uids(flow, 2) & uids(flow, 3) == set()
    assert flow.jobs()[2]["predecessor_job_id"] is None
    with catalog.reading() as session:
        assert comparisons.listing(session) == []


def test_images_that_cannot_be_read_in_shadow_are_told_nobody(
    catalog: Catalog, spool: Spool, workplace: Workplace
) -> None:
    flow = small(catalog, spool)
    tasks.perform(workplace, 2)
    assert (flow.jobs()[1]["state"], flow.jobs()[1]["outcome"]) == ("done", "not analysed")
    assert flow.rows(tables.result) == []
    as_it_was(flow)


def test_a_shadow_of_other_images_than_are_here_ends_and_opens_nothing(
    catalog: Catalog, spool: Spool, workplace: Workplace
) -> None:
    flow = small(catalog, spool)
    with catalog.writing() as session:
        session.execute(update(tables.job).where(tables.job.c.id == 2).values(digest="of others"))
    tasks.perform(workplace, 2)
    assert flow.jobs()[1]["state"] == "superseded"
    assert [entry.job_id for entry in flow.audit("job superseded")] == [2]
    as_it_was(flow)


def test_a_shadow_is_given_back_at_once_where_a_reading_waits_for_its_worker(
    catalog: Catalog, spool: Spool, workplace: Workplace
) -> None:
    flow = small(catalog, spool)
    flow.take(Series("another").payloads(), after(-10))
    flow.complete(after(0))
    tasks.perform(workplace, 2)
    assert (flow.jobs()[1]["state"], flow.jobs()[1]["attempts"]) == ("queued", 0)
    assert "a reading waits" in flow.audit("job given back")[0].detail


@pytest.mark.parametrize("end", [jobs.supersede, lambda session, study_id: jobs.stop(session, "peak")])
def test_a_worker_whose_shadow_reading_is_nobodys_any_more_leaves_it_at_once(
    catalog: Catalog, spool: Spool, workplace: Workplace, end: Callable[[Session, int], None]
) -> None:
    flow = small(catalog, spool)
    claim = Claim(workplace, flow.claimed(2), "t")
    assert not claim.wanted()
    with catalog.writing() as session:
        end(session, 1)
    assert claim.wanted()
    with pytest.raises(LeaseLost):
        tasks.work(claim)
    as_it_was(flow)


def test_a_model_in_shadow_that_cannot_be_loaded_fails_alone(
    catalog: Catalog, spool: Spool, workplace: Workplace, data: Path
) -> None:
    flow = small(catalog, spool)
    store.remove(data, "peak")
    tasks.perform(workplace, 2)
    assert "There is no model 'peak'" in flow.jobs()[1]["failure_text"]
    as_it_was(flow)
