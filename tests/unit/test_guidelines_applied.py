"""What clinical rules say of a reading, where it stands in the results, and when they say nothing."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from pydicom import Dataset

from node.domain.exam import Exam, ExamRules, Purpose
from node.domain.finding import Finding, NoduleType
from node.domain.guidance import Guidance
from node.domain.outcome import Conclusion, Outcome
from node.errors import AnalysisError
from tests.readings import Reading, reading, result_request
from tests.unit.test_results import code, comments, items, parsed
from workers import pipeline
from workers.guidelines import apply
from workers.guidelines.apply import guidance_of
from workers.guidelines.nodule import Nodule, nodule_of
from workers.results import Model, encode_secondary_capture, encode_sr

SCREENING = Exam(Purpose.SCREENING, "it came from LDCT1", 64, True)
INCIDENTAL = Exam(Purpose.INCIDENTAL, "it came from CT1", 64, True)
PARTIAL = Conclusion(Outcome.PARTIAL, ("Slices are thicker than 3 mm: nodules under 6 mm were not assessed.",))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    """9 mm solid, 7 mm ground glass, 6 mm calcified."""
    return reading(tmp_path_factory.mktemp("three"), 3)


@pytest.fixture(scope="module")
def none(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    return reading(tmp_path_factory.mktemp("none"), 0)


def advised(exam: Exam, found: Reading, conclusion: Conclusion | None = None) -> Guidance:
    whole = Conclusion(Outcome.FINDINGS if found.findings else Outcome.NO_FINDINGS)
    return guidance_of(exam, found.findings, conclusion or whole)


def of_type(found: Reading, type_: NoduleType, mm: float) -> Reading:
    """A reading of one nodule alone, of this type and size."""
    first: Finding = found.findings[0]
    sizes = replace(first.measurements, mean_diameter_mm=mm, long_axis_mm=mm, short_axis_mm=mm)
    return Reading(found.series, (replace(first, type=type_, measurements=sizes),), found.masks[:1])


def report(found: Reading, exam: Exam, **changes: Any) -> Dataset:
    return parsed(encode_sr(result_request(found, guidance=advised(exam, found), **changes)))


def test_a_screening_exam_has_the_category_of_its_highest_nodule_and_no_fleischner(three: Reading) -> None:
    found = advised(SCREENING, three)
    assert found.lung_rads == ("4A",)
    assert [each.lung_rads for each in found.nodules] == [("4A",), ("2",), ("1", "3")]
    assert found.sentences[0].startswith("Lung-RADS v2022: category 4A (N1), decision support")
    assert "low-dose CT in 3 months" in found.sentences[0]
    for word in ("airway nodules", "cysts", "infection", "prior exams", "4X"):
        assert word in found.sentences[1]
    assert found.sentences[2] == "Counts as a screening exam: it came from LDCT1."
    assert not any("Fleischner" in each for each in (*found.sentences, *found.rules))


def test_a_screening_exam_without_a_nodule_is_category_1(none: Reading) -> None:
    found = advised(SCREENING, none)
    assert (found.lung_rads, found.nodules) == (("1",), ())
    assert found.sentences[0].startswith("Lung-RADS v2022: category 1, decision support")


def test_categories_that_remain_possible_are_all_named_and_why(three: Reading) -> None:
    part_solid = advised(SCREENING, of_type(three, NoduleType.PART_SOLID, 12.0))
    assert part_solid.lung_rads == ("3", "4A", "4B")
    assert "category 3, 4A or 4B (N1)" in part_solid.sentences[0]
    assert part_solid.sentences[0].endswith("The solid part of N1 was not measured.")
    calcified = advised(SCREENING, of_type(three, NoduleType.CALCIFIED, 12.0))
    assert "category 1 or 4A (N1)" in calcified.sentences[0]
    assert calcified.sentences[0].endswith("The pattern of calcification of N1 was not assessed.")


def test_an_exam_with_incidental_nodules_has_both_branches_and_no_category(three: Reading) -> None:
    found = advised(INCIDENTAL, three)
    assert found.lung_rads == ()
    assert all(each.lung_rads == () for each in found.nodules)
    assert found.sentences[0].startswith("Fleischner 2017 (N1, solid, 9 mm, one of several nodules")
    assert "at low risk" in found.sentences[0]
    assert "at high risk" in found.sentences[0]
    assert any("cancer and immunosuppression" in each for each in found.sentences)
    assert not any("Lung-RADS" in each for each in (*found.sentences, *found.rules))


@pytest.mark.parametrize(("years", "why"), [(34, " is under 35"), (None, "'s age is not known")])
def test_fleischner_is_not_applied_to_the_young_or_to_nobody_knows_whom(
    years: int | None, why: str, three: Reading
) -> None:
    found = advised(replace(INCIDENTAL, age_years=years), three)
    assert found.sentences[0] == f"Fleischner 2017 was not applied: the patient{why}."
    assert "Fleischner 2017" not in found.rules
    assert advised(replace(INCIDENTAL, age_years=35), three).rules[0] == "Fleischner 2017"


def test_where_nothing_was_found_by_chance_nothing_is_said(none: Reading) -> None:
    found = advised(INCIDENTAL, none)
    assert (found.rules, found.sentences, found.nodules) == ((), (), ())


@pytest.mark.parametrize("exam", [SCREENING, INCIDENTAL])
def test_a_limited_reading_has_no_category_no_advice_and_no_risk(exam: Exam, three: Reading) -> None:
    found = advised(exam, three, PARTIAL)
    assert (found.lung_rads, found.nodules, found.rules) == ((), (), ())
    (said,) = found.sentences
    assert said.endswith(f"was not applied to this {exam.purpose} exam: the reading is limited.")


def test_a_category_on_a_limited_reading_is_not_written(three: Reading) -> None:
    with pytest.raises(AnalysisError, match="has no Lung-RADS"):
        result_request(three, PARTIAL, guidance=advised(SCREENING, three))


def test_risk_is_told_of_nodules_that_are_neither_calcified_nor_masses(three: Reading) -> None:
    first, second, calcified = advised(SCREENING, three).nodules
    assert first.risk is not None
    assert second.risk is not None
    assert calcified.risk is None
    assert "sex" in first.risk.used
    assert first.risk.missing == ("family history of lung cancer", "emphysema", "upper lobe", "spiculation")
    assert advised(SCREENING, of_type(three, NoduleType.SOLID, 30.5)).nodules[0].risk is None
    assert advised(SCREENING, of_type(three, NoduleType.SOLID, 30.4)).nodules[0].risk is not None


def test_a_risk_takes_the_longest_axis_and_counts_the_nodules_that_are_not_calcified(three: Reading) -> None:
    nodules = [Nodule(1, NoduleType.SOLID, 20.0, 2.0), Nodule(2, NoduleType.CALCIFIED, 5.0, 5.0)]
    found = apply._risk(nodules[0], nodules, SCREENING)
    alone = apply._risk(Nodule(1, NoduleType.SOLID, 20.0, 20.0), [nodules[0]], SCREENING)
    assert found == alone
    assert nodule_of(three.findings[0]).spiculated is None


def test_the_report_opens_with_the_category_and_codes_it_once(three: Reading) -> None:
    document = report(three, SCREENING)
    lines = comments(document)
    assert lines[0].startswith("3 lung nodules found")
    assert lines[1].startswith("Lung-RADS v2022: category 4A (N1)")
    (assessed,) = items(document, "Lung-RADS assessment")
    assert code(assessed) == "RID50139"
    parameters = [item.TextValue for item in items(document, "Algorithm Parameters")]
    assert parameters == ["Lung-RADS v2022", "Brock full model with spiculation (2b)"]


@pytest.mark.parametrize(
    ("mm", "radlex"), [(5.9, "RID50137"), (6.0, "RID50138"), (8.0, "RID50139"), (15.0, "RID50140")]
)
def test_each_category_has_its_code(mm: float, radlex: str, three: Reading) -> None:
    (assessed,) = items(report(of_type(three, NoduleType.SOLID, mm), SCREENING), "Lung-RADS assessment")
    assert code(assessed) == radlex


def test_a_negative_screening_exam_is_coded_as_category_1(none: Reading) -> None:
    (assessed,) = items(report(none, SCREENING), "Lung-RADS assessment")
    assert code(assessed) == "RID50136"


def test_of_several_possible_categories_none_is_coded(three: Reading) -> None:
    document = report(of_type(three, NoduleType.PART_SOLID, 12.0), SCREENING)
    assert not items(document, "Lung-RADS assessment")
    assert "category 3, 4A or 4B" in comments(document)[1]


@pytest.mark.parametrize("exam", [INCIDENTAL, None])
def test_without_a_screening_exam_no_category_is_anywhere(exam: Exam | None, three: Reading) -> None:
    guidance = advised(exam, three) if exam else None
    document = parsed(encode_sr(result_request(three, guidance=guidance)))
    assert "Lung-RADS" not in document.to_json()
    assert ("Fleischner" in document.to_json()) is (exam is INCIDENTAL)
    assert ("Probability of cancer" in document.to_json()) is (exam is INCIDENTAL)


def probabilities(document: Dataset) -> list[tuple[float, str, str]]:
    """Percent, derivation and method of each probability of cancer."""
    return [
        (
            float(item.MeasuredValueSequence[0].NumericValue),
            "".join(code(each) for each in items(item, "Derivation")),
            "".join(code(each) for each in items(item, "Measurement Method")),
        )
        for item in items(document, "Probability of cancer")
    ]


def test_a_risk_is_coded_as_least_and_most_of_a_named_calculator(three: Reading) -> None:
    one = of_type(three, NoduleType.SOLID, 10.0)
    (guidance,) = advised(SCREENING, one).nodules
    assert guidance.risk is not None
    assert probabilities(report(one, SCREENING)) == [
        (round(guidance.risk.lower * 100, 1), "255605001", "BROCK2B"),
        (round(guidance.risk.upper * 100, 1), "56851009", "BROCK2B"),
    ]
    line = next(each for each in comments(report(one, SCREENING)) if each.startswith("N1 by rule"))
    assert line.startswith("N1 by rule: Lung-RADS 4A; risk calculator Brock full model with spiculation (2b), no find")
    for name in (*guidance.risk.used, *guidance.risk.missing):
        assert name in line


def test_a_risk_of_which_every_input_is_known_is_one_value(three: Reading) -> None:
    one = of_type(three, NoduleType.SOLID, 10.0)
    guidance = advised(SCREENING, one)
    (nodule,) = guidance.nodules
    assert nodule.risk is not None
    known = replace(nodule.risk, lower=0.269, upper=0.269, missing=())
    whole = replace(guidance, nodules=(replace(nodule, risk=known),))
    document = parsed(encode_sr(result_request(one, guidance=whole)))
    assert probabilities(document) == [(26.9, "", "BROCK2B")]
    assert "probability of cancer 26.9% (used: " in "\n".join(comments(document))


def test_the_summary_picture_shows_the_category(three: Reading) -> None:
    plain, with_rules = (
        parsed(encode_secondary_capture(result_request(three, guidance=guidance)))
        for guidance in (None, advised(SCREENING, three))
    )
    assert with_rules.Rows > plain.Rows


def test_guidance_survives_json(three: Reading) -> None:
    kept = json.loads(json.dumps(asdict(advised(SCREENING, three))))
    assert (kept["purpose"], kept["lung_rads"]) == ("screening", ["4A"])
    assert kept["nodules"][0]["risk"]["calculator"] == "Brock full model with spiculation (2b)"


def read(found: Reading, conclusion: Conclusion) -> pipeline.Reading:
    models = pipeline.Models(Model("nodus-lung", "1"), "w", "s")
    return pipeline.Reading(
        conclusion, found.series.headers, found.series.volume, found.findings, found.masks, {}, models
    )


def test_what_decided_the_purpose_is_part_of_the_identity_and_nothing_is_where_nothing_did(three: Reading) -> None:
    before = read(three, Conclusion(Outcome.FINDINGS))
    assert pipeline.advise(before, ExamRules(screening_senders=("CT1",)), ["CT2"]) == before
    ways = (
        ExamRules(screening_senders=("CT1",)),
        ExamRules(screening_words=("thorax",)),
        ExamRules(incidental_senders=("*",)),
    )
    after = [pipeline.advise(before, rules, ["CT1"]) for rules in ways]
    assert len({each.models.settings_digest for each in (before, *after)}) == 4
    assert [each.guidance.purpose for each in after if each.guidance] == ["screening", "screening", "incidental"]
    assert pipeline.advise(before, ways[0], ["CT1"]) == after[0]
