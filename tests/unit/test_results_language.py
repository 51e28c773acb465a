"""Reports in three languages: every sentence and every code has all three, and nothing English is left in them."""

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from string import Formatter

import pytest
from pydicom import Dataset, dcmread
from pydicom.sr.coding import Code

from node.domain.eligibility import LIMITATIONS, REFUSALS
from node.domain.exam import Exam, Purpose
from node.domain.finding import NoduleType
from node.domain.job import Failure
from node.domain.language import Language
from node.domain.outcome import Conclusion, Outcome
from tests.readings import Reading, not_analysed, reading, result_request, unbroken
from workers.guidelines import brock, fleischner, lung_rads
from workers.guidelines.apply import guidance_of
from workers.results import SR_LADDER, Style, codes, encode_seg, encode_sr
from workers.results.language import TAGS, Speech
from workers.results.language.tables import MEANINGS, SENTENCES
from workers.results.text import lines

ROOT = Path(__file__).parents[2]
OTHERS = (Language.ZH, Language.DE)
APART = {"assessment", "training"}
"""What they raise is for who measures and trains."""
RAISING = [
    path
    for path in sorted(ROOT.glob("workers/**/*.py"))
    if path.name == "classify.py"
    or (re.search(r"\b(BadInput|NotAChest)\(", path.read_text()) and not APART & set(path.parts))
]
"""Whose sentences reach reports as they are: why nothing was read, or not all."""
SAYS_SO = re.compile(r"[A-Z][^.]+\.")
STAYS = {
    *("AI", "CT", "PET", "HU", "mm", "RADS", "Lung", "Fleischner", "Brock", "PACS", "CAD", "UID", "mm3", "v2022"),
    *("ImageOrientationPatient", "PixelSpacing", "StudyDescription", "CT1", "nodus", "lung", "Keyword"),
}
"""Names that are the same in every language."""


def english_in(text: str) -> set[str]:
    """Words of Latin letters that no name explains."""
    return set(re.findall(r"[A-Za-z][A-Za-z0-9]+", text)) - STAYS - {"N1", "N2", "N3", "2a", "2b"}


def raised_in(path: Path) -> Iterator[str]:
    """Sentences in the code of a module, with something in place of what differs; docstrings aside."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        for text in (_filled(each) for each in ast.iter_child_nodes(node) if not isinstance(node, ast.Expr)):
            if text and SAYS_SO.fullmatch(text):
                yield text


def _filled(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(each.value) if isinstance(each, ast.Constant) else _sample(each) for each in node.values)
    return ""


def _sample(value: ast.AST) -> str:
    """What stands in a sentence of the code: a side or the name of an attribute, else a number."""
    names = {each.id for each in ast.walk(value) if isinstance(each, ast.Name)}
    known = {"side": "right", "other": "left", "keyword": "Keyword", "error": "Keyword"}
    return next((known[name] for name in known if name in names), "7")


def told_by_the_node() -> list[str]:
    from node.catalog.revisions import CANCELLED
    from node.domain.retention import REMOVED
    from node.flow.complete import CONFLICT

    rules = [*REFUSALS, *(rule for _, rule in LIMITATIONS)]
    failed = [f"The analysis failed: {failure}." for failure in Failure]
    return [CANCELLED, REMOVED, CONFLICT, *failed, *(rule.sentence for rule in rules)]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    return reading(tmp_path_factory.mktemp("three"), 3)


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_has_the_fields_of_its_english_and_other_words(language: Language) -> None:
    for sentence, wording in SENTENCES.items():
        told, wanted = ({name for _, name, _, _ in Formatter().parse(each)} for each in (wording[language], sentence))
        assert told - {None} == wanted - {None}, sentence
        assert wording[language] != sentence or not re.search("[a-z]{3}", re.sub(r"\{\w+\}", "", sentence))
        if language is Language.ZH:
            assert not english_in(re.sub(r"\{\w+\}", "", wording[language])), sentence


def test_every_code_of_ours_has_a_meaning_in_each_language_that_its_vr_has_room_for() -> None:
    ours = [each for each in vars(codes).values() if isinstance(each, Code)]
    ours += [code for each in vars(codes).values() if isinstance(each, dict) for code in each.values()]
    for code in (*(each for each in ours if isinstance(each, Code)), *TAGS.values()):
        wording = MEANINGS[f"{code.value} {code.scheme_designator}"]
        assert wording[Language.EN] == code.meaning
    assert all(0 < len(text) <= 64 for wording in MEANINGS.values() for text in wording.values())


@pytest.mark.parametrize("path", RAISING, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_whatever_limits_a_reading_is_said_in_each_language(path: Path) -> None:
    for sentence in raised_in(path):
        for language in OTHERS:
            assert Speech(language).of(sentence) != sentence, sentence
        assert not english_in(Speech(Language.ZH).of(sentence)), sentence


def test_the_scan_of_the_code_sees_its_sentences() -> None:
    found = [text for path in RAISING for text in raised_in(path)]
    assert "The slices are shifted against each other." in found
    assert "No body is visible in the images." in found
    assert "The right lung is much smaller than the left: dense parts of it were not assessed." in found
    assert len(found) > 30


@pytest.mark.parametrize("sentence", told_by_the_node())
def test_whatever_the_node_says_of_an_unread_study_is_said_in_each_language(sentence: str) -> None:
    assert not english_in(Speech(Language.ZH).of(sentence))
    assert Speech(Language.DE).of(sentence) != sentence


@pytest.mark.parametrize("purpose", list(Purpose))
@pytest.mark.parametrize("kinds", ["", "s", "p", "g", "c", "ssc", "pgm", "cc"])
@pytest.mark.parametrize("age", [64, 20, None])
def test_whatever_clinical_rules_say_is_said_in_each_language(
    purpose: Purpose, kinds: str, age: int | None, three: Reading
) -> None:
    types = {"s": NoduleType.SOLID, "p": NoduleType.PART_SOLID, "g": NoduleType.GROUND_GLASS, "c": NoduleType.CALCIFIED}
    sizes = three.findings[0].measurements
    mass = replace(sizes, mean_diameter_mm=34.0, long_axis_mm=36.0)
    findings = tuple(
        replace(
            three.findings[0],
            ordinal=number,
            type=types.get(kind, NoduleType.SOLID),
            measurements=mass if kind == "m" else sizes,
        )
        for number, kind in enumerate(kinds, 1)
    )
    outcome = Conclusion(Outcome.FINDINGS if findings else Outcome.NO_FINDINGS)
    guidance = guidance_of(Exam(purpose, "StudyDescription has 'CT1'", age, None), findings, outcome)
    masks = three.masks[:1] * len(findings)
    request = result_request(three, outcome, findings=findings, masks=masks, guidance=guidance)
    for language in OTHERS:
        told = lines(replace(request, style=Style(language)))
        assert len(told) == len(lines(request))
        assert not set(told) & set(lines(request))
        assert language is Language.DE or not english_in(" ".join(told)), told


def test_every_table_of_the_rules_is_said_in_each_language() -> None:
    rows = (
        *(fleischner.SOLID_SINGLE, fleischner.SOLID_SEVERAL, fleischner.GROUND_GLASS_SINGLE),
        *(fleischner.PART_SOLID_SINGLE, fleischner.SUBSOLID_SEVERAL),
    )
    advice = [text for table in rows for _, one in table for text in (one.low_risk, one.high_risk, one.text(None))]
    follow_up = [f"{category}: {text}" for category, text in lung_rads.FOLLOW_UP.items()]
    inputs = brock.risk(brock.Inputs(9.0, NoduleType.SOLID, 1))
    for text in (*advice, *follow_up, *inputs.used, *inputs.missing):
        assert not english_in(Speech(Language.ZH).of(text)), text
        assert Speech(Language.DE).of(text) != text


def test_a_sentence_that_nobody_translated_is_told_in_english_and_not_lost() -> None:
    for language in Language:
        assert "Nobody wrote this down" in Speech(language).of("Nobody wrote this down. The gantry was tilted.")
    assert "机架有倾斜。" in Speech(Language.ZH).of("Nobody wrote this down. The gantry was tilted.")


def texts_in(document: Dataset) -> Iterator[str]:
    """Meanings and sentences of a report."""
    for item in document.get("ContentSequence", []):
        for name in ("ConceptNameCodeSequence", "ConceptCodeSequence"):
            yield from (each.CodeMeaning for each in item.get(name, []))
        for value in item.get("MeasuredValueSequence", []):
            yield from (each.CodeMeaning for each in value.MeasurementUnitsCodeSequence)
        if item.get("ConceptNameCodeSequence") and item.ConceptNameCodeSequence[0].CodeValue == "121106":
            yield item.TextValue
        yield from texts_in(item)


@pytest.mark.parametrize("language", Language)
def test_a_report_says_its_language_and_keeps_it_and_breaks_no_rule(language: Language, three: Reading) -> None:
    results = unbroken(result_request(three, style=Style(language)))
    report = dcmread(BytesIO(next(each.data for each in results if each.sop_class_uid == SR_LADDER[0])))
    (told,) = [each for each in report.ContentSequence if each.ConceptNameCodeSequence[0].CodeValue == "121049"]
    assert told.ConceptCodeSequence[0].CodeValue == TAGS[language].value
    if language is Language.ZH:
        assert not {word for text in texts_in(report) for word in english_in(text)}
    if language is Language.DE:
        assert "Rundherd" in set(texts_in(report))
        assert "mittlerer Durchmesser 9,3 mm" in " ".join(texts_in(report))
    assert (
        dcmread(BytesIO(results[0].data)).SegmentSequence[0].SegmentLabel
        == {
            Language.EN: "Nodule 1",
            Language.ZH: "结节1",
            Language.DE: "Rundherd 1",
        }[language]
    )


@pytest.mark.parametrize("language", Language)
def test_what_was_not_analysed_or_only_in_part_is_no_negative_in_any_language(
    language: Language, three: Reading
) -> None:
    style = Style(language)
    notice = not_analysed(three, "The gantry was tilted.")
    partial = Conclusion(Outcome.PARTIAL, ("The tops of the lungs were not scanned.",))
    none = {"findings": (), "masks": ()}
    for request in (
        replace(notice, style=style),
        result_request(three, partial, style=style, **none),
        result_request(three, partial, style=style, more_findings=True, **none),
        result_request(three, partial, style=style, more_findings=True),
        result_request(three, style=style, shadow=True),
    ):
        unbroken(request)


def test_another_language_or_another_choice_of_groups_has_other_uids_and_the_usual_one_the_same() -> None:
    styles = [Style(language, outlines) for language in Language for outlines in (True, False)]
    digests = [style.digest("s") for style in styles]
    assert digests[0] == "s"
    assert len(set(digests)) == len(styles)


def test_outlines_are_left_out_where_the_settings_say_so(three: Reading) -> None:
    request = result_request(three, style=Style(outlines=False))
    report = dcmread(BytesIO(unbroken(request)[1].data))
    assert len(report.ContentSequence[-1].ContentSequence) == 1 + 3
    assert len(encode_sr(request).data) < len(encode_sr(result_request(three)).data)
    assert encode_seg(request).data == encode_seg(result_request(three)).data
