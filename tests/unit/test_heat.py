"""The detector's heat: where it is high there is a nodule, and what is handed on is what was said."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from node.domain.delivery import ResultKind
from tests.chests import Ball, Chest, chest
from tests.readings import reading, result_request
from workers.detect import detect, detect_with_heat
from workers.lungs import segment_lungs
from workers.results import encode
from workers.volume.heat import HeatMap

BALL = Ball((-72.0, 0.0, 30.0), 5.0, 290.0)


def test_the_heat_is_highest_at_what_is_found_and_changes_nothing_of_it() -> None:
    volume = chest(Chest(balls=(BALL,), noise_hu=15.0))[0]
    lungs = segment_lungs(volume)
    detected = detect_with_heat(volume, lungs)
    assert detected.candidates == detect(volume, lungs)
    best, heat = detected.candidates[0], detected.heat
    assert heat is not None
    assert heat.spacing_zyx_mm == pytest.approx([5.0] * 3)
    assert heat.scores.dtype == np.float32
    assert float(heat.scores.max()) == pytest.approx(best.score, abs=1e-6)
    hottest = heat.to_lps_mm(np.unravel_index(heat.scores.argmax(), heat.scores.shape))
    assert np.abs(hottest - np.array(best.center_lps_mm)).max() <= 5.0
    assert np.linalg.norm(np.array(best.center_lps_mm) - BALL.center_lps_mm) < 5.0


def test_cells_around_a_point_hold_it_and_end_with_the_map() -> None:
    heat = HeatMap(np.zeros((4, 20, 20), np.float32), np.diag([5.0, 5.0, 5.0, 1.0])[[2, 1, 0, 3]])
    assert heat.cells_around((50.0, 50.0, 10.0), 40.0) == (slice(0, 4), slice(6, 15), slice(6, 15))
    assert heat.cells_around((-90.0, 500.0, 7.0), 10.0) == (slice(0, 3), slice(19, 20), slice(0, 1))
    assert heat.to_lps_mm(heat.to_zyx((12.0, 34.0, 5.0))) == pytest.approx((12.0, 34.0, 5.0))


def test_a_parametric_map_is_made_of_a_few_cells_and_only_where_there_is_heat(tmp_path: Path) -> None:
    request = result_request(reading(tmp_path, 2))
    (encoded,) = encode(request, ResultKind.PM)
    image = dcmread(BytesIO(encoded.data))
    assert image.ContentQualification == "RESEARCH"
    values = np.frombuffer(image.FloatPixelData, np.float32)
    assert values.max() == pytest.approx(max(each.confidence for each in request.findings), abs=0.3)
    assert len(encoded.data) < 50_000
    assert encode(replace(request, heat=None), ResultKind.PM) == ()
