"""`nodus evaluate` from images to numbers: a phantom from DICOM, and the same one as a scan of LUNA16."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from node.errors import SettingsError
from tests.builders import ct_series, write_series
from tests.conftest import Typed
from tests.mhd import write_mhd
from workers.assessment.compare import compare
from workers.assessment.figure import SHIPPED_SCORE
from workers.assessment.folder import folder_source
from workers.assessment.phantoms import mixed, phantom_source
from workers.assessment.report import Report
from workers.assessment.run import Order, assess, counting
from workers.phantom import Phantom, Spec, chest
from workers.phantom.seeds import TRAINING_SEEDS, took_part

HEADER = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"
FILES = {"metrics.json", "card.md", "froc.png", "reliability.png"}


def tiny(seed: int) -> Spec:
    return Spec(
        seed, nodules=3, matrix=256, step_mm=2.5, thickness_mm=2.5, smallest_mm=10.0, largest_mm=20.0, leaves=150
    )


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return chest(tiny(11))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    out = tmp_path_factory.mktemp("measured")
    return assess(phantom_source(1, 11, tiny), Order(1, None, None, None, 11, out)), out


def test_a_phantom_is_read_and_measured_and_everything_is_written(measured: tuple[Report, Path]) -> None:
    report, out = measured
    assert {path.name for path in out.iterdir()} == FILES
    (result,) = report.metrics.results
    assert result.name == "phantom 11" and not result.refusal
    assert len(result.nodules) == 3
    assert any(score is not None and score > SHIPPED_SCORE for score in result.matched.hits)
    hit = max(result.nodules, key=lambda one: one.score or 0)
    assert hit.dice is not None and hit.dice > 0.5
    assert hit.hd95_mm is not None and hit.hd95_mm < 5
    assert result.groups["slice thickness"] == "1.25 to 2.5 mm"
    assert json.loads((out / "metrics.json").read_text())["command"] == "nodus evaluate --phantoms 1 --seed 11"


def test_nodules_below_the_smallest_diameter_are_neither_right_nor_wrong(measured: tuple[Report, Path]) -> None:
    (scan,) = phantom_source(1, 11, tiny).scans
    diameters = sorted(nodule.truth.diameter_mm for nodule in scan.nodules)
    kept = counting(scan, diameters[1])
    assert [nodule.truth.counts for nodule in kept.nodules].count(False) == 1
    assert [one.diameter_mm for one in compare(kept).nodules] == [
        nodule.truth.diameter_mm for nodule in scan.nodules if nodule.truth.diameter_mm >= diameters[1]
    ]
    every, fewer = measured[0].metrics.results[0].matched, compare(kept).matched
    assert len(fewer.false_positives) <= len(every.false_positives)  # a hit of the small one is no false positive


def test_the_smallest_diameter_stands_in_the_command_and_in_what_is_told(tmp_path: Path) -> None:
    report = assess(phantom_source(1, 11, tiny), Order(1, None, None, None, 11, tmp_path, 10.5))
    assert report.command == "nodus evaluate --phantoms 1 --smallest 10.5 --seed 11"
    assert "nodules of 10.5 mm and more" in report.on


def test_scores_below_the_shipped_threshold_are_kept(measured: tuple[Report, Path]) -> None:
    (result,) = measured[0].metrics.results
    assert min(result.matched.false_positives) < SHIPPED_SCORE
    assert len(result.matched.false_positives) >= 8


def test_the_same_chest_as_a_scan_of_luna16_gives_the_same_scores(
    phantom: Phantom, measured: tuple[Report, Path], typed: Typed, tmp_path: Path
) -> None:
    grid = phantom.grid
    write_mhd(tmp_path / "subset3" / "1.2.3.mhd", phantom.hu, grid.spacing_zyx_mm, grid.origin_zyx_mm[::-1])
    rows = [",".join(["1.2.3", *map(str, one.center_lps_mm), str(one.diameter_mm)]) for one in phantom.nodules]
    (tmp_path / "annotations.csv").write_text(HEADER + "\n".join(rows) + "\n")
    (tmp_path / "annotations_excluded.csv").write_text(HEADER)
    code, said = typed("evaluate", "--luna16", str(tmp_path), "--out", "numbers")
    assert code == 0
    assert "1/1 1.2.3" in said
    assert "not the official number" in said
    (expected,) = measured[0].metrics.results
    (result,) = json.loads((tmp_path / "numbers" / "metrics.json").read_text())["results"]
    assert result["matched"]["hits"] == [
        pytest.approx(score, abs=1e-3) if score else score for score in expected.matched.hits
    ]
    assert result["matched"]["false_positives"] == pytest.approx(list(expected.matched.false_positives), abs=1e-3)


@pytest.fixture
def short_series(tmp_path: Path) -> Path:
    """A CT series that is refused by its headers: no network is needed for it."""
    folder = tmp_path / "scan"
    write_series(ct_series(np.full((12, 8, 8), -800, np.int16)), folder)
    return folder


def truth(tmp_path: Path, rows: str) -> Path:
    path = tmp_path / "truth.csv"
    path.write_text(HEADER + rows)
    return path


def test_a_series_that_is_refused_by_its_headers_is_named_with_its_reason(short_series: Path, tmp_path: Path) -> None:
    uid = ct_series(np.zeros((1, 8, 8), np.int16))[0].SeriesInstanceUID
    (scan,) = folder_source(short_series, truth(tmp_path, f"{uid},1,2,3,4\n")).scans
    assert scan.reading is None
    assert "fewer than 40 slices" in scan.refusal


def test_a_truth_that_does_not_fit_the_folder_is_said(short_series: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"names the series 1\.2\.3, which is not below"):
        folder_source(short_series, truth(tmp_path, "1.2.3,1,2,3,4\n"))
    with pytest.raises(SettingsError, match="names no series"):
        folder_source(short_series, truth(tmp_path, ""))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match="There is no DICOM file below"):
        folder_source(tmp_path / "empty", truth(tmp_path, "1.2.3,1,2,3,4\n"))


def test_orders_that_cannot_be_carried_out_end_in_one_sentence(
    typed: Typed, short_series: Path, tmp_path: Path
) -> None:
    table = str(truth(tmp_path, "1.2.3,1,2,3,-4\n"))
    one = "Give exactly one of a folder, --phantoms and --luna16."
    for arguments, sentence in (
        ([], one),
        (["--phantoms", "2", "--luna16", "x"], one),
        ([str(short_series)], "A folder needs --truth, the table of its nodules, and nothing else takes one."),
        (["--phantoms", "2", "--truth", table], "A folder needs --truth, the table of its nodules, and nothing else"),
        ([str(short_series), "--truth", table], "line 2: diameter_mm is -4, which no nodule has."),
        (["--phantoms", "9", "--seed", "1020"], "The phantom of seed 1020 took part in training"),
        (["--luna16", "nowhere"], "There is no subset*/*.mhd below nowhere"),
    ):
        code, said = typed("evaluate", *arguments)
        assert code == 1
        assert said.startswith("nodus: ") and sentence in said and said.count("\n") == 1
    assert not (tmp_path / "evaluation").exists()


def test_without_the_extra_the_command_says_how_to_get_it(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = typed("evaluate", "--phantoms", "1")
    assert said == (1, "nodus: `nodus evaluate` needs matplotlib for this: install nodus[evaluation].\n")


def test_measured_phantoms_vary_as_scanners_do_and_none_took_part_in_training() -> None:
    specs = [mixed(seed) for seed in range(3000, 3100)]
    assert max(spec.thickness_mm for spec in specs) <= 2.5
    assert len({spec.step_mm for spec in specs}) > 4
    assert min(spec.sharpness for spec in specs) < 0.1 and max(spec.sharpness for spec in specs) > 0.9
    assert took_part(TRAINING_SEEDS[0]) and not any(took_part(spec.seed) for spec in specs)
