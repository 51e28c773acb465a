"""`nodus analyse` leaves the results of one folder, and nothing of another."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from node.domain.outcome import Outcome
from node.errors import SettingsError
from tests.builders import ct_series, write_series
from workers.offline import analyse


def quiet(stage: str, percent: int) -> None:
    """No progress."""


@pytest.fixture
def too_short(tmp_path: Path) -> Path:
    """A CT series that is refused by its headers: no network is needed for it."""
    folder = tmp_path / "scan"
    write_series(ct_series(np.full((12, 8, 8), -800, np.int16)), folder)
    return folder


def test_results_of_an_earlier_run_are_gone_and_other_files_stay(too_short: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("seg.dcm", "sc.dcm", "sr.dcm", "summary.png", "findings.json", "notes.txt"):
        (out / name).write_text("of another patient")
    assert analyse(too_short, out, quiet).conclusion.outcome is Outcome.NOT_ANALYSED
    assert {path.name for path in out.iterdir()} == {"sr.dcm", "findings.json", "notes.txt"}
    assert dcmread(out / "sr.dcm").PatientID == "TEST-0001"
    assert "another patient" not in (out / "findings.json").read_text()


def test_a_folder_without_dicom_is_said_and_nothing_is_touched(tmp_path: Path) -> None:
    (tmp_path / "seg.dcm").write_text("earlier")
    with pytest.raises(SettingsError, match="no DICOM file"):
        analyse(tmp_path / "nothing", tmp_path, quiet)
    assert (tmp_path / "seg.dcm").exists()
