"""domain/query.py and domain/matching.py: matching of C-FIND keys by PS3.4 C.2.2.2."""

import pytest

from node.domain.matching import Key, Value, matches, selects
from node.domain.query import JOB_KEYS, PATIENT_ROOT, STUDY_ROOT, Query, QueryLevel


@pytest.mark.parametrize("vr", ["UI", "DA", "TM", "DT", "PN", "LO", "CS", "IS", "US", "SH"])
@pytest.mark.parametrize("value", ["something", "", None, ("a", "b"), 7])
def test_an_empty_key_matches_everything(vr: str, value: Value) -> None:
    assert matches(vr, "", value)


@pytest.mark.parametrize("vr", ["PN", "LO", "CS", "SH"])
@pytest.mark.parametrize("value", ["something", "", None])
def test_a_star_matches_everything_where_wild_cards_are_allowed(vr: str, value: Value) -> None:
    assert matches(vr, "*", value)
    assert matches(vr, "**", value)


@pytest.mark.parametrize(
    ("vr", "key"),
    [("LO", "a"), ("LO", "?"), ("PN", "a*"), ("DA", "20240101-"), ("UI", "1.2"), ("IS", "3"), ("US", "3")],
)
@pytest.mark.parametrize("value", [None, "", ()])
def test_an_absent_value_matches_no_key_that_asks_for_something(vr: str, key: str, value: Value) -> None:
    assert not matches(vr, key, value)


@pytest.mark.parametrize(
    ("vr", "key", "value", "expected"),
    [
        # UI: list of UIDs, no wild card, no prefix
        ("UI", "1.2.3", "1.2.3", True),
        ("UI", "1.2.3", "1.2.30", False),
        ("UI", "1.2.9\\1.2.3", "1.2.3", True),
        ("UI", "1.2.*", "1.2.3", False),
        ("UI", "*", "1.2.3", False),
        # DA, TM, DT: single and range, open on either side
        ("DA", "20240203", "20240203", True),
        ("DA", "20240203", "20240204", False),
        ("DA", "20240203-20240205", "20240203", True),
        ("DA", "20240203-20240205", "20240205", True),
        ("DA", "20240203-20240205", "20240206", False),
        ("DA", "20240203-20240205", "20240202", False),
        ("DA", "20240203-", "20991231", True),
        ("DA", "20240203-", "20240202", False),
        ("DA", "-20240203", "19000101", True),
        ("DA", "-20240203", "20240204", False),
        ("DA", "2024*", "20240203", False),
        ("TM", "101112", "101112.123456", True),
        ("TM", "1000-1100", "105959", True),
        ("TM", "1000-1100", "110030", True),
        ("TM", "1000-1100", "110100", False),
        ("TM", "10:00-11:00", "103000", True),
        ("TM", "-1000", "095959", True),
        ("DT", "20240203101112-20240204", "20240204235959", True),
        # text: case counts, wild cards, several values
        ("LO", "CT Thorax", "CT Thorax", True),
        ("LO", "ct thorax", "CT Thorax", False),
        ("LO", "CT*", "CT Thorax", True),
        ("LO", "*Thor*", "CT Thorax", True),
        ("LO", "CT ?horax", "CT Thorax", True),
        ("LO", "CT ?", "CT Thorax", False),
        ("LO", "CT", "CT Thorax", False),
        ("SH", "A[12]", "A1", False),
        ("SH", "A[12]", "A[12]", True),
        ("SH", "A.1", "AX1", False),
        ("CS", "CT\\MR", "MR", True),
        ("CS", "CT\\MR", "PT", False),
        # numbers: equal as numbers
        ("IS", "3", "3", True),
        ("IS", "03", 3, True),
        ("IS", "3", "30", False),
        ("IS", "3*", "3", False),
        ("US", "512", 512, True),
        # several values on our side: any of them
        ("CS", "CT", ("PT", "CT"), True),
        ("CS", "MR", ("PT", "CT"), False),
        ("CS", "C*", ("PT", "CT"), True),
    ],
)
def test_each_vr_matches_as_the_standard_says(vr: str, key: str, value: Value, expected: bool) -> None:
    assert matches(vr, key, value) is expected


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("Müller^Jürgen", "MULLER^JURGEN", True),
        ("muller*", "Müller^Jürgen", True),
        ("MULLER^JURGEN", "Müller^Jürgen^^Dr.", False),
        ("Müller^Jürgen", "Müller^Jürgen^^", True),
        ("Müller^Jürgen^^", "Müller^Jürgen", True),
        ("Müller", "Müller^Jürgen", False),
        ("*jürgen", "Müller^Jürgen", True),
        ("m?ller^*", "Müller^Jürgen", True),
        ("Yamada^Tarou", "Yamada^Tarou=山田^太郎=やまだ^たろう", True),
        ("山田*", "Yamada^Tarou=山田^太郎=やまだ^たろう", True),
        ("*たろう", "Yamada^Tarou=山田^太郎=やまだ^たろう", True),
        ("鈴木*", "Yamada^Tarou=山田^太郎=やまだ^たろう", False),
        ("STRASSE^A", "Straße^A", True),
    ],
)
def test_names_match_without_case_and_accents_in_any_component_group(key: str, value: str, expected: bool) -> None:
    assert matches("PN", key, value) is expected


def test_every_key_must_match() -> None:
    row = {"PatientID": "P1", "StudyDate": "20240203", "Modality": "CT"}
    assert Query(QueryLevel.STUDY, {"PatientID": "P*", "StudyDate": "20240101-"}).selects(row)
    assert not Query(QueryLevel.STUDY, {"PatientID": "P*", "StudyDate": "20250101-"}).selects(row)


def test_a_key_of_a_lower_level_does_not_select() -> None:
    row = {"PatientID": "P1", "SeriesInstanceUID": "1.2"}
    assert Query(QueryLevel.STUDY, {"SeriesInstanceUID": "9.9"}).selects(row)
    assert not Query(QueryLevel.SERIES, {"SeriesInstanceUID": "9.9"}).selects(row)


def test_job_keys_select_like_others() -> None:
    row: dict[str, Value] = {"JobState": "DONE", "Attempts": 2, "Queued": "20240203101112"}
    assert Query(QueryLevel.STUDY, job_keys={"JobState": "D*", "Attempts": "2", "Queued": "20240203-"}).selects(row)
    assert not Query(QueryLevel.STUDY, job_keys={"JobState": "QUEUED"}).selects(row)


def test_no_two_job_keys_share_an_element() -> None:
    assert len({number for number, _ in JOB_KEYS.values()}) == len(JOB_KEYS)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("20240203101112", "20240203101112", True),
        ("20240203101112", "20240203111112+0100", True),
        ("20240203101112+0000", "20240203051112-0500", True),
        ("20240203", "20240203235959", True),
        ("20240203", "20240204000000", False),
        ("2024-2025", "20250630", True),
        ("2024-2025", "20260101", False),
        ("-20240203120000", "20240203115959", True),
        ("-20240203120000", "20240203120001", False),
        ("20240203120000-0500-", "20240203170000", True),
        ("20240203120000-0500-", "20240203165959", False),
        ("20240203120000+0100-20240203130000+0100", "20240203113000", True),
        ("yesterday", "20240203", False),
        ("20249999", "20240203", False),
        ("2024", "no moment", False),
    ],
)
def test_moments_match_whatever_their_offset_from_utc(key: str, value: str, expected: bool) -> None:
    assert matches("DT", key, value) is expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("Yamada^Tarou=山田^太郎", True),
        ("Yamada*=山田*", True),
        ("=山田^太郎", True),
        ("==やまだ*", True),
        ("Yamada^Tarou=鈴木^太郎", False),
        ("Suzuki*=山田*", False),
        ("=山田^太郎==", True),
        ("===x", False),
    ],
)
def test_a_name_of_several_groups_matches_group_by_group(key: str, expected: bool) -> None:
    assert matches("PN", key, "Yamada^Tarou=山田^太郎=やまだ^たろう") is expected


@pytest.mark.parametrize(
    ("vr", "key", "value", "expected"),
    [
        ("IS", "3\\4", 4, True),
        ("DS", "2.50", "2.5", True),
        ("DS", "2.5", "2.6", False),
        ("TM", "101100-", "1011", True),
        ("LO", "a" + "*a" * 40, "a" * 60 + "b", False),
    ],
)
def test_odd_keys_match_as_they_mean(vr: str, key: str, value: Value, expected: bool) -> None:
    assert matches(vr, key, value) is expected


def test_one_item_of_a_sequence_must_match_every_key() -> None:
    items = ({"CodeValue": "1", "CodingSchemeDesignator": "A"}, {"CodeValue": "2", "CodingSchemeDesignator": "B"})

    def asked(**keys: str) -> dict[str, Key]:
        return {"ConceptNameCodeSequence": Key("SQ", inside={name: Key("SH", value) for name, value in keys.items()})}

    row = {"ConceptNameCodeSequence": items}
    assert selects(asked(CodeValue="2", CodingSchemeDesignator="B"), row)
    assert not selects(asked(CodeValue="1", CodingSchemeDesignator="B"), row)
    assert selects(asked(CodeValue=""), {})
    assert not selects(asked(CodeValue="1"), {})


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        ("20240101-20240103", "220000-020000", True),
        ("20240102", "120000-130000", True),
        ("20240102", "130000-", False),
        ("20240102-", "110000-", True),
        ("-20240102", "-110000", False),
    ],
)
def test_date_and_time_are_one_range_where_that_was_negotiated(date: str, time: str, expected: bool) -> None:
    row = {"StudyDate": "20240102", "StudyTime": "120000"}
    asked = Query(QueryLevel.STUDY, {"StudyDate": date, "StudyTime": time}, together=True)
    assert asked.selects(row) is expected
    assert not asked.selects({"StudyDate": "", "StudyTime": ""})


@pytest.mark.parametrize(
    ("level", "keys", "lacks"),
    [
        (QueryLevel.STUDY, {}, False),
        (QueryLevel.SERIES, {}, True),
        (QueryLevel.SERIES, {"StudyInstanceUID": "1.2"}, False),
        (QueryLevel.SERIES, {"StudyInstanceUID": "1.2\\1.3"}, True),
        (QueryLevel.IMAGE, {"StudyInstanceUID": "1.2"}, True),
        (QueryLevel.IMAGE, {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.3"}, False),
    ],
)
def test_each_level_above_has_one_unique_key(level: QueryLevel, keys: dict[str, str], lacks: bool) -> None:
    assert Query(level, keys).lacks_unique_keys(STUDY_ROOT) is lacks
    named = {"PatientID": "P1"} if level is not QueryLevel.PATIENT else {}
    assert Query(level, keys | named).lacks_unique_keys(PATIENT_ROOT) is lacks
