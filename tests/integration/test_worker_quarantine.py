"""An encoded result that breaks a rule never leaves: on both databases, a real worker ends its job as it must."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from node.admin import jobs as job_admin
from node.catalog import alerts, retention, tables
from node.catalog.session import Catalog
from node.domain.delivery import ResultKind
from node.domain.outcome import Outcome
from node.domain.retention import Finished, Why
from node.quarantine import jobs_in_quarantine, quarantined
from node.spool import Spool
from tests.builders import Scan, ct_series, spheres_hu
from tests.damage import Change, changed
from tests.flow import Flow, to_be_read
from tests.keeping import AT, Keeping
from tests.readings import BALLS, found_in
from tests.sender import payload_of
from tests.studies import Series
from workers import pipeline, report, tasks
from workers.pipeline import Models, Reading
from workers.results import EncodedResult, Model, ResultRequest, encode
from workers.volume import load_series
from workers.workplace import Workplace

SCAN = Scan(spacing_zyx_mm=(2.5, 0.7, 0.7))
CHEST = Series()
"""Its images show no lungs: a chest CT that ends as "not analysed"."""
NOTICE = "NOT ANALYSED"


@pytest.fixture
def two_nodules(catalog: Catalog, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> Flow:
    """A queued study in which two nodules will be found: no network names balls in empty space nodules, so what they
    would find is given; everything before and after them is as it is."""

    def read(paths: Sequence[Path], *_: Any, **__: Any) -> Reading:
        series = load_series(paths)
        found = found_in(series, 2)
        read_by = Models(Model(pipeline.NAME, "1.0"), "f" * 64, "0" * 64)
        conclusion = pipeline.conclude(found.findings, ())
        return Reading(conclusion, series.headers, series.volume, found.findings, found.masks, {}, read_by)

    monkeypatch.setattr(pipeline, "read", read)
    hu = spheres_hu((64, 64, 64), SCAN.spacing_zyx_mm, BALLS[:2])
    return to_be_read(catalog, spool, [payload_of(image) for image in ct_series(hu, SCAN)])


def damage(monkeypatch: pytest.MonkeyPatch, kind: ResultKind, change: Change, *, notices: bool = False) -> None:
    """From now on every object of a kind is damaged; notices too, or they alone are spared."""

    def encode_and_damage(request: ResultRequest, wanted: ResultKind) -> tuple[EncodedResult, ...]:
        results = encode(request, wanted)
        spared = wanted is not kind or (request.conclusion.outcome is Outcome.NOT_ANALYSED and not notices)
        return results if spared else tuple(changed(each, change) for each in results)

    monkeypatch.setattr(report, "encode", encode_and_damage)


def of_somebody_else(dataset: Any) -> None:
    dataset.PatientName, dataset.PatientID = "Somebody^Else", "ELSE-1"


def one_voxel_more(segmentation: Any) -> None:
    pixels = bytearray(segmentation.PixelData)
    pixels[0] ^= 1
    segmentation.PixelData = bytes(pixels)


def said_in_alerts(flow: Flow) -> list[tuple[str, dict[str, Any]]]:
    with flow.catalog.reading() as session:
        return [(each.subject, dict(each.detail)) for each in alerts.conditions(session)]


def test_results_that_break_no_rule_leave_as_ever(two_nodules: Flow, workplace: Workplace, data: Path) -> None:
    tasks.perform(workplace, 1)
    assert [(job["state"], job["outcome"]) for job in two_nodules.jobs()] == [("done", "findings")]
    assert two_nodules.outbox() == [(1, "SEG", "held"), (1, "SR", "held")]
    assert not (data / "quarantine").exists()


def test_a_segmentation_with_one_wrong_voxel_never_leaves_and_the_study_is_told_as_not_analysed(
    two_nodules: Flow, workplace: Workplace, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = two_nodules
    damage(monkeypatch, ResultKind.SEG, one_voxel_more)
    tasks.perform(workplace, 1)
    dead, notice = flow.jobs()
    assert (dead["state"], dead["failure"], dead["attempts"]) == ("dead", "broken result", 1)
    assert dead["failure_text"].startswith("SEG-0 broke: voxels: ")
    assert (notice["kind"], notice["state"]) == ("notice", "queued")
    assert (flow.rows(tables.result), flow.outbox(), flow.rows(tables.finding)) == ([], [], [])
    assert not list((data / "results").rglob("*.dcm"))
    (kept,) = quarantined(data, 1)
    assert kept.name == "job-1-SEG-0.dcm"
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    (entry,) = flow.audit("result quarantined")
    assert (entry.job_id, json.loads(entry.detail)["rules"]) == (1, dead["failure_text"])
    (buried,) = flow.audit("job dead")
    assert json.loads(buried.detail)["failure"] == "broken result"
    ((subject, detail),) = said_in_alerts(flow)
    assert (subject, detail["failure"], detail["rules"]) == ("1", "broken result", dead["failure_text"])
    assert "pacs" not in detail
    tasks.perform(workplace, notice["id"])
    assert flow.outbox() == [(notice["id"], "SR", "held")]
    assert flow.study(SCAN.uid("study"))["outcome"] == "not analysed"
    sent = (data / flow.rows(tables.result)[0]["path"]).read_bytes()
    assert NOTICE.encode() in sent
    assert b"The analysis failed: broken result." in sent


def test_every_broken_object_and_rule_is_named_and_no_patient(
    two_nodules: Flow,
    workplace: Workplace,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    flow = two_nodules
    damage(monkeypatch, ResultKind.SR, of_somebody_else)
    tasks.perform(workplace, 1)
    told = flow.jobs()[0]["failure_text"]
    assert told.splitlines() == [
        f"SR-{rung} broke: patient-and-study: Patient and study are those of the images. (PatientName, PatientID)"
        for rung in range(3)
    ]
    assert [path.name for path in quarantined(data, 1)] == [f"job-1-SR-{rung}.dcm" for rung in range(3)]
    everything = caplog.text + told + str(said_in_alerts(flow)) + str(flow.audit())
    for name in ("Nodus^Test", "TEST-0001", "ACC-1", "Somebody", "ELSE-1"):
        assert name not in everything
    assert "a result broke a rule" in caplog.text


def test_where_even_the_notice_breaks_a_rule_nothing_is_sent_and_the_alert_says_so(
    catalog: Catalog, spool: Spool, workplace: Workplace, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = to_be_read(catalog, spool, CHEST.payloads())
    damage(monkeypatch, ResultKind.SR, of_somebody_else, notices=True)
    tasks.perform(workplace, 1)
    tasks.perform(workplace, 2)
    assert [(job["kind"], job["state"]) for job in flow.jobs()] == [("analysis", "dead"), ("notice", "dead")]
    assert (flow.rows(tables.result), flow.outbox()) == ([], [])
    assert flow.study(CHEST.study_uid)["outcome"] == "not analysed"
    analysis, notice = said_in_alerts(flow)
    assert (analysis[0], notice[0]) == ("1", "2")
    assert notice[1]["pacs"] == "It was not told that the study was not analysed."
    assert "patient-and-study" in str(notice[1]["rules"])
    assert jobs_in_quarantine(data) == {1, 2}


def test_after_an_upgrade_an_operator_has_it_done_again_and_the_results_leave(
    two_nodules: Flow, workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = two_nodules
    damage(monkeypatch, ResultKind.SEG, one_voxel_more)
    tasks.perform(workplace, 1)
    monkeypatch.setattr(report, "encode", encode)
    job_admin.retry(workplace.settings, 1)
    tasks.perform(workplace, 3)
    assert flow.jobs()[-1]["outcome"] == "findings"
    assert flow.outbox() == [(3, "SEG", "held"), (3, "SR", "held")]
    assert said_in_alerts(flow) == []


def test_what_is_in_quarantine_goes_with_the_files_of_its_study(
    catalog: Catalog, spool: Spool, workplace: Workplace, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_be_read(catalog, spool, CHEST.payloads())
    damage(monkeypatch, ResultKind.SR, of_somebody_else, notices=True)
    tasks.perform(workplace, 1)
    tasks.perform(workplace, 2)
    keeping = Keeping.on(catalog, spool, data)
    study = Finished(1, CHEST.study_uid, AT, 0)
    assert keeping.retain().purge(study, Why.AGE) is None
    crashed = quarantined(data, 1)[0].read_bytes()
    assert keeping.retain().purge(study, Why.OPERATOR, decided=True)
    assert jobs_in_quarantine(data) == set()
    (data / "quarantine" / "job-1-SR-0.dcm").write_bytes(crashed)  # as if the node had died between mark and removal
    with catalog.reading() as session:
        assert retention.jobs_of_purged(session, [1, 2, 77]) == {1, 2}
    keeping.retain().sweep(AT)
    assert jobs_in_quarantine(data) == set()
