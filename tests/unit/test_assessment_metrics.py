"""From readings beside the truth to the numbers of a card, against cases worked out by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from node.domain.finding import NoduleType
from node.domain.outcome import Conclusion, Outcome
from tests.readings import reading
from workers.assessment.compare import Compared, Result, compare
from workers.assessment.detection import DRAWN_RATES
from workers.assessment.metrics import Metrics, metrics_of
from workers.assessment.plots import draw_froc, draw_reliability
from workers.assessment.report import Report
from workers.assessment.scan import Nodule, Scan
from workers.assessment.surface import hd95_mm, together
from workers.evaluation.froc import LUNA16_RATES
from workers.evaluation.matching import Matched, Truth
from workers.pipeline import Models, Reading
from workers.results import Model
from workers.volume import Mask

CUBE = np.ones((4, 4, 4), bool)
SOLID, GLASS = NoduleType.SOLID, NoduleType.GROUND_GLASS


def test_masks_are_compared_where_they_lie_in_the_volume() -> None:
    one, other = together(Mask(CUBE, (10, 10, 10)), Mask(CUBE, (10, 10, 12)))
    assert one.shape == other.shape == (4, 4, 6)
    assert np.count_nonzero(one & other) == 4 * 4 * 2


def test_the_surface_distance_of_a_shift_is_the_shift_in_millimetres() -> None:
    """Two voxels of 0.5 mm along x, then of 2.5 mm along z: so far are the far faces apart, and nothing is farther."""
    one, other = together(Mask(CUBE, (0, 0, 0)), Mask(CUBE, (0, 0, 2)))
    assert hd95_mm(one, other, (2.5, 0.7, 0.5)) == pytest.approx(1.0)
    one, other = together(Mask(CUBE, (0, 0, 0)), Mask(CUBE, (2, 0, 0)))
    assert hd95_mm(one, other, (2.5, 0.7, 0.5)) == pytest.approx(5.0)
    assert hd95_mm(one, one, (2.5, 0.7, 0.5)) == 0


def test_a_far_twentieth_of_a_border_does_not_count() -> None:
    """A line of 100 voxels against itself with one more far away: 1 of 101 border voxels is far."""
    line, spiked = np.zeros((1, 1, 200), bool), np.zeros((1, 1, 200), bool)
    line[..., :100] = True
    spiked[..., :100] = True
    spiked[..., 199] = True
    assert hd95_mm(line, spiked, (1, 1, 1)) == 0


def seen(tmp_path: Path) -> Reading:
    """Three balls, of which the third is reported a second time and there is one finding in nothing."""
    found = reading(tmp_path, 3)
    extra = [replace(found.findings[2], confidence=0.3), replace(found.findings[0], center_lps_mm=(0.0, 0.0, 0.0))]
    return Reading(
        Conclusion(Outcome.FINDINGS),
        found.series.headers,
        found.series.volume,
        (*found.findings, *extra),
        (*found.masks, found.masks[2], found.masks[0]),
        {"detect": 1.0, "segment": 0.54},
        Models(Model("m", "1"), "w", "s"),
    )


def test_a_reading_beside_its_truth(tmp_path: Path) -> None:
    read = seen(tmp_path)
    first, second, third = read.findings[:3]
    shifted = Mask(read.masks[0].voxels, (read.masks[0].offset_zyx[0] + 1, *read.masks[0].offset_zyx[1:]))
    volume = first.measurements.volume_mm3
    assert volume is not None
    scan = Scan(
        "1.2",
        (
            Nodule(Truth(first.center_lps_mm, 9), SOLID, volume / 1.25, shifted),
            Nodule(Truth(second.center_lps_mm, 7, counts=False)),
            Nodule(Truth(third.center_lps_mm, 6)),
            Nodule(Truth((40.0, 0.0, 0.0), 5), GLASS, 65.0, read.masks[1]),
        ),
        {"kernel": "STANDARD"},
        read,
    )
    result = compare(scan)
    assert result.matched == Matched((first.confidence, third.confidence, None), (first.confidence,))
    hit, bare, missed = result.nodules
    mine, theirs = together(read.masks[0], shifted)
    assert hit.dice == pytest.approx(2 * np.count_nonzero(mine & theirs) / (2 * np.count_nonzero(mine)))
    assert hit.hd95_mm == pytest.approx(1.0)
    assert hit.volume_error_percent == pytest.approx(25)
    assert (hit.named, hit.score) == (first.type, first.confidence)
    assert bare == Compared(6, None, False, third.confidence, third.type)
    assert missed == Compared(5, GLASS, True, None)
    assert result.seconds == 1.5


def test_of_a_scan_that_was_refused_every_nodule_is_missed() -> None:
    result = compare(Scan("1.2", (Nodule(Truth((0, 0, 0), 5), SOLID),), {}, None, "Too thick."))
    assert result.matched == Matched((None,), ())
    assert result.nodules == (Compared(5, SOLID, False, None),)


def results() -> list[Result]:
    """The three scans of the hand-made FROC, with masks, volumes and types."""
    best = Compared(7, SOLID, True, 0.9, SOLID, 0.8, 1.0, 10.0)
    second = Compared(12, GLASS, True, 0.7, SOLID, 0.6, 3.0, -20.0)
    missed = Compared(4, GLASS, True, None)
    return [
        Result("1", {"kernel": "SHARP"}, Matched((0.9, 0.7), (0.8,)), (best, second), "", 2.0),
        Result("2", {"kernel": "SOFT"}, Matched((None,), (0.4, 0.3)), (missed,), "", 2.0),
        Result("3", {"kernel": "SOFT"}, Matched((), (0.75,)), (), "", 2.0),
    ]


def values(metrics: Metrics) -> dict[str, float | None]:
    return {one.name: one.value for one in (*metrics.detection, *metrics.segmentation, *metrics.classification)}


def test_the_numbers_of_three_scans_are_those_worked_out_by_hand() -> None:
    told = values(metrics_of(results(), seed=1))
    at = {rate: told[f"sensitivity at {rate:g} false positives per scan"] for rate in LUNA16_RATES}
    assert at == pytest.approx(dict(zip(LUNA16_RATES, [1 / 3, 1 / 3, 0.5, 2 / 3, 2 / 3, 2 / 3, 2 / 3], strict=True)))
    assert told["CPM"] == pytest.approx(np.mean(list(at.values())))
    assert told["sensitivity at the finding score 0.65"] == pytest.approx(2 / 3)
    assert told["false positives per scan at the finding score 0.65"] == pytest.approx(2 / 3)
    assert told["Dice, mean, found nodules"] == pytest.approx(0.7)
    assert told["Dice, mean, end to end (missed = 0)"] == pytest.approx(1.4 / 3)
    assert told["HD95, median, mm, found nodules"] == 2
    assert told["volume error, bias and limits of agreement, %"] == -5
    assert told["volume error, median absolute, %"] == 15
    assert told["AUC of the score, nodule or not, among candidates"] == pytest.approx((4 + 2) / 8)
    assert told["type named rightly where it is solid"] == 1
    assert told["type named rightly where it is ground-glass"] == 0
    assert told["balanced accuracy of the type"] == 0.5


def test_groups_are_told_from_ten_nodules_on() -> None:
    many = [replace(results()[0], name=str(number)) for number in range(10)]
    cells = {(cell.kind, cell.group): cell for cell in metrics_of([*many, *results()[1:]], seed=1).subgroups}
    assert list(cells)[:3] == [("size", "<6 mm"), ("size", "6-8 mm"), ("size", "8-15 mm")]
    assert cells["size", "<6 mm"].at_shipped_score.value is None
    assert cells["size", "8-15 mm"].at_shipped_score.value == 1
    assert cells["kernel", "SHARP"].at_shipped_score.n == 20
    assert cells["type and size", "ground-glass, 8-15 mm"].at_one_false_positive.value == 1


def test_without_nodules_only_false_positives_are_told() -> None:
    metrics = metrics_of([results()[2]], seed=1)
    assert values(metrics) == {"false positives per scan at the finding score 0.65": 1}
    assert metrics.scans_without_nodules == 1


def test_what_was_measured_is_json_without_nan_a_table_and_a_section_of_a_card() -> None:
    metrics = metrics_of([*results()[:2], replace(results()[2], refusal="Too thick.")], seed=1)
    report = Report(metrics, "a test", "nodus evaluate", Models(Model("m", "detector 9"), "w", "s"), ("A note.",))
    document = json.loads(report.json())
    assert document["detection"][7]["name"] == "CPM"
    assert document["refused"] == {"3": "Too thick."}
    assert document["subgroups"][0]["at_shipped_score"] == {"n": 1, "value": None, "interval": None}
    assert "| Dice, mean, found nodules | 0.700 |" in report.markdown()
    for text in (report.text(), report.markdown()):
        assert "n < 10" in text
        assert "A note." in text
        assert "Not analysed, all nodules missed: 3: Too thick." in text


def test_the_plots_are_pictures_also_where_there_is_nothing_to_draw(tmp_path: Path) -> None:
    for number, some in enumerate((results(), results()[2:])):
        metrics = metrics_of(some, seed=1)
        draw_froc(metrics.froc, "a test", tmp_path / f"froc{number}.png")
        draw_reliability(metrics.reliability, "a test", tmp_path / f"reliability{number}.png")
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == 4


def test_the_drawn_curve_passes_through_the_seven_rates() -> None:
    assert all(np.isclose(rate, DRAWN_RATES).any() for rate in LUNA16_RATES)
