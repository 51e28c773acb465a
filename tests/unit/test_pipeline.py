"""What the chain decides around its networks."""

from pathlib import Path

import pytest

from node.domain.eligibility import judge
from node.headers import read_header
from tests.builders import write_series
from tests.studies import Series
from workers import pipeline
from workers.pipeline import smallest_assessed_mm


@pytest.mark.parametrize(
    ("thickness_mm", "step_mm", "smallest_mm"),
    [(2.5, 2.5, 0.0), (3.0, 3.04, 0.0), (5.0, 2.5, 6.0), (2.0, 4.0, 6.0), (5.0, 5.0, 6.0)],
)
def test_small_nodules_are_left_out_exactly_where_the_verdict_says_so(
    thickness_mm: float, step_mm: float, smallest_mm: float, tmp_path: Path
) -> None:
    series = Series(step_mm=step_mm, thickness_mm=thickness_mm, count=80)
    paths = write_series(series.datasets(), tmp_path)
    verdict = judge(read_header(path) for path in paths)
    assert smallest_assessed_mm(verdict) == smallest_mm
    assert any("nodules under 6 mm were not assessed" in reason for reason in verdict.reasons) is (smallest_mm > 0)


def test_networks_of_one_version_are_named_by_it_and_others_apart() -> None:
    ours = {"classifier": "1.0", "composition": "1.0", "detector": "1.0", "segmenter": "1.0"}
    assert pipeline.version_of_all(ours) == "1.0"
    assert pipeline.version_of_all({**ours, "detector": "theirs 2", "composition": "1.1"}) == (
        "1.0, composition 1.1, detector theirs 2"
    )
    assert len(pipeline.version_of_all({**ours, "detector": 20 * "n" + " " + 12 * "v", "composition": 12 * "v"})) == 64
