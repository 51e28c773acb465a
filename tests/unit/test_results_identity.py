"""Patient and study attributes reach the results as they are in the source, in any script."""

from copy import deepcopy
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, Sequence, dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from node.domain.language import Language
from tests.builders import Scan
from tests.readings import Reading, not_analysed, reading, result_request, unbroken
from tests.realdata import folder
from workers.results import Style, broken_rules, encode_seg, encode_sr


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    return reading(tmp_path_factory.mktemp("one"), 1)


def with_attributes(found: Reading, source: Dataset, keywords: tuple[str, ...]) -> tuple[Dataset, ...]:
    """Copies of the headers with some attributes of another data set; absent there means absent here."""
    headers = []
    for original in found.series.headers:
        header = deepcopy(original)
        for keyword in keywords:
            if keyword in source:
                header[keyword] = source[keyword]
            elif keyword in header:
                del header[keyword]
        headers.append(header)
    return tuple(headers)


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 192", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ISO_IR 100", "Buc^Jérôme"),
        ("ISO_IR 144", "Люкceмбypг"),
        ("\\ISO 2022 IR 149", "Hong^Gildong=洪^吉洞=홍^길동"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
    ],
)
def test_names_in_any_script_survive(charset: str, name: str, tmp_path: Path) -> None:
    found = reading(tmp_path, 1, Scan(name=name, charset=charset))
    for result in unbroken(result_request(found)):
        written = dcmread(BytesIO(result.data))
        source = dcmread(sorted(tmp_path.iterdir())[0])
        assert str(written.PatientName) == name
        assert written.get("SpecificCharacterSet") == source.get("SpecificCharacterSet")


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore")
def test_every_character_set_of_the_corpus_survives(one: Reading) -> None:
    paths = sorted(folder("corpus/pydicom-charset").glob("*.dcm"))
    assert len(paths) > 15
    keywords = ("SpecificCharacterSet", "PatientName", "PatientID", "StudyDescription", "ReferringPhysicianName")
    for path in paths:
        source = dcmread(path)
        headers = with_attributes(one, source, keywords)
        for result in unbroken(result_request(one, headers=headers)):
            written = dcmread(BytesIO(result.data))
            for keyword in keywords[1:]:
                assert str(written.get(keyword, "")) == str(source.get(keyword, "")), (path.name, keyword)


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("language", [Language.ZH, Language.DE])
def test_every_character_set_of_the_corpus_survives_beside_a_report_in_another_language(
    language: Language, one: Reading
) -> None:
    keywords = ("SpecificCharacterSet", "PatientName", "ReferringPhysicianName")
    for path in sorted(folder("corpus/pydicom-charset").glob("*.dcm")):
        source = dcmread(path)
        request = result_request(one, headers=with_attributes(one, source, keywords), style=Style(language))
        for result in (encode_seg(request), encode_sr(request)):
            assert broken_rules(result, request) == (), path.name
            written = dcmread(BytesIO(result.data))
            for keyword in keywords[1:]:
                assert str(written.get(keyword, "")) == str(source.get(keyword, "")), (path.name, keyword)


def test_what_does_not_fit_its_declared_character_set_is_written_as_unicode(one: Reading) -> None:
    source = Dataset()
    source.SpecificCharacterSet = "ISO_IR 6"
    source.PatientName, source.StudyDescription = "山田^太郎", "Übersicht"
    headers = with_attributes(one, source, ("SpecificCharacterSet", "PatientName", "StudyDescription"))
    for result in unbroken(result_request(one, headers=headers)):
        written = dcmread(BytesIO(result.data))
        assert written.SpecificCharacterSet == "ISO_IR 192"
        assert (str(written.PatientName), written.StudyDescription) == ("山田^太郎", "Übersicht")


def test_missing_attributes_are_written_empty_and_extra_ones_copied(one: Reading) -> None:
    source = Dataset()
    source.IssuerOfPatientID = "HOSPITAL"
    other = Dataset()
    other.PatientID, other.IssuerOfPatientID = "OTHER-1", "ELSEWHERE"
    source.OtherPatientIDsSequence = Sequence([other])
    keywords = (
        *("AccessionNumber", "StudyID", "PatientSex", "PatientBirthDate", "ReferringPhysicianName", "PatientAge"),
        *("IssuerOfPatientID", "OtherPatientIDsSequence", "SpecificCharacterSet", "StudyTime"),
    )
    headers = with_attributes(one, source, keywords)
    for result in unbroken(result_request(one, headers=headers)):
        written = dcmread(BytesIO(result.data))
        for keyword in ("AccessionNumber", "StudyID", "PatientSex", "PatientBirthDate", "StudyTime"):
            assert keyword in written
            assert not written[keyword].value
        assert "PatientAge" not in written
        assert written.IssuerOfPatientID == "HOSPITAL"
        assert written.OtherPatientIDsSequence[0].PatientID == "OTHER-1"


@pytest.mark.filterwarnings("ignore")
def test_values_that_break_a_rule_are_copied_as_they_are(one: Reading) -> None:
    source = Dataset()
    source.add_new("PatientSex", "CS", "female")
    source.add_new("PatientBirthDate", "DA", "1960")
    source.add_new("StudyTime", "TM", "10:11:12")
    source.add_new("AccessionNumber", "SH", "MUCH-LONGER-THAN-SIXTEEN")
    headers = with_attributes(one, source, ("PatientSex", "PatientBirthDate", "StudyTime", "AccessionNumber"))
    for result in unbroken(result_request(one, headers=headers)):
        written = dcmread(BytesIO(result.data))
        assert (written.PatientSex, str(written.PatientBirthDate)) == ("female", "1960")
        assert (str(written.StudyTime), written.AccessionNumber) == ("10:11:12", "MUCH-LONGER-THAN-SIXTEEN")


def test_the_order_behind_the_scan_is_named_in_the_report(one: Reading) -> None:
    order, source = Dataset(), Dataset()
    order.RequestedProcedureID, order.AccessionNumber = "RP-1", "ACC-1"
    source.RequestAttributesSequence = Sequence([order])
    headers = with_attributes(one, source, ("RequestAttributesSequence",))
    report = dcmread(BytesIO(unbroken(result_request(one, headers=headers))[1].data))
    (request,) = report.ReferencedRequestSequence
    assert (request.RequestedProcedureID, request.AccessionNumber) == ("RP-1", "ACC-1")
    assert request.StudyInstanceUID == report.StudyInstanceUID


def test_a_source_that_cannot_be_analysed_needs_no_geometry(one: Reading) -> None:
    bare = Dataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID"):
        bare[keyword] = one.series.headers[0][keyword]
    request = not_analysed(one)
    results = unbroken(type(request)(**{**vars(request), "headers": (bare,)}))
    assert dcmread(BytesIO(results[0].data)).PatientID == "TEST-0001"


def spoiled(found: Reading, folder: Path, keyword: str, raw: bytes) -> tuple[Dataset, ...]:
    """The headers as they come from files in which one attribute has these bytes."""
    headers = []
    for number, original in enumerate(found.series.headers):
        header = deepcopy(original)
        tag = Tag(keyword)
        header._dict[tag] = RawDataElement(tag, dictionary_VR(tag), len(raw), raw, 0, False, True)
        path = folder / f"{number:04}.dcm"
        header.save_as(path)
        headers.append(dcmread(path))
    return tuple(headers)


def test_an_attribute_that_cannot_be_read_costs_itself_and_no_report(one: Reading, tmp_path: Path) -> None:
    one_byte = spoiled(one, tmp_path, "PregnancyStatus", b"\1")
    for result in unbroken(result_request(one, headers=one_byte)):
        document = dcmread(BytesIO(result.data))
        assert "PregnancyStatus" not in document
        assert document.PatientID == "TEST-0001"


@pytest.mark.parametrize("offset", ["+9999", "-1430", "+0299", "0200", "+02:0"])
def test_an_impossible_time_zone_counts_as_none(offset: str, one: Reading, tmp_path: Path) -> None:
    headers = spoiled(one, tmp_path, "TimezoneOffsetFromUTC", offset.encode() + b" ")
    for result in unbroken(result_request(one, headers=headers)):
        document = dcmread(BytesIO(result.data))
        assert "TimezoneOffsetFromUTC" not in document
        written = document.get("ContentTime") or document.PresentationCreationTime
        assert written == "050607.000089"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("charset", ["ISO_IR 192", "ISO IR 100"])
def test_a_name_in_other_bytes_or_under_a_misspelled_character_set_is_copied_and_breaks_no_rule(
    charset: str, one: Reading, tmp_path: Path
) -> None:
    source = Dataset()
    source.add_new("SpecificCharacterSet", "CS", charset)
    declared = result_request(one, headers=with_attributes(one, source, ("SpecificCharacterSet",)))
    series = replace(one.series, headers=declared.headers)
    headers = spoiled(replace(one, series=series), tmp_path, "PatientName", b"Buc^J\xe9r\xf4me ")
    for result in unbroken(result_request(one, headers=headers)):
        assert str(dcmread(BytesIO(result.data)).PatientName) == str(headers[0].PatientName)
