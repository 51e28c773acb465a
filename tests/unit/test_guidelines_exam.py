"""What an exam was made for: by a site's words and senders, and nothing where they do not say."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from pydicom import Dataset, dcmread

from node.domain.exam import Exam, ExamRules, Purpose
from node.errors import SettingsError
from node.settings import Settings, load
from node.settings.tables import GuidelineSettings
from tests.builders import ct_series, write_series
from tests.readings import reading
from tests.unit.test_results_identity import spoiled
from workers.guidelines.headers import age_of, exam_of

SCREENING, INCIDENTAL = Purpose.SCREENING, Purpose.INCIDENTAL
WORDS = ExamRules(screening_words=("lung screening", "LCS"), incidental_words=("trauma", "CTPA"))


@pytest.mark.parametrize(
    ("text", "purpose"),
    [
        ("CT LUNG SCREENING", SCREENING),
        ("ct_lung-screening, low dose", SCREENING),
        ("Lung  Screening", SCREENING),
        ("LCS baseline", SCREENING),
        ("Lung cancer screening", None),
        ("Lung screenings", None),
        ("BALCS", None),
        ("LCS2", None),
        ("Polytrauma", None),
        ("CT trauma scan", INCIDENTAL),
        ("CTPA", INCIDENTAL),
        ("CT Thorax", None),
        ("", None),
    ],
)
def test_whole_words_in_any_case_and_spelling_decide(text: str, purpose: Purpose | None) -> None:
    found = WORDS.purpose_of({"StudyDescription": text}, ())
    assert (found[0] if found else None) is purpose


def test_screening_goes_before_incidental_whatever_comes_first() -> None:
    texts = {"RequestedProcedureDescription": "CT trauma", "ProtocolName": "lung screening"}
    assert WORDS.purpose_of(texts, ()) == (SCREENING, "ProtocolName has 'lung screening'")


def test_what_decided_is_told_in_the_words_of_the_settings_alone() -> None:
    texts = {"StudyDescription": "Lung screening of Mrs Miller, 12345"}
    assert WORDS.purpose_of(texts, ()) == (SCREENING, "StudyDescription has 'lung screening'")


def test_a_sender_decides_where_it_is_named_and_a_star_decides_for_all_others() -> None:
    rules = ExamRules(screening_senders=("LDCT1",), incidental_senders=("*",))
    assert rules.purpose_of({}, ["LDCT1"]) == (SCREENING, "it came from LDCT1")
    assert rules.purpose_of({}, ["CT2", "LDCT1"]) == (SCREENING, "it came from LDCT1")
    assert rules.purpose_of({}, ["ldct1"]) == (INCIDENTAL, "the settings say so of every exam")
    assert rules.purpose_of({}, ()) == (INCIDENTAL, "the settings say so of every exam")
    assert ExamRules(incidental_senders=("CT2",)).purpose_of({}, ["CT1"]) is None


def test_by_default_no_purpose_is_known() -> None:
    assert Settings().guidelines.rules() == ExamRules()
    header = Dataset()
    header.StudyDescription = "Lung cancer screening, incidental nodule"
    assert exam_of(header, ExamRules(), ["CT1"]) is None


def with_order(text: str) -> Dataset:
    header, order = Dataset(), Dataset()
    order.RequestedProcedureDescription = text
    header.RequestAttributesSequence = [Dataset(), order]
    return header


def test_request_study_and_protocol_are_looked_into_and_nothing_else() -> None:
    for keyword in ("RequestedProcedureDescription", "StudyDescription", "ProtocolName"):
        header = Dataset()
        setattr(header, keyword, "LCS")
        assert exam_of(header, WORDS) == Exam(SCREENING, f"{keyword} has 'LCS'", None, None)
    for keyword in ("SeriesDescription", "PatientComments", "BodyPartExamined"):
        header = Dataset()
        setattr(header, keyword, "LCS")
        assert exam_of(header, WORDS) is None
    assert exam_of(with_order("LCS"), WORDS) == Exam(SCREENING, "RequestedProcedureDescription has 'LCS'", None, None)


def test_a_word_of_another_script_is_found_in_an_order_that_is_written_in_the_character_set_of_the_image(
    tmp_path: Path,
) -> None:
    image = ct_series(reading(tmp_path / "scan", 0).series.volume.hu[:1])[0]
    image.RequestAttributesSequence = with_order("Früherkennung").RequestAttributesSequence
    (path,) = write_series([image], tmp_path / "image")
    rules = ExamRules(screening_words=("FRÜHERKENNUNG",))
    assert exam_of(dcmread(path), rules) is not None


@pytest.mark.parametrize("raw", [b"\1\2\3\4", b"\xfe\xff\x00\xe0\xff\xff\xff\x7f"])
def test_orders_that_cannot_be_read_decide_nothing(raw: bytes, tmp_path: Path) -> None:
    found = reading(tmp_path / "scan", 0)
    header = spoiled(found, tmp_path, "RequestAttributesSequence", raw)[0]
    assert exam_of(header, WORDS) is None
    assert exam_of(header, ExamRules(screening_words=("CT thorax",))) is not None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("sex", "female"), [("F", True), ("M", False), ("O", None), ("", None), ("female", None)])
def test_sex_is_known_where_the_images_say_female_or_male(sex: str, female: bool | None) -> None:
    header = with_order("LCS")
    header.add_new("PatientSex", "CS", sex)
    exam = exam_of(header, WORDS)
    assert exam is not None
    assert exam.female is female


@pytest.mark.parametrize(
    ("age", "born", "studied", "years"),
    [
        ("064Y", "19600102", "20240203", 64),
        ("035Y", "", "", 35),
        ("", "19890203", "20240203", 35),
        ("", "19890204", "20240203", 34),
        ("", "19890202", "20240203", 35),
        ("000Y", "19600102", "20240203", 64),
        ("", "19000101", "20240203", None),
        ("", "20250101", "20240203", None),
        ("", "1960", "20240203", None),
        ("", "19601399", "20240203", None),
        ("", "19600102", "", None),
        ("", "", "", None),
    ],
)
def test_age_is_what_the_images_say_else_from_birth_to_study(
    age: str, born: str, studied: str, years: int | None
) -> None:
    header = Dataset()
    header.PatientAge = age
    for keyword, value in (("PatientBirthDate", born), ("StudyDate", studied)):
        header.add_new(keyword, "LO", value)
    assert age_of(header) == years


def test_the_settings_are_plain_words_and_ae_titles(tmp_path: Path) -> None:
    file = tmp_path / "nodus.toml"
    file.write_text('[guidelines]\nscreening_words = [" Lung Screening "]\nincidental_senders = ["*"]\n')
    settings = load(file)
    assert settings.guidelines.rules() == ExamRules(screening_words=("Lung Screening",), incidental_senders=("*",))
    assert '"screening_words": ["Lung Screening"]' in settings.environment()["NODUS_GUIDELINES"]
    file.write_text('[guidelines]\nscreening_words = ["--"]\n')
    with pytest.raises(
        SettingsError, match=r"guidelines.screening_words.0: Value error, a word has at least one letter"
    ):
        load(file)
    with pytest.raises(ValidationError):
        GuidelineSettings(screening_senders=("A TITLE TOO LONG FOR DICOM",))
