"""domain/eligibility.py: every refusal and every limitation at its boundary, and which series is best."""

import math
from dataclasses import replace
from typing import Any

import pytest

from node.domain.eligibility import (
    LIMITATIONS,
    LOSSY_SYNTAXES,
    NOT_A_SLICE,
    REFUSALS,
    Eligibility,
    Level,
    best,
    judge,
    may_be_chest,
)
from node.domain.instance import InstanceHeader
from tests.studies import Series, frame, with_ct

GOOD = Series()


def stepped(step_mm: float, thickness_mm: float | None = None, count: int = 64) -> list[InstanceHeader]:
    return Series(step_mm=step_mm, thickness_mm=thickness_mm or step_mm, count=count).headers()


def tilted(degrees: float) -> list[InstanceHeader]:
    """The planes turned about the left-right axis, stacked along their normal."""
    angle = math.radians(degrees)
    orientation = (1.0, 0.0, 0.0, 0.0, math.cos(angle), math.sin(angle))
    return [
        with_ct([header], frames=(frame(n * 2.5 * math.cos(angle), 0, -n * 2.5 * math.sin(angle), orientation),))[0]
        for n, header in enumerate(GOOD.headers())
    ]


def turned_by(degrees: float) -> list[InstanceHeader]:
    """One slice in the middle turned against the others."""
    angle = math.radians(degrees)
    headers = GOOD.headers()
    orientation = (math.cos(angle), 0.0, -math.sin(angle), 0.0, 1.0, 0.0)
    headers[30] = with_ct(headers[30:31], frames=(frame(-125, -150, -150, orientation),))[0]
    return headers


def sheared(degrees: float) -> list[InstanceHeader]:
    shift = math.tan(math.radians(degrees))
    return [with_ct([each], frames=(frame(n * 2.5, 0, n * 2.5 * shift),))[0] for n, each in enumerate(GOOD.headers())]


def first_has(**changes: Any) -> list[InstanceHeader]:
    """A good series whose first slice differs in CT attributes."""
    headers = GOOD.headers()
    return [*with_ct(headers[:1], **changes), *headers[1:]]


def test_a_whole_thin_axial_chest_is_read_in_full() -> None:
    verdict = judge(GOOD.headers())
    assert (verdict.level, verdict.refusals, verdict.reasons) == (Level.FULL, (), ())
    assert verdict.instance_uids == tuple(sorted(GOOD.instance_uid(n) for n in range(64)))


REFUSED: dict[str, list[tuple[list[InstanceHeader], list[InstanceHeader]]]] = {
    # code: (just refused, just not refused)
    "geometry-missing": [
        (first_has(frames=()), GOOD.headers()),
        (with_ct(GOOD.headers(), pixel_spacing_mm=None), GOOD.headers()),
    ],
    "size-varies": [
        (first_has(rows=8), GOOD.headers()),
        (first_has(pixel_spacing_mm=(0.7, 0.71)), GOOD.headers()),
    ],
    "orientation-varies": [
        (turned_by(1.0), turned_by(0.5)),
    ],
    "not-axial": [(tilted(10.2), tilted(9.8)), (tilted(-10.2), tilted(-9.8))],
    "too-few-slices": [(GOOD.headers(range(39)), GOOD.headers(range(40)))],
    "position-twice": [
        (first_has(frames=(frame(-197.5, -150, -150),)), GOOD.headers()),
    ],
    "slices-missing": [
        (GOOD.headers([n for n in range(64) if n != 30]), GOOD.headers(range(63))),
        (first_has(frames=(frame(-200.14, -150, -150),)), first_has(frames=(frame(-200.12, -150, -150),))),
    ],
    "gantry-tilt": [(sheared(1.0), sheared(0.5)), (sheared(-1.0), sheared(-0.5))],
    "pixel-spacing": [
        (with_ct(GOOD.headers(), pixel_spacing_mm=(0.29, 0.29)), with_ct(GOOD.headers(), pixel_spacing_mm=(0.3, 0.3))),
        (with_ct(GOOD.headers(), pixel_spacing_mm=(1.21, 1.21)), with_ct(GOOD.headers(), pixel_spacing_mm=(1.2, 1.2))),
        (with_ct(GOOD.headers(), pixel_spacing_mm=(0.7, 1.3)), GOOD.headers()),
    ],
    "slices-too-thick": [
        (stepped(5.1), stepped(5.05)),
        (stepped(2.5, 5.1), stepped(2.5, 5.05)),
        (stepped(5.1, 2.5), stepped(5.0, 2.5)),
    ],
    "not-hounsfield": [(first_has(rescaled=False), GOOD.headers())],
    "burned-in": [(first_has(burned_in=True), GOOD.headers())],
    "under-age": [
        (with_ct(GOOD.headers(), patient_age_years=17), with_ct(GOOD.headers(), patient_age_years=18)),
        (with_ct(GOOD.headers(), patient_age_years=1), with_ct(GOOD.headers(), patient_age_years=None)),
    ],
    "patient-varies": [
        ([replace(GOOD.headers()[0], patient_id="another"), *GOOD.headers()[1:]], GOOD.headers()),
        (
            [replace(GOOD.headers()[0], patient_name="Other^Person"), *GOOD.headers()[1:]],
            [replace(GOOD.headers()[0], patient_name="Nodus^Test^^"), *GOOD.headers()[1:]],
        ),
        ([replace(GOOD.headers()[0], patient_birth_date="19600103"), *GOOD.headers()[1:]], GOOD.headers()),
        ([replace(GOOD.headers()[0], patient_sex="F"), *GOOD.headers()[1:]], GOOD.headers()),
        ([replace(GOOD.headers()[0], issuer_of_patient_id="OTHER"), *GOOD.headers()[1:]], GOOD.headers()),
        ([replace(GOOD.headers()[0], frame_of_reference_uid="1.2.3"), *GOOD.headers()[1:]], GOOD.headers()),
    ],
}


@pytest.mark.parametrize(
    ("code", "refused", "passed"), [(code, *pair) for code, pairs in REFUSED.items() for pair in pairs]
)
def test_each_refusal_fires_at_its_boundary_and_alone(
    code: str, refused: list[InstanceHeader], passed: list[InstanceHeader]
) -> None:
    verdict = judge(refused)
    assert verdict.level is Level.REFUSED
    assert verdict.refusals == (code,)
    assert len(verdict.reasons) == 1
    assert (verdict.instance_uids, verdict.digest, verdict.score) == ((), "", ())
    assert judge(passed).level is not Level.REFUSED


def test_every_refusal_has_a_boundary_here_and_a_sentence_of_its_own() -> None:
    assert set(REFUSED) == {rule.code for rule in REFUSALS}
    sentences = [rule.sentence for rule in (*REFUSALS, *(rule for _, rule in LIMITATIONS))]
    assert len(set(sentences)) == len(sentences)
    assert all(sentence.endswith(".") for sentence in sentences)


def test_every_reason_is_named_when_several_rules_refuse() -> None:
    verdict = judge(with_ct(GOOD.headers(range(20)), burned_in=True, patient_age_years=12))
    assert verdict.refusals == ("too-few-slices", "burned-in", "under-age")
    assert len(verdict.reasons) == 3


def test_a_series_without_ct_images_is_refused_as_that() -> None:
    assert judge([replace(header, ct=None) for header in GOOD.headers()]).refusals == ("not-ct",)
    assert judge([]).refusals == ("not-ct",)


@pytest.mark.parametrize("word", sorted(NOT_A_SLICE))
def test_each_word_for_something_derived_is_no_slice(word: str) -> None:
    verdict = judge(with_ct(GOOD.headers(), image_type=("ORIGINAL", "PRIMARY", word)))
    assert verdict.refusals == ("not-original-axial",)


@pytest.mark.parametrize(
    ("image_type", "readable"),
    [
        ((), True),
        (("ORIGINAL", "PRIMARY"), True),
        (("ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"), True),
        (("DERIVED", "PRIMARY", "AXIAL"), True),
        (("DERIVED", "PRIMARY"), False),
        (("DERIVED", "PRIMARY", "OTHER"), False),
        (("ORIGINAL", "PRIMARY", "PROJECTION IMAGE"), False),
        (("ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 MPR"), False),
    ],
)
def test_image_type_decides_what_is_a_slice(image_type: tuple[str, ...], readable: bool) -> None:
    assert (judge(with_ct(GOOD.headers(), image_type=image_type)).level is not Level.REFUSED) is readable


def test_another_modality_is_no_slice() -> None:
    assert judge([replace(header, modality="PT") for header in GOOD.headers()]).refusals == ("not-original-axial",)
    assert judge([replace(header, modality="") for header in GOOD.headers()]).level is Level.FULL


def test_a_localizer_in_the_series_is_left_out_of_the_reading() -> None:
    scout = with_ct(Series(series="scout").headers([0]), image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"), rows=99)
    verdict = judge([*GOOD.headers(), *scout])
    assert verdict == judge(GOOD.headers())


@pytest.mark.parametrize(
    ("headers", "level", "reason"),
    [
        (stepped(3.1), Level.DEGRADED, "thicker than 3 mm"),
        (stepped(3.05), Level.FULL, ""),
        (stepped(2.5, 3.1), Level.DEGRADED, "thicker than 3 mm"),
        (stepped(5.05), Level.DEGRADED, "thicker than 3 mm"),
        (with_ct(GOOD.headers(), lossy=True), Level.PARTIAL, "compressed with loss"),
        (first_has(lossy=True), Level.PARTIAL, "compressed with loss"),
        (stepped(2.5, count=60), Level.PARTIAL, "covers less than 150 mm"),  # 59 steps: 147.5 mm
        (stepped(2.5, count=61), Level.FULL, ""),
    ],
)
def test_each_limitation_fires_at_its_boundary(headers: list[InstanceHeader], level: Level, reason: str) -> None:
    verdict = judge(headers)
    assert verdict.level is level
    assert [reason in text for text in verdict.reasons] == [True] * bool(reason)


@pytest.mark.parametrize("syntax", sorted(LOSSY_SYNTAXES))
def test_a_lossy_transfer_syntax_is_a_limitation_even_when_the_tag_is_silent(syntax: str) -> None:
    headers = [replace(header, transfer_syntax_uid=syntax) for header in GOOD.headers()]
    assert judge(headers).level is Level.PARTIAL


def test_degraded_wins_over_partial_and_both_are_named() -> None:
    verdict = judge(with_ct(stepped(4.0), lossy=True))
    assert verdict.level is Level.DEGRADED
    assert len(verdict.reasons) == 2


def test_of_two_acquisitions_in_one_series_the_longer_is_read() -> None:
    long = GOOD.headers()
    short = with_ct(Series(series="2").headers(range(50)), acquisition_number=2)
    assert judge([*short, *long]).instance_uids == judge(long).instance_uids


def test_of_two_equal_acquisitions_the_first_is_read() -> None:
    one, two = GOOD.headers(), with_ct(Series(series="2").headers(), acquisition_number=2)
    assert judge([*two, *one]).instance_uids == judge(one).instance_uids


def test_the_digest_depends_on_the_images_and_not_on_their_order() -> None:
    headers = GOOD.headers()
    assert judge(headers).digest == judge(headers[::-1]).digest
    assert judge(headers).digest != judge(headers[:-1]).digest
    assert judge(headers).digest != judge([replace(headers[0], version="ab" * 32), *headers[1:]]).digest


def verdict_on(series: Series, **ct: Any) -> Eligibility:
    return judge(with_ct(series.headers(), **ct))


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (verdict_on(GOOD), verdict_on(Series(thickness_mm=4))),
        (verdict_on(GOOD), verdict_on(GOOD, lossy=True)),
        (verdict_on(GOOD, lossy=True), verdict_on(Series(thickness_mm=4))),
        (verdict_on(GOOD), verdict_on(GOOD.having(SeriesDescription="Thorax EXP 1.0"))),
        (verdict_on(Series(step_mm=1.5, thickness_mm=1.5, count=128)), verdict_on(GOOD)),
        (verdict_on(GOOD), verdict_on(GOOD, contrast=True)),
        (verdict_on(GOOD, columns=768, rows=768), verdict_on(GOOD)),
        (verdict_on(Series(count=80)), verdict_on(GOOD)),
        (verdict_on(GOOD, content_time="120000.5"), verdict_on(GOOD, content_time="110000")),
        (verdict_on(GOOD, content_time="12"), verdict_on(GOOD, content_time="1130")),
        (verdict_on(GOOD, content_time="0000"), verdict_on(Series(thickness_mm=4), content_time="²²")),
        (verdict_on(GOOD, content_time="000001"), verdict_on(GOOD, content_time="²²")),
    ],
)
def test_the_better_series_scores_higher(better: Eligibility, worse: Eligibility) -> None:
    assert best([("1.1", worse), ("1.2", better)]) == "1.2"
    assert best([("1.1", better), ("1.2", worse)]) == "1.1"


@pytest.mark.parametrize("limit_mm", [1.5, 2.0, 2.5])
def test_thinner_is_better_at_each_step(limit_mm: float) -> None:
    thin = verdict_on(Series(step_mm=limit_mm, thickness_mm=limit_mm + 0.05, count=120))
    thick = verdict_on(Series(step_mm=limit_mm, thickness_mm=limit_mm + 0.06, count=120))
    assert best([("1.1", thick), ("1.2", thin)]) == "1.2"


def test_of_equal_series_the_lowest_uid_is_chosen_in_any_order() -> None:
    same = judge(GOOD.headers())
    assert best([("1.2", same), ("1.1", same), ("1.3", same)]) == "1.1"


def test_nothing_is_best_when_everything_is_refused() -> None:
    assert best([("1.1", judge([]))]) is None
    assert best([]) is None


@pytest.mark.parametrize(
    ("texts", "chest"),
    [
        ({"BodyPartExamined": "CHEST"}, True),
        ({"BodyPartExamined": "HEAD", "StudyDescription": "CT Schaedel", "SeriesDescription": "s"}, False),
        ({"BodyPartExamined": "", "StudyDescription": "", "SeriesDescription": ""}, True),
        ({"BodyPartExamined": "PELVIS", "StudyDescription": "TAP mit KM", "SeriesDescription": ""}, True),
        ({"BodyPartExamined": "KNEE", "StudyDescription": "", "SeriesDescription": "2.0"}, False),
        ({"BodyPartExamined": "KNEE", "StudyDescription": "", "SeriesDescription": "Lunge 1.0"}, True),
        ({"BodyPartExamined": "ABDOMEN", "StudyDescription": "", "SeriesDescription": ""}, True),
    ],
)
def test_texts_say_whether_somebody_may_wait_for_a_reading(texts: dict[str, str], chest: bool) -> None:
    assert may_be_chest(GOOD.having(**texts).headers([0])) is chest


def test_only_ct_images_can_be_a_chest() -> None:
    head = GOOD.having(BodyPartExamined="HEAD", StudyDescription="", SeriesDescription="").headers([0])
    report = [replace(header, ct=None, series_description="chest") for header in head]
    assert may_be_chest([*head, *report]) is False
