"""`nodus analyse` leaves the results of one folder, and nothing of another."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from node.domain.delivery import ResultKind
from node.domain.language import Language
from node.domain.outcome import Outcome
from node.errors import SettingsError
from tests.builders import ct_series, write_series
from tests.damage import changed
from workers import offline
from workers.offline import Order, analyse
from workers.results import EncodedResult, ResultRequest, Style, encode

NOTICE = {"sr.dcm", "pdf.dcm", "report.pdf", "findings.json"}
"""What is written where nothing was read."""


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
    for name in ("seg.dcm", "sc.dcm", "sr.dcm", "summary.png", "findings.json", "notes.txt", "kos.dcm", "strip-N1.png"):
        (out / name).write_text("of another patient")
    assert analyse(too_short, out, quiet).conclusion.outcome is Outcome.NOT_ANALYSED
    assert {path.name for path in out.iterdir()} == {*NOTICE, "notes.txt"}
    assert dcmread(out / "sr.dcm").PatientID == "TEST-0001"
    assert "another patient" not in (out / "findings.json").read_text()


def test_a_folder_without_dicom_is_said_and_nothing_is_touched(tmp_path: Path) -> None:
    (tmp_path / "seg.dcm").write_text("earlier")
    with pytest.raises(SettingsError, match="no DICOM file"):
        analyse(tmp_path / "nothing", tmp_path, quiet)
    assert (tmp_path / "seg.dcm").exists()


def test_a_report_is_in_the_language_that_was_asked_for_and_is_another_one_then(
    too_short: Path, tmp_path: Path
) -> None:
    analyse(too_short, tmp_path / "en", quiet)
    analysis = analyse(too_short, tmp_path / "de", quiet, Order(style=Style(Language.DE)))
    english, german = (dcmread(tmp_path / each / "sr.dcm") for each in ("en", "de"))
    told = [str(item.get("TextValue", "")) for item in german.ContentSequence]
    assert any("NICHT AUSGEWERTET" in each for each in told)
    assert "Grund: Es sind weniger als 40 Schichten." in told
    assert analysis.conclusion.limitations == ("There are fewer than 40 slices.",)
    assert english.SOPInstanceUID != german.SOPInstanceUID
    assert english.SeriesDescription == german.SeriesDescription


def test_a_result_that_breaks_a_rule_is_said_and_not_written_under_its_name(
    too_short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode_and_damage(request: ResultRequest, kind: ResultKind) -> tuple[EncodedResult, ...]:
        return tuple(changed(each, lambda data: delattr(data, "PatientAge")) for each in encode(request, kind))

    monkeypatch.setattr(offline, "encode", encode_and_damage)
    analysis = analyse(too_short, tmp_path / "out", quiet)
    said = "patient-and-study: Patient and study are those of the images. (PatientAge)"
    assert analysis.broken == (f"SR {said}", f"PDF {said}")
    assert "BROKEN, not to be used: SR patient-and-study" in analysis.text()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"sr.broken.dcm", "pdf.broken.dcm", "findings.json"}
    assert "patient-and-study" in (tmp_path / "out" / "findings.json").read_text()
    monkeypatch.undo()
    assert analyse(too_short, tmp_path / "out", quiet).broken == ()
    assert {path.name for path in (tmp_path / "out").iterdir()} == NOTICE
