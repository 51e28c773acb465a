"""The demonstration shows what a report says, whatever it says."""

from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from rich.console import Console

from deploy.demo import is_notice, show, texts
from tests.readings import not_analysed, reading, result_request
from workers.results import SR_LADDER, ResultRequest, encode_sr


def report(request: ResultRequest, sop_class_uid: str) -> Dataset:
    return dcmread(BytesIO(encode_sr(request, sop_class_uid).data))


@pytest.mark.parametrize("rung", SR_LADDER)
def test_the_table_has_type_side_and_sizes_of_each_nodule(rung: str, tmp_path: Path) -> None:
    found = reading(tmp_path, 2)
    document = report(result_request(found), rung)
    console = Console(width=200)
    with console.capture() as shown:
        show(console, document)
    lines = shown.get().splitlines()
    for finding, side in zip(found.findings, ("Right", "Left"), strict=True):
        (line,) = [line for line in lines if finding.label in line]
        assert side in line
        assert str(finding.measurements.mean_diameter_mm) in line
    assert not is_notice(document)


def test_a_notice_is_recognised_and_says_why(tmp_path: Path) -> None:
    document = report(not_analysed(reading(tmp_path, 0), "The slices are not axial."), SR_LADDER[0])
    assert is_notice(document)
    assert "Reason: The slices are not axial." in texts(document)
    assert texts(document)[0].startswith("AI lung nodule: NOT ANALYSED.")
