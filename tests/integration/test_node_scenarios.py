"""However a study comes, it ends in exactly the right revisions, jobs and results: from arrival to outbox by hand."""

import random
from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian, RLELossless
from sqlalchemy import update

from node.catalog import peers, tables
from node.catalog.session import Catalog
from node.domain.delivery import ResultKind
from node.domain.instance import InstanceHeader
from node.domain.peers import Destination, Sender, Standing
from node.domain.reception import Ending
from node.flow import release
from node.spool import Spool
from tests.flow import Flow, results
from tests.sender import Payload, payload_of
from tests.studies import Series, after

CHEST = Series(count=50)
BETTER = Series(series="thin", step_mm=1.0, thickness_mm=1.0, count=160)
WORSE = Series(series="thick", step_mm=4.0, thickness_mm=4.0, count=45)
STUDY = CHEST.study_uid
PACS = Destination("PACS", "127.0.0.1", 104)


@pytest.fixture
def flow(catalog: Catalog, spool: Spool) -> Flow:
    """A node with one destination."""
    flow = Flow(catalog, spool)
    flow.destination(PACS)
    return flow


def jobs(flow: Flow) -> list[tuple[str, str]]:
    return [(job["kind"], job["state"]) for job in flow.jobs()]


def read_out(flow: Flow, at: float) -> None:
    """A worker does what is queued, and the PACS gets what is released."""
    for job in flow.rows(tables.job, state="queued"):
        flow.finish(job["id"], after(at))
    release.step(flow.catalog, after(at))
    with flow.catalog.writing() as session:
        session.execute(
            update(tables.outbox).where(tables.outbox.c.state == "due").values(state="delivered", attempts=1)
        )


def delivered(flow: Flow) -> list[tuple[int, str]]:
    return [(job, kind) for job, kind, state in flow.outbox() if state == "delivered"]


def once(flow: Flow, at: float) -> None:
    """The study has one revision; its one job is done and its one result set with the PACS."""
    flow.complete(after(at))
    read_out(flow, at)
    assert jobs(flow) == [("analysis", "done")]
    assert delivered(flow) == [(1, "SEG"), (1, "SR")] == [(job, kind) for job, kind, _ in flow.outbox()]
    assert (flow.study(STUDY)["revision"], flow.study(STUDY)["state"]) == (1, "complete")


@pytest.mark.parametrize("apart_s", [0.5, 4.0])
def test_one_association_per_image_is_one_study(flow: Flow, apart_s: float) -> None:
    """Also where images are further apart than the quiet that a gapless stack needs."""
    for number, header in enumerate(CHEST.headers()):
        at = number * apart_s
        flow.receive([header], after(at))
        flow.complete(after(at + 0.99 * apart_s))
        assert flow.jobs() == []
    once(flow, 49 * apart_s + 15)


@pytest.mark.parametrize("seed", range(2))
def test_an_association_that_is_cut_at_any_slice_and_sent_again_is_one_study(flow: Flow, seed: int) -> None:
    cut = random.Random(seed).randrange(1, 50)
    flow.receive(CHEST.headers(range(cut)), ending=Ending.ABORTED)
    flow.complete(after(14))
    flow.receive(CHEST.headers(), after(14))
    flow.complete(after(16.9))
    assert flow.jobs() == []
    once(flow, 17)


@pytest.mark.parametrize(("cut", "first"), [(20, ("notice", "superseded")), (45, ("analysis", "superseded"))])
def test_what_is_sent_again_after_the_quiet_time_opens_one_revision(
    flow: Flow, cut: int, first: tuple[str, str]
) -> None:
    flow.receive(CHEST.headers(range(cut)), ending=Ending.ABORTED)
    flow.complete(after(15))
    flow.receive(CHEST.headers(), after(60))
    flow.complete(after(63))
    read_out(flow, 63)
    assert jobs(flow) == [first, ("analysis", "done")]
    assert delivered(flow) == [(2, "SEG"), (2, "SR")]


@pytest.mark.parametrize("associations", [1, 2])
def test_two_series_interleaved_are_read_once_by_the_better_one(flow: Flow, associations: int) -> None:
    other = Series(series="soft", count=50, thickness_mm=3.0, step_mm=2.5)
    pairs = list(zip(CHEST.headers(), other.headers(), strict=True))
    if associations == 1:
        flow.receive([header for pair in pairs for header in pair])
    else:
        flow.receive([one for one, _ in pairs[:25]], ending=None)
        flow.receive([two for _, two in pairs[:25]], after(0.5), ending=None)
        open_ones = [
            flow.receive([one for one, _ in pairs[25:]], after(1), ending=None),
            flow.receive([two for _, two in pairs[25:]], after(1.5), ending=None),
        ]
        flow.complete(after(8))
        assert flow.jobs() == []
        for association in ("a-1", "a-2", *open_ones):
            flow.close(association, Ending.RELEASED, after(8))
    once(flow, 8)
    (job,), series = flow.jobs(), {row["id"]: row["series_instance_uid"] for row in flow.rows(tables.series)}
    assert series[job["series_id"]] == CHEST.series_uid


@pytest.mark.parametrize("apart_s", [14])
def test_a_slow_scanner_with_one_association_is_waited_for(flow: Flow, apart_s: float) -> None:
    slices = CHEST.headers()
    flow.receive(slices[:1], ending=None)
    for number, header in enumerate(slices[1:], start=1):
        flow.receive([header], after(number * apart_s))
        flow.complete(after((number + 1) * apart_s - 0.1))
    assert flow.jobs() == []
    flow.close("a-1", Ending.RELEASED, after(49 * apart_s))
    once(flow, 49 * apart_s + 15)


def test_a_scanner_slower_than_the_quiet_time_ends_in_one_reading_of_everything(flow: Flow) -> None:
    slices = CHEST.headers()
    groups = [slices[:38], *([header] for header in slices[38:])]
    for number, group in enumerate(groups):
        flow.receive(group, after(number * 20), ending=None)
        flow.complete(after(number * 20 + 19))
    flow.complete(after(400))
    read_out(flow, 400)
    done = [job for job in flow.jobs() if job["state"] == "done"]
    assert [job["digest"] for job in done] == [flow.rows(tables.series)[0]["digest"]]
    assert {job["state"] for job in flow.jobs()} == {"superseded", "done"}
    assert delivered(flow) == [(done[0]["id"], "SEG"), (done[0]["id"], "SR")]
    assert [job["kind"] for job in flow.jobs()] == ["notice", *["analysis"] * 11]  # of 39 slices, then of 40 to 50


def recoded(dataset: Dataset, syntax: str) -> Payload:
    """The same instance in another transfer syntax."""
    if syntax == RLELossless:
        dataset.compress(RLELossless, generate_instance_uid=False)
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
    return payload_of(dataset)


@pytest.mark.parametrize("syntax", ["", ImplicitVRLittleEndian, RLELossless], ids=["same", "implicit", "RLE"])
@pytest.mark.parametrize("after_s", [1, 60], ids=["at once", "after the report"])
def test_a_pacs_that_sends_everything_twice_gets_one_report(flow: Flow, syntax: str, after_s: float) -> None:
    pixels = np.random.default_rng(1).integers(0, 4096, (4, 4), "<u2").tobytes()
    chest = replace(CHEST, count=42).having(PixelData=pixels)
    flow.take(chest.payloads())
    if after_s > 3:
        once(flow, 3)
    again = chest.payloads() if not syntax else [recoded(dataset, syntax) for dataset in chest.datasets()]
    flow.take(again, after(after_s))
    once(flow, after_s + 3) if after_s < 3 else flow.complete(after(after_s + 30))
    assert jobs(flow) == [("analysis", "done")]
    assert delivered(flow) == [(1, "SEG"), (1, "SR")]
    kinds = [row["version"] for row in flow.rows(tables.instance)]
    assert kinds == ["authoritative"] * 42 + ["duplicate"] * (42 if syntax else 0)


@pytest.mark.parametrize("sent", [False, True], ids=["queued", "sent"])
def test_late_slices_open_one_revision_that_names_what_was_sent(flow: Flow, sent: bool) -> None:
    flow.receive(CHEST.headers(range(45)))
    flow.complete(after(3))
    if sent:
        read_out(flow, 4)
    flow.receive(CHEST.headers(range(45, 50)), after(600))
    flow.complete(after(603))
    read_out(flow, 604)
    assert jobs(flow) == [("analysis", "superseded"), ("analysis", "done")]
    assert flow.jobs()[1]["predecessor_job_id"] == (1 if sent else None)
    assert delivered(flow) == [(1, "SEG"), (1, "SR")] * sent + [(2, "SEG"), (2, "SR")]


def test_a_late_better_series_is_read_and_a_late_worse_one_is_kept(flow: Flow) -> None:
    flow.receive(CHEST.headers())
    once(flow, 3)
    flow.receive(WORSE.headers(), after(100))
    once(flow, 103)
    flow.receive(BETTER.headers(), after(200))
    flow.complete(after(203))
    read_out(flow, 204)
    assert jobs(flow) == [("analysis", "superseded"), ("analysis", "done")]
    assert flow.jobs()[1]["predecessor_job_id"] == 1
    assert delivered(flow) == [(1, "SEG"), (1, "SR"), (2, "SEG"), (2, "SR")]
    flow.receive(WORSE.headers(range(44)), after(300))
    flow.complete(after(320))
    assert len(flow.jobs()) == 2


def test_our_own_results_that_come_back_open_nothing(flow: Flow) -> None:
    flow.receive(CHEST.headers())
    once(flow, 3)
    before = flow.study(STUDY)
    (report,) = Series(series="report", count=1).having(Modality="SR").headers()
    ours = [
        replace(report, sop_instance_uid=each.sop_instance_uid, series_instance_uid=each.series_instance_uid, ct=None)
        for kind in (ResultKind.SEG, ResultKind.SR)
        for each in results(1, kind)
    ]
    flow.receive(ours, after(60))
    flow.complete(after(120))
    assert flow.study(STUDY) == before
    assert jobs(flow) == [("analysis", "done")]


def prior(date: str) -> list[InstanceHeader]:
    return Series(study="prior").having(StudyDate=date).headers()


@pytest.mark.parametrize(
    ("date", "analysed"), [("20150304", False), ("20250103", False), ("20250104", True), ("20990101", True), ("", True)]
)
def test_a_prior_that_is_older_than_its_sender_allows_is_kept_and_ends_visibly(
    flow: Flow, date: str, analysed: bool
) -> None:
    with flow.catalog.writing() as session:
        peers.configure_senders(session, [Sender("ARCHIVE", "127.0.0.1/32", Standing.ALLOWED, max_study_age_days=59)])
    flow.receive(CHEST.headers())
    flow.receive(prior(date), calling="ARCHIVE")
    flow.complete(after(3))
    old = flow.study(Series(study="prior").study_uid)
    assert old["state"] == "complete"
    assert len(flow.jobs()) == 1 + analysed
    assert old["outcome"] == ("" if analysed else "not analysed")
    assert old["reasons"] == ([] if analysed else ["The study is older than 59 days: kept, not read."])
    assert flow.study(STUDY)["outcome"] == ""  # CT1 may send what it likes


@pytest.mark.parametrize("begun", [False, True])
def test_a_job_whose_study_turns_out_to_be_a_prior_is_ended(flow: Flow, begun: bool) -> None:
    with flow.catalog.writing() as session:
        peers.configure_senders(session, [Sender("ARCHIVE", "127.0.0.1/32", Standing.ALLOWED, max_study_age_days=30)])
    flow.receive(CHEST.headers(range(45)))
    flow.complete(after(3))
    if begun:
        flow.claimed(1, after(4))
    flow.receive(CHEST.headers(range(45, 50)), after(100), calling="ARCHIVE")
    flow.complete(after(130))
    assert jobs(flow) == [("analysis", "superseded")]
    assert flow.study(STUDY)["reasons"] == ["The study is older than 30 days: kept, not read."]


def test_a_study_that_was_read_is_not_taken_back_when_it_comes_again_as_a_prior(flow: Flow) -> None:
    with flow.catalog.writing() as session:
        peers.configure_senders(session, [Sender("ARCHIVE", "127.0.0.1/32", Standing.ALLOWED, max_study_age_days=30)])
    flow.receive(CHEST.headers(range(45)))
    flow.complete(after(3))
    read_out(flow, 4)
    flow.receive(CHEST.headers(range(45, 50)), after(100), calling="ARCHIVE")
    flow.complete(after(130))
    assert jobs(flow) == [("analysis", "done")]
    assert flow.study(STUDY)["outcome"] == ""
