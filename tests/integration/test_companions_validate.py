"""Readers of others accept marks and pages of every reading: DCMTK's checker of presentation states, poppler."""

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image
from pydicom import dcmread

from node.domain.delivery import ResultKind
from node.domain.outcome import Outcome
from tests.peers import require
from tests.readings import Reading, not_analysed, reading, result_request
from tests.result_cases import CASES, PARTIAL
from workers.results import ResultRequest, encode
from workers.results.page import BANDS, draw_page

NOT_KNOWN_TO_IT = "PatientName"
"""It knows no names in several scripts (PS3.5 6.2.1), which are copied as they are."""
MARKED = [name for name, (count, *_) in CASES.items() if count]


def run(program: str, package: str, *arguments: str | Path) -> str:
    """What a program of others prints, both streams; it must end well."""
    command = [require(program, package), *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def request_of(name: str, folder: Path) -> ResultRequest:
    count, scan, multi_frame, make = CASES[name]
    return make(reading(folder, count, scan, multi_frame))


@pytest.mark.parametrize("name", MARKED)
def test_dcmpschk_has_nothing_against_the_marks_of(name: str, tmp_path: Path) -> None:
    """It takes bytes of UTF-8 for control characters: what it says of other values than ASCII is not heard."""
    (marks,) = encode(request_of(name, tmp_path / "ct"), ResultKind.GSPS)
    (tmp_path / "marks.dcm").write_bytes(marks.data)
    said = run("dcmpschk", "dcmtk", tmp_path / "marks.dcm")
    lines = said.splitlines()
    affected = [(line, value) for line, value in pairwise(lines) if "Affected attribute" in line]
    assert [line for line, value in affected if NOT_KNOWN_TO_IT not in line and value.isascii()] == []
    assert affected or "Test passed" in said


def test_dcmpschk_would_have_complained(tmp_path: Path) -> None:
    (marks,) = encode(request_of("one nodule", tmp_path / "ct"), ResultKind.GSPS)
    (tmp_path / "marks.dcm").write_bytes(marks.data.replace(b"AI_FINDINGS ", b"ai findings "))
    assert "Test passed" not in run("dcmpschk", "dcmtk", tmp_path / "marks.dcm")


def rescaled_otherwise(found: Reading) -> ResultRequest:
    """The key image of one nodule has a rescale of its own."""
    request = result_request(found)
    key = found.findings[0].key_image.sop_instance_uid
    (header,) = [each for each in request.headers if each.SOPInstanceUID == key]
    header.RescaleIntercept = "-1000"
    return request


def test_images_that_no_window_fits_together_get_no_marks(tmp_path: Path) -> None:
    assert encode(rescaled_otherwise(reading(tmp_path, 3)), ResultKind.GSPS) == ()


def page_of(request: ResultRequest, folder: Path) -> tuple[str, Image.Image]:
    """What poppler reads and draws."""
    (encoded,) = encode(request, ResultKind.PDF)
    (folder / "page.dcm").write_bytes(encoded.data)
    page = dcmread(folder / "page.dcm")
    (folder / "page.pdf").write_bytes(page.EncapsulatedDocument[: page.EncapsulatedDocumentLength])
    run("pdftoppm", "poppler-utils", "-r", "40", "-png", folder / "page.pdf", folder / "page")
    (picture,) = folder.glob("page*.png")
    text = run("pdftotext", "poppler-utils", "-layout", folder / "page.pdf", "-")
    return " ".join(text.split()), Image.open(picture).convert("RGB")


OUTCOMES = {
    Outcome.FINDINGS: (3, None, "AI lung nodules: FINDINGS"),
    Outcome.NO_FINDINGS: (0, None, "AI lung nodules: NO FINDINGS"),
    Outcome.PARTIAL: (0, PARTIAL, "AI lung nodules: PARTIAL READING"),
    Outcome.NOT_ANALYSED: (0, None, "AI lung nodules: NOT ANALYSED - not a negative result"),
}


@pytest.mark.parametrize("outcome", Outcome)
def test_the_page_shows_in_words_and_colour_how_a_reading_ended(outcome: Outcome, tmp_path: Path) -> None:
    count, conclusion, words = OUTCOMES[outcome]
    found = reading(tmp_path / "ct", count)
    request = not_analysed(found) if outcome is Outcome.NOT_ANALYSED else result_request(found, conclusion)
    text, picture = page_of(request, tmp_path)
    assert text.startswith(words)
    assert {words for _, _, words in OUTCOMES.values() if words in text} == {words}
    assert "Research software, not a medical device" in text
    assert picture.getpixel((3, 3)) == BANDS[outcome]
    assert ("N1 solid right 9.3 mm" in text) == (outcome is Outcome.FINDINGS)
    assert "Nodus^Test" not in text and "TEST-0001" not in text


def test_reasons_without_end_stay_on_the_one_page(tmp_path: Path) -> None:
    reasons = tuple(f"Series {n} has too few images, and what there is of it lies unevenly." for n in range(60))
    request = not_analysed(reading(tmp_path / "ct", 0))
    text, picture = page_of(
        type(request)(**{**vars(request), "conclusion": type(request.conclusion)(Outcome.NOT_ANALYSED, reasons)}),
        tmp_path,
    )
    assert all(reason in text for reason in reasons)
    assert picture.height > picture.width


def test_the_page_is_the_same_for_whoever_the_patient_is(tmp_path: Path) -> None:
    found = reading(tmp_path, 2)
    request = result_request(found)
    before = draw_page(request)
    for header in request.headers:
        header.PatientName, header.PatientID, header.AccessionNumber = "Somebody^Else", "OTHER", "A-9"
    assert draw_page(request) == before
