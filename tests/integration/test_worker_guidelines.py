"""Clinical rules in a worker: the settings and the sender decide, and what was said is in SQL and in the report."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from node.admin.state import study
from node.catalog import installation, tables
from node.catalog.session import Catalog
from node.settings import Settings
from node.settings.tables import GuidelineSettings
from node.spool import Spool
from tests.builders import Scan, ct_series
from tests.chests import ORIGIN, SPACING, Ball, Chest, chest
from tests.conftest import AUDIT_KEY
from tests.flow import Flow
from tests.sender import payload_of
from tests.studies import after
from workers import tasks
from workers.workplace import Workplace

SCREENING = GuidelineSettings(screening_senders=("CT1",), incidental_words=("thorax",))
INCIDENTAL = GuidelineSettings(screening_senders=("LDCT1",), incidental_words=("thorax",))
NEITHER = GuidelineSettings(screening_senders=("LDCT1",), incidental_words=("trauma",))


@pytest.fixture
def flow(catalog: Catalog, spool: Spool, data: Path) -> Iterator[Flow]:
    """A queued job for a chest that CT1 sent as "CT Thorax"."""
    with catalog.writing() as session:
        installation.make(session)
    (data / "audit.key").write_bytes(AUDIT_KEY)
    (data / "audit.key").chmod(0o600)
    nodule = Ball((-72.0, 0.0, 30.0), 8.0)
    fine = (
        chest(Chest(balls=(nodule,)))[0].hu.repeat(2, axis=1).repeat(2, axis=2)
    )  # pixels of 2 mm are no CT that is read
    datasets = ct_series(fine, Scan(spacing_zyx_mm=(SPACING[0], SPACING[1] / 2, SPACING[2] / 2), origin_lps_mm=ORIGIN))
    made = Flow(catalog, spool)
    made.take(map(payload_of, datasets))
    made.complete(after(3))
    return made


@pytest.mark.parametrize(
    ("guidelines", "purpose", "because"),
    [
        (SCREENING, "screening", "it came from CT1"),
        (INCIDENTAL, "incidental", "StudyDescription has 'thorax'"),
        (NEITHER, None, None),
    ],
)
def test_settings_and_sender_decide_which_rules_a_report_is_read_by(
    guidelines: GuidelineSettings, purpose: str | None, because: str | None, flow: Flow, database_url: str, data: Path
) -> None:
    place = Workplace(Settings(data=data, database_url=database_url, guidelines=guidelines))
    tasks.perform(place, 1)
    shown = study(place.settings, Scan().uid("study")).note
    place.catalog.close()
    (job,) = flow.jobs()
    assert job["outcome"] == "findings"
    kept = job["guidance"]
    assert (kept.get("purpose"), kept.get("because")) == (purpose, because)
    report = dcmread(data / flow.rows(tables.result, job_id=1, kind="SR")[0]["path"]).to_json()
    assert ("Lung-RADS v2022: category" in report) is (purpose == "screening")
    assert ("Fleischner" in report) is (purpose == "incidental")
    assert bool(kept.get("nodules")) is ("Brock" in report) is (purpose is not None)
    assert all(sentence in report and sentence in shown for sentence in kept.get("sentences", ()))
