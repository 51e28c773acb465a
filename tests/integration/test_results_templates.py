"""PixelMed's DicomSRValidator knows the templates of PS3.16: it has no error but one of its own.

It takes half a minute of a processor for a report of many nodules: two cases in `make test`, the others in `make soak`.
dciodvfy is asked all of them.
"""

import re
import subprocess
from pathlib import Path

import pytest
from pydicom import dcmread

from tests.peers import missing, require
from tests.readings import reading
from tests.result_cases import CASES
from workers.results import encode_sr

JAR = Path("/usr/share/java/pixelmed.jar")
UNLIMITED = [f"-Djdk.xml.xpath{limit}=0" for limit in ("ExprOpLimit", "TotalOpLimit", "ExprGrpLimit")]
"""Without them it breaks off: JAXP's limits on XPath are younger than it is."""
ASKED_FOR_A_REGION = re.compile(
    r"Error: Template (?P<template>1410|1411) .*\[Row (5|7|10)\] .*: within 1\.\d+\.(?P<group>\d+): .*: "
    "Missing conditional content item"
)
"""It takes every Measurement Group for all that it may be: that on the exam (TID 1501) for one on a volume (TID 1411),
and both for one on an image (TID 1410)."""
OF_NO_REGION = {("1410", "exam"), ("1411", "exam"), ("1410", "segment")}
EXTENSION = "Content Item not in template"
"""TID 1500 and its groups are extensible."""
WITHIN_S = 900


def said_of(report: Path) -> list[str]:
    """Errors and warnings."""
    java = require("java", "default-jre-headless")
    if not JAR.exists():
        missing(f"{JAR} is missing: install libpixelmed-java")
    command = [java, *UNLIMITED, "-cp", str(JAR), "com.pixelmed.validate.DicomSRValidator", str(report)]
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=WITHIN_S, check=False)
    lines = (ended.stdout + ended.stderr).splitlines()
    assert "Root Template Validation Complete" in lines, lines[-5:]
    return [line for line in lines if re.match("Error|Warning", line)]


def kinds(report: Path) -> list[str]:
    """What each Measurement Group is about: exam, segment or image."""
    (measurements,) = [
        item for item in dcmread(report).ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "126010"
    ]
    named = [
        {item.ConceptNameCodeSequence[0].CodeValue for item in group.ContentSequence}
        for group in measurements.ContentSequence
    ]
    return ["segment" if "121191" in names else "image" if "111030" in names else "exam" for names in named]


def is_its_own(line: str, of: list[str]) -> bool:
    """An error of the validator, not of the report."""
    asked = ASKED_FOR_A_REGION.match(line)
    return asked is not None and (asked["template"], of[int(asked["group"]) - 1]) in OF_NO_REGION


def written(name: str, folder: Path) -> Path:
    count, scan, multi_frame, request = CASES[name]
    path = folder / "sr.dcm"
    path.write_bytes(encode_sr(request(reading(folder / "ct", count, scan, multi_frame))).data)
    return path


MORE = [
    pytest.param(name, marks=pytest.mark.thorough)
    for name in ("one nodule", "solid part", "Japanese name", "twenty nodules")
]


@pytest.mark.parametrize("name", ["no nodule", "three nodules", *MORE])
def test_the_templates_are_kept_by_the_report_of(name: str, tmp_path: Path) -> None:
    report = written(name, tmp_path)
    said, of = said_of(report), kinds(report)
    solid_parts = name.count("solid part")
    assert (of[0], of.count("segment")) == ("exam", of.count("image") - solid_parts)
    assert not [line for line in said if line.startswith("Error") and not is_its_own(line, of)]
    assert not [line for line in said if line.startswith("Warning") and not line.endswith(EXTENSION)]


def test_the_validator_would_have_complained(tmp_path: Path) -> None:
    report = written("not analysed", tmp_path)
    report.write_bytes(report.read_bytes().replace(b"25045-6 ", b"25045-7 "))
    assert any("CID 100" in line or "100" in line for line in said_of(report) if line.startswith("Error"))
