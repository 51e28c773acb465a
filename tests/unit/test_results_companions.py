"""What is drawn and what stands beside it is in the language of the report, an earlier exam included."""

import re
from dataclasses import replace
from io import BytesIO

import pytest
from fontTools.ttLib import TTFont
from pydicom import dcmread
from pypdf import PdfReader

from node.domain.delivery import ResultKind
from node.domain.language import Language
from tests.compared import compared, compared_screening
from tests.readings import Reading, not_analysed, reading, unbroken
from workers.results import Style, encode
from workers.results.language.tables import MEANINGS, SENTENCES
from workers.results.lettering import FILE, wrapped
from workers.results.page import draw_page

SINCE = {
    Language.EN: "since 2023-05-01: increased, volume +82%, mean diameter +1.6 mm, volume doubling time 322 days",
    Language.ZH: "自2023-05-01以来：增大、体积+82%、平均直径+1.6 mm、体积倍增时间322天",
    Language.DE: "seit 2023-05-01: größer geworden, Volumen +82 %, mittlerer Durchmesser +1,6 mm, "
    "Volumenverdopplungszeit 322 Tage",
}
SAYS_OF_ITSELF = {Language.EN: "unverified", Language.ZH: "未经核实", Language.DE: "ungeprüft|nicht überprüft"}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    return reading(tmp_path_factory.mktemp("three"), 3)


def squeezed(text: str) -> str:
    return "".join(text.split())


def text_of(page: bytes) -> str:
    """Of a PDF, without blanks: where lines break is not said."""
    return squeezed("".join(each.extract_text() for each in PdfReader(BytesIO(page)).pages))


@pytest.mark.parametrize("language", Language)
def test_companions_are_in_the_language_of_the_report_and_break_no_rule(language: Language, three: Reading) -> None:
    request = replace(compared_screening(three), style=Style(language))
    results = {each.kind: dcmread(BytesIO(each.data)) for each in unbroken(request)}
    said = {
        ResultKind.SC: results[ResultKind.SC].DerivationDescription,
        ResultKind.PDF: results[ResultKind.PDF].DocumentTitle,
        ResultKind.GSPS: results[ResultKind.GSPS].ContentDescription,
        ResultKind.KOS: "".join(each.get("TextValue", "") for each in results[ResultKind.KOS].ContentSequence),
    }
    assert {kind for kind, text in said.items() if not re.search(SAYS_OF_ITSELF[language], text)} == set()
    page = results[ResultKind.PDF].EncapsulatedDocument
    assert squeezed(SINCE[language]) in text_of(page)


def test_no_english_is_left_on_a_chinese_page(three: Reading) -> None:
    for request in (compared(three), not_analysed(three)):
        text = text_of(draw_page(replace(request, style=Style(Language.ZH))))
        words = set(re.findall("[A-Za-z]{3,}", text))
        assert words <= {"nodus", "lung", "UTC"}, words


def test_a_page_that_was_compared_no_longer_says_that_it_was_not(three: Reading) -> None:
    not_compared = squeezed("No earlier exam was compared.")
    assert not_compared not in text_of(draw_page(compared(three)))
    assert not_compared in text_of(draw_page(replace(compared(three), comparison=None)))


def test_the_same_chinese_page_has_the_same_bytes(three: Reading) -> None:
    request = replace(compared(three), style=Style(Language.ZH))
    assert draw_page(request) == draw_page(request)


def test_pictures_differ_by_language_and_by_what_became_of_the_nodules(three: Reading) -> None:
    told = [
        replace(compared(three), style=Style(language), comparison=beside)
        for language in Language
        for beside in (compared(three).comparison, None)
    ]
    pictures = {encode(each, ResultKind.SC)[0].data for each in told}
    assert len(pictures) == len(told)


def test_the_font_has_every_character_that_a_report_may_say() -> None:
    said = {each for table in (SENTENCES, MEANINGS) for wording in table.values() for each in "".join(wording.values())}
    with TTFont(FILE) as font:
        lacking = {each for each in said if ord(each) not in font.getBestCmap()}
    assert not lacking, "python -m tests.lettering makes it again"


@pytest.mark.parametrize(
    "text", ["发现3个肺结节（AI结果，未经核实）。最大者：N1，按v2022，右肺。", "One two  three, four."]
)
def test_lines_are_no_longer_than_they_may_be_and_lose_nothing(text: str) -> None:
    lines = wrapped(text, 12, len)
    assert len(lines) > 1
    assert all(len(line) <= 12 for line in lines)
    assert squeezed("".join(lines)) == squeezed(text)
    assert not any(line[0] in "，。：）" or line[-1] == "（" for line in lines)
