"""An earlier exam in a folder: which is taken, which is refused, and what is said where its images cannot be read."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from node.domain.instance import InstanceHeader
from node.domain.outcome import Conclusion, Outcome
from node.domain.prior import Hindrance
from node.errors import SettingsError
from tests.builders import as_volume, ct_series, write_series
from tests.compared import GROWN, comparison
from tests.readings import reading
from tests.studies import Series
from workers import pipeline
from workers.earlier_folder import earlier_in
from workers.folders import Chosen, best_of, series_below, verdicts_on
from workers.models import Shipped
from workers.offline import Analysis
from workers.results import Model

NOW, THEN = Series("now").having(StudyDate="20250102"), Series("then").having(StudyDate="20240102")


def written(series: Series, folder: Path) -> Path:
    """4 x 4 pixels: enough to be chosen."""
    for number, dataset in enumerate(series.datasets()):
        folder.mkdir(exist_ok=True)
        dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


def header_of(series: Series, **changes: Any) -> InstanceHeader:
    return replace(series.headers([0])[0], patient_id="TEST-1", **changes)


def best_below(folder: Path) -> Chosen:
    found = series_below(folder)
    chosen = best_of(found, verdicts_on(found))
    assert chosen is not None
    return chosen


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (header_of(NOW, issuer_of_patient_id="ANOTHER"), "same patient"),
        (replace(header_of(NOW), patient_id=""), "same patient"),
        (header_of(THEN), "earlier StudyDate"),
    ],
)
def test_an_exam_of_another_patient_or_of_no_earlier_date_is_refused(
    now: InstanceHeader, why: str, tmp_path: Path
) -> None:
    folder = written(THEN.having(PatientID="TEST-1"), tmp_path / "then")
    with pytest.raises(SettingsError, match=why):
        earlier_in(folder, now)


def test_a_folder_without_a_ct_that_can_be_read_is_refused_and_says_why(tmp_path: Path) -> None:
    write_series(ct_series(np.full((12, 8, 8), -800, np.int16)), tmp_path)
    with pytest.raises(SettingsError, match="fewer than 40 slices"):
        earlier_in(tmp_path, header_of(NOW))


def test_images_that_cannot_be_read_cost_the_comparison_and_not_the_reading(tmp_path: Path) -> None:
    folder = written(THEN.having(PatientID="TEST-1"), tmp_path / "then")
    earlier = earlier_in(folder, header_of(NOW))
    models = pipeline.Models(Model("test", "1"), "w", "s")
    volume = as_volume(np.zeros((4, 4, 4), np.int16))
    now = pipeline.Reading(Conclusion(Outcome.NO_FINDINGS), (), volume, (), (), {}, models)
    beside = earlier.beside(now, best_below(folder), 1.5, Shipped(), lambda stage, percent: None)
    assert beside.comparison is not None
    assert beside.comparison.hindrance is Hindrance.NOT_READ
    assert (beside.comparison.study_date, beside.comparison.days) == ("20240102", 366)
    assert len(beside.comparison.images) == THEN.count
    assert beside.models.settings_digest != models.settings_digest


def test_what_became_of_each_nodule_is_printed_below_it(tmp_path: Path) -> None:
    found = reading(tmp_path, 1)
    made = replace(comparison(GROWN), images=())
    lines = Analysis(Conclusion(Outcome.FINDINGS), found.findings, {}, {}, comparison=made).text().splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.startswith("N1 solid nodule")]
    assert lines[at + 1] == (
        "   since 2023-05-01: increased, volume +82%, mean diameter +1.6 mm, volume doubling time 322 days"
    )
    assert lines[1].startswith("Compared with the CT of 2023-05-01 (278 days earlier): 1 increased")
