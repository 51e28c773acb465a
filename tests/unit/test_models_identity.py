"""Whoever detects is named: in the reading, in the SR and the SEG, and in their UIDs."""

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from node.domain.delivery import ResultKind
from node.domain.eligibility import judge
from node.headers import read_header
from node.settings import Settings
from tests.brought import DIAMETER_MM, write_onnx
from tests.builders import Scan, ct_series, write_series
from tests.chests import ORIGIN, SPACING, Ball, Chest, chest
from tests.peers import require_library
from workers import pipeline
from workers.authorship import Author
from workers.models import chosen
from workers.networks.operating import OperatingPoint
from workers.own_models import add, use
from workers.results import encode

AT = (-72.0, 0.0, 30.0)
EVERYTHING = OperatingPoint(finding_score=0.0)
AUTHOR = Author("NODUS", "installation-1", datetime(2025, 3, 4, tzinfo=UTC))


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A chest whose brightest place is a nodule in its right lung."""
    volume, _, _ = chest(Chest(balls=(Ball(AT, DIAMETER_MM / 2, 290.0),)))
    datasets = ct_series(volume.hu, Scan(spacing_zyx_mm=SPACING, origin_lps_mm=ORIGIN))
    return write_series(datasets, tmp_path_factory.mktemp("scan"))


def read(scan: list[Path], data: Path) -> pipeline.Reading:
    return pipeline.read(scan, judge(map(read_header, scan)), point=EVERYTHING, detector=chosen(data))


def encoded(reading: pipeline.Reading, kind: ResultKind) -> Dataset:
    digests = {str(header.SOPInstanceUID): "0" * 64 for header in reading.headers}
    return dcmread(BytesIO(encode(AUTHOR.report(reading, digests), kind)[0].data))


def test_results_name_the_detector_that_read_and_its_outlines_lie_where_it_pointed(
    scan: list[Path], tmp_path: Path
) -> None:
    require_library("onnxruntime", "onnx")
    settings = Settings(data=tmp_path / "data")
    add(settings, write_onnx(tmp_path / "brought", axes="RAS", spacing_mm="1.5, 1.5, 2.0"), "brightest-of-all.net")
    use(settings, "brightest-of-all.net")
    reading = read(scan, settings.data)
    use(settings, "shipped")
    (found,) = reading.findings
    assert np.linalg.norm(np.array(found.center_lps_mm) - AT) < 4
    sr, seg = encoded(reading, ResultKind.SR), encoded(reading, ResultKind.SEG)
    named = "0.1.0, classifier 0.2.0, detector brightest-of-all.net 1.2"
    assert reading.models.model.version == named
    assert named in sr.to_json()
    assert seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == named
    ours = pipeline.models(chosen(settings.data), EVERYTHING)
    assert ours.model.version == "0.1.0, classifier 0.2.0"
    assert ours.weights_sha256 != reading.models.weights_sha256
    assert ours.settings_digest == reading.models.settings_digest


def test_other_files_under_the_same_name_are_another_identity(tmp_path: Path) -> None:
    require_library("onnxruntime", "onnx")
    digests = set()
    for number, more in enumerate(("", "multiple = [2, 2, 2]")):
        settings = Settings(data=tmp_path / str(number))
        add(settings, write_onnx(tmp_path / f"brought{number}", more=more), "theirs")
        use(settings, "theirs")
        digests.add(pipeline.models(chosen(settings.data)).weights_sha256)
    assert len(digests) == 2
