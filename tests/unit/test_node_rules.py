"""domain/criteria.py and domain/rules.py: what matches, which rule fires, why the others do not, which are wrong."""

import re
from typing import Any

import pytest

from node.domain.criteria import Kind, criterion
from node.domain.route import Decision, Pipeline, Route, decision_of
from node.domain.rules import Rule, RuleBook, Subject, Verdict, caller
from node.headers.attributes import criterion_of

TEXT, NUMBER, DATE = Kind.TEXT, Kind.NUMBER, Kind.DATE


@pytest.mark.parametrize(
    ("kind", "asked", "values", "holds"),
    [
        (TEXT, ["CT"], ["CT"], True),
        (TEXT, ["ct"], ["CT"], True),
        (TEXT, ["*lung*"], ["CT Lung screening"], True),
        (TEXT, ["lung"], ["CT Lung screening"], False),
        (TEXT, ["T?"], ["TH"], True),
        (TEXT, ["[A]"], ["A"], False),
        (TEXT, ["LOCALIZER"], ["ORIGINAL", "PRIMARY", "LOCALIZER"], True),
        (TEXT, ["CHEST", "THORAX"], ["THORAX"], True),
        (TEXT, ["CT"], [], False),
        (TEXT, ["*"], [], False),
        (TEXT, [""], [], True),
        (TEXT, [""], ["CT"], False),
        (TEXT, ["!= SCOUT*"], ["SCOUT 1"], False),
        (TEXT, ["!= SCOUT*"], ["THORAX"], True),
        (TEXT, ["!= SCOUT*"], [], True),
        (TEXT, ["1..3"], ["1..3"], True),
        (NUMBER, ["<= 3"], ["3"], True),
        (NUMBER, ["<= 3"], ["3.1"], False),
        (NUMBER, ["> 3"], ["3"], False),
        (NUMBER, ["0.5..3"], ["2.5"], True),
        (NUMBER, ["0.5..3"], ["0.4"], False),
        (NUMBER, [3], ["3.0"], True),
        (NUMBER, ["!= 3"], ["3.0"], False),
        (NUMBER, ["< 3"], [], False),
        (NUMBER, ["< 3"], ["thin"], False),
        (NUMBER, [">= 0"], ["nan"], False),
        (DATE, [">= 2024-01-31"], ["20240131"], True),
        (DATE, ["< 20240131"], ["20240131"], False),
        (DATE, ["20240101..20241231"], ["20240615"], True),
        (DATE, ["2024*"], ["20240615"], True),
    ],
)
def test_values_are_what_is_asked_for(kind: Kind, asked: list[object], values: list[str], holds: bool) -> None:
    assert criterion("K", kind, asked).holds(values) is holds


@pytest.mark.parametrize(
    ("keyword", "asked", "sentence"),
    [
        ("StudyDescripton", ["x"], "'StudyDescripton' is no keyword of a DICOM attribute"),
        ("PixelData", ["x"], "PixelData cannot be asked for"),
        ("StudyDescription", ["< x"], "StudyDescription is text and has no order"),
        ("SliceThickness", ["<= thin"], "'<= thin' is none for SliceThickness: it is a number"),
        ("SliceThickness", ["1..thick"], "it is a number"),
        ("StudyDate", ["> yesterday"], "it is a date"),
        ("Modality", [], "Modality has an empty list"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_sentence(keyword: str, asked: list[object], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        criterion_of(keyword, asked)


def test_nothing_of_a_rule_is_run_whatever_it_looks_like() -> None:
    asked = criterion_of("StudyDescription", ["__import__('os').system('false')", "(a+)+$", "*" * 30 + "x"])
    assert asked.holds(["__import__('os').system('false')"])
    assert not asked.holds(["a" * 500])


def test_codes_and_numbers_are_told_and_what_may_name_a_patient_is_not() -> None:
    assert criterion_of("SliceThickness", ["<= 3"]).missed(["5"]) == "SliceThickness is 5, not '<= 3'"
    for keyword in (
        "StudyDescription",
        "PatientName",
        "PatientID",
        "AccessionNumber",
        "PatientSex",
        "PatientBirthDate",
    ):
        assert "Secret" not in criterion_of(keyword, ["x"]).missed(["Secret"])
    assert criterion_of("Modality", ["CT"]).missed([]) == "Modality is absent, not 'CT'"


def rule(name: str, sender: str = "", called: tuple[str, ...] = (), where: Any = None, **route: Any) -> Rule:
    criteria = tuple(criterion_of(keyword, [asked]) for keyword, asked in (where or {}).items())
    return Rule(name, (caller(sender),) if sender else (), called, criteria, Route(**route))


CT = {"Modality": ["CT"], "SliceThickness": ["2.5"]}
SR = {"Modality": ["SR"]}


@pytest.mark.parametrize(
    ("one", "subject", "missed"),
    [
        (rule("r"), Subject("", "", ""), ""),
        (rule("r", "CT1"), Subject("CT1", "10.0.0.5", "NODUS"), ""),
        (rule("r", "CT*@10.0.0.0/24"), Subject("CT7", "10.0.0.5", "NODUS"), ""),
        (rule("r", "CT1@10.0.0.6"), Subject("CT1", "10.0.0.5", "N"), "the sender is CT1@10.0.0.5, not CT1@10.0.0.6/32"),
        (rule("r", "CT1@10.0.0.5"), Subject("CT1", "::ffff:10.0.0.5", "NODUS"), ""),
        (rule("r", "ct1"), Subject("CT1", "10.0.0.5", "NODUS"), "the sender is CT1@10.0.0.5, not ct1"),
        (rule("r", "CT1"), Subject("", "", ""), "no sender is known, not CT1"),
        (rule("r", called=("A", "B")), Subject("X", "::1", "B"), ""),
        (rule("r", called=("A",)), Subject("X", "::1", "B"), "B was called, not A"),
        (rule("r", where={"Modality": "CT"}), Subject("X", "::1", "N", [SR, CT]), ""),
        (rule("r", where={"Modality": "CT"}), Subject("X", "::1", "N", [SR]), "Modality is SR, not 'CT'"),
        (rule("r", where={"Modality": "CT"}), Subject("X", "::1", "N"), "there is no series yet"),
        (
            rule("r", where={"Modality": "CT", "SliceThickness": "<= 1"}),
            Subject("X", "::1", "N", [SR, CT]),
            "SliceThickness is 2.5, not '<= 1'",
        ),
    ],
)
def test_a_rule_says_what_it_misses(one: Rule, subject: Subject, missed: str) -> None:
    assert one.misses(subject) == missed


def test_attributes_must_meet_in_one_series() -> None:
    both = rule("r", where={"Modality": "SR", "SliceThickness": "<= 3"})
    assert both.misses(Subject("X", "::1", "N", [SR, CT]))


def test_the_first_rule_that_matches_decides_and_each_other_says_why_not() -> None:
    book = RuleBook(
        (
            rule("mr", where={"Modality": "MR"}),
            rule("ct", where={"Modality": "CT"}, priority=3, forward=("A",)),
            rule("all", pipeline=Pipeline.STORE),
        )
    )
    subject = Subject("CT1", "10.0.0.5", "NODUS", [CT])
    assert book.decide(subject) == Decision("ct", "Modality = 'CT'", Route(priority=3, forward=("A",)))
    assert book.explain(subject) == [
        Verdict("mr", False, "Modality is CT, not 'MR'"),
        Verdict("ct", True, "Modality = 'CT'"),
        Verdict("all", False, "it matches too, but rule 'ct' comes first"),
    ]


def test_what_a_rule_leaves_open_the_called_ae_title_says() -> None:
    book = RuleBook((rule("ct", called=("KEEP",), priority=3),), {"KEEP": Route(Pipeline.STORE, priority=9)})
    assert book.decide(Subject("X", "::1", "KEEP")).route == Route(Pipeline.STORE, priority=3)
    assert RuleBook((), book.aes).decide(Subject("X", "::1", "KEEP")).route == Route(Pipeline.STORE, priority=9)


def test_without_rules_nothing_is_decided_and_nothing_is_kept_of_it() -> None:
    decision = RuleBook().decide(Subject("X", "::1", "NODUS", [CT]))
    assert (decision, decision.kept()) == (Decision(), {})


def test_a_decision_comes_back_from_sql_as_it_went_there() -> None:
    made = Decision("r", "why", Route(Pipeline.STORE, 3, ("A",), (), 30))
    assert decision_of(made.kept()) == made
    assert decision_of({}) == Decision()


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        ([rule("a"), rule("b", "CT1")], "Rule 'b' is never reached: rule 'a' before it matches all that it does."),
        (
            [rule("a", where={"Modality": "CT"}), rule("b", "CT1", where={"Modality": "CT", "Rows": "512"})],
            "Rule 'b' is never reached: rule 'a' before it matches all that it does.",
        ),
        ([rule("a", "CT1"), rule("a", "CT2")], "Rule 'a' is there twice: give each a name of its own."),
        ([rule("a", called=("OTHER",))], "Rule 'a' asks for called AE title OTHER, which is none of ours"),
        ([rule("a", forward=("NOWHERE",))], "Rule 'a' sends to NOWHERE, which is no destination"),
        ([rule("a", destinations=("NOWHERE",))], "Rule 'a' sends to NOWHERE, which is no destination"),
    ],
)
def test_wrong_rules_are_named(rules: list[Rule], sentence: str) -> None:
    assert any(trouble.startswith(sentence) for trouble in RuleBook(tuple(rules)).troubles(["NODUS"], ["PACS"]))


def test_rules_that_can_all_fire_are_not_wrong() -> None:
    rules = (rule("a", "CT1"), rule("b", where={"Modality": "CT"}), rule("c", "CT2"), rule("d", forward=("PACS",)))
    assert list(RuleBook(rules).troubles(["NODUS"], ["PACS"])) == []


@pytest.mark.parametrize("text", ["", "@10.0.0.5", "A-LONG-AE-TITLE-X@10.0.0.5"])
def test_a_sender_that_is_none_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no AE title or AET@NETWORK"):
        caller(text)


def test_a_sender_with_an_at_in_its_name_is_understood() -> None:
    assert str(caller("CT@HOME@10.0.0.5")) == "CT@HOME@10.0.0.5/32"
    assert str(caller("CT@HOME")) == "CT@HOME"
