"""C-FIND beyond the Study Root: patients, sequences, files, character sets, extended negotiation, limits, cancel."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind as PatientRoot,
)
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind as StudyRoot,
)

from node.catalog import tables
from node.dicom.answers import keep_answers
from node.domain.study import Completeness
from tests.flow import Flow
from tests.retrieving import find, identifier
from tests.sender import send
from tests.servers import HASTY, Nodus, Postgres, eventually, nodus, run_dcmtk
from tests.studies import Series

SR = "1.2.840.10008.5.1.4.1.1.88.33"


def coded(value: str, scheme: str = "DCM", meaning: str = "meaning") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def requested(step: str, accession: str) -> Dataset:
    item = Dataset()
    item.ScheduledProcedureStepID, item.AccessionNumber, item.RequestedProcedureID = step, accession, f"RP-{step}"
    return item


def template(name: str) -> Dataset:
    item = Dataset()
    item.MappingResource, item.TemplateIdentifier = "DCMR", name
    return item


YAMADA = "Yamada^Tarou=山田^太郎=やまだ^たろう"
EARLY = Series("early", count=2).having(
    PatientID="P1", PatientName="Müller^Jürgen", StudyDate="20240101", StudyTime="230000",
    RequestAttributesSequence=[requested("S1", "ORDER1"), requested("S2", "ORDER2")], ProtocolName="Lung",
)  # fmt: skip
LATE = Series("late", count=1).having(
    PatientID="P1", PatientName="Müller^Jürgen", StudyDate="20240103", StudyTime="010000",
    RequestAttributesSequence=[requested("S3", "ORDER3")],
)  # fmt: skip
JAPAN = Series("japan", count=1).having(PatientID="P2", PatientName=YAMADA, StudyDate="20240102", StudyTime="120000")
CHINA = Series("china", count=1).having(PatientID="P3", PatientName="Wang^XiaoDong=王^小东", StudyDate="20230102")
REPORT = Series("early", "report", count=1).having(
    PatientID="P1", PatientName="Müller^Jürgen", StudyDate="20240101", StudyTime="230000", Modality="SR",
    SOPClassUID=SR, ConceptNameCodeSequence=[coded("18748-4", "LN")], ContentTemplateSequence=[template("1500")],
    CompletionFlag="COMPLETE", VerificationFlag="UNVERIFIED", PixelData=None,
)  # fmt: skip
EVERYTHING = (EARLY, LATE, JAPAN, CHINA, REPORT)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodus]:
    data = tmp_path_factory.mktemp("models") / "data"
    if request.param == "sqlite":
        with nodus(data, senders=HASTY, maximum_matches=4) as started:
            yield filled(started)
    else:
        server: Postgres = request.getfixturevalue("postgres_server")
        with server.database() as url, nodus(data, database_url=url, senders=HASTY, maximum_matches=4) as started:
            yield filled(started)


def filled(node: Nodus) -> Nodus:
    send(node.dicom_port, [payload for series in EVERYTHING for payload in series.payloads()])
    flow = Flow(node.catalog)
    eventually(lambda: len(flow.rows(tables.instance)) == 6)
    eventually(lambda: all(row["state"] == Completeness.COMPLETE for row in flow.rows(tables.study)), 40)
    return node


def ask(
    node: Nodus, asked: Dataset, model: str = StudyRoot, negotiated: bytes = b"", calling: str = "FINDER"
) -> list[tuple[int, Dataset | None]]:
    """Every answer; `negotiated` are the flags of extended negotiation (PS3.4 C.5.1.1)."""
    ae = AE(calling)
    ae.add_requested_context(model, ExplicitVRLittleEndian)
    extended = SOPClassExtendedNegotiation()
    extended.sop_class_uid, extended.service_class_application_information = model, negotiated or b"\0"
    items: Sequence[SOPClassExtendedNegotiation] = [extended] if negotiated else []
    association = keep_answers(ae.associate("127.0.0.1", node.dicom_port, ae_title="NODUS", ext_neg=list(items)))
    assert association.is_established
    try:
        return [(status.Status, answer) for status, answer in association.send_c_find(asked, model)]
    finally:
        association.release()


def ids(answers: list[Dataset]) -> list[str]:
    return sorted(answer.PatientID for answer in answers)


def test_each_patient_is_one_match_with_what_it_has(node: Nodus) -> None:
    asked = identifier(
        "PATIENT", PatientID="P1", PatientName=None, NumberOfPatientRelatedStudies=None,
        NumberOfPatientRelatedSeries=None, NumberOfPatientRelatedInstances=None,
    )  # fmt: skip
    (answer,) = find(node, asked, PatientRoot)
    assert (answer.PatientID, answer.PatientName) == ("P1", "Müller^Jürgen")
    counts = (answer.NumberOfPatientRelatedStudies, answer.NumberOfPatientRelatedSeries)
    assert (*counts, answer.NumberOfPatientRelatedInstances) == (2, 3, 4)
    assert ids(find(node, identifier("PATIENT", PatientID=""), PatientRoot)) == ["P1", "P2", "P3"]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (identifier("STUDY", PatientID="P1", StudyInstanceUID=""), 0x0000),
        (identifier("STUDY", StudyInstanceUID=""), 0xA900),
        (identifier("STUDY", PatientID="P*", StudyInstanceUID=""), 0xA900),
        (identifier("SERIES", PatientID="P1", SeriesInstanceUID=""), 0xA900),
        (identifier("SERIES", PatientID="P1", StudyInstanceUID=EARLY.study_uid, SeriesInstanceUID=""), 0x0000),
        (identifier("IMAGE", PatientID="P1", StudyInstanceUID=EARLY.study_uid, SOPInstanceUID=""), 0xA900),
    ],
)
def test_below_the_root_each_level_above_is_named_by_one_unique_key(node: Nodus, asked: Dataset, status: int) -> None:
    assert ask(node, asked, PatientRoot)[-1][0] == status


def test_the_study_root_has_no_patient_level_and_wants_a_study_below_it(node: Nodus) -> None:
    assert ask(node, identifier("PATIENT", PatientID="P1")) == [(0xA900, None)]
    assert ask(node, identifier("SERIES", SeriesInstanceUID="")) == [(0xA900, None)]


def test_relational_queries_need_no_keys_above_once_they_are_negotiated(node: Nodus) -> None:
    asked = identifier("SERIES", Modality="SR", SeriesInstanceUID="")
    assert ask(node, asked) == [(0xA900, None)]
    answers = ask(node, asked, negotiated=b"\1")
    assert [answer.SeriesInstanceUID for _, answer in answers if answer] == [REPORT.series_uid]


def test_date_and_time_are_one_range_only_once_that_is_negotiated(node: Nodus) -> None:
    asked = identifier("STUDY", PatientID="", StudyDate="20240101-20240103", StudyTime="220000-020000")
    assert [status for status, _ in ask(node, asked)] == [0x0000]
    answers = ask(node, asked, negotiated=b"\0\1")
    assert ids([answer for _, answer in answers if answer]) == ["P1", "P1", "P2"]


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ({}, [EARLY, REPORT]),
        ({"ScheduledProcedureStepID": "S2"}, [EARLY]),
        ({"ScheduledProcedureStepID": "S?", "AccessionNumber": "ORDER2"}, [EARLY]),
        ({"ScheduledProcedureStepID": "S1", "AccessionNumber": "ORDER2"}, []),
        ({"ScheduledProcedureStepID": "S3"}, []),
    ],
)
def test_a_sequence_matches_where_one_of_its_items_matches_every_key(
    node: Nodus, key: dict[str, str], found: list[Series]
) -> None:
    item = Dataset()
    item.update(key)
    asked = identifier("SERIES", StudyInstanceUID=EARLY.study_uid, SeriesInstanceUID="")
    asked.RequestAttributesSequence = [item] if key else []
    answers = find(node, asked)
    assert {answer.SeriesInstanceUID for answer in answers} == {each.series_uid for each in found}


def test_items_come_back_with_what_was_asked_of_them_or_whole(node: Nodus) -> None:
    asked = identifier("SERIES", StudyInstanceUID=LATE.study_uid, SeriesInstanceUID="", ProtocolName="")
    asked.RequestAttributesSequence = []
    (whole,) = find(node, asked)
    assert whole.RequestAttributesSequence[0] == requested("S3", "ORDER3")
    item = Dataset()
    item.AccessionNumber = ""
    asked.RequestAttributesSequence = [item]
    (part,) = find(node, asked)
    assert [each.keyword for each in part.RequestAttributesSequence[0]] == ["AccessionNumber"]
    assert part.RequestAttributesSequence[0].AccessionNumber == "ORDER3"


def test_reports_are_found_by_what_they_are(node: Nodus) -> None:
    """IHE AI Results, Query Analysis Results (RAD-137)."""
    asked = identifier("IMAGE", StudyInstanceUID=EARLY.study_uid, SeriesInstanceUID=REPORT.series_uid)
    asked.SOPInstanceUID, asked.CompletionFlag, asked.VerificationFlag = "", "COMPLETE", ""
    asked.ConceptNameCodeSequence, asked.ContentTemplateSequence = [coded("18748-4", "", "")], [template("1500")]
    (found,) = find(node, asked)
    assert (found.SOPInstanceUID, found.VerificationFlag) == (REPORT.instance_uid(0), "UNVERIFIED")
    assert found.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    asked.ContentTemplateSequence = [template("2000")]
    assert find(node, asked) == []


@pytest.mark.parametrize(
    ("charset", "name", "found"),
    [
        ("ISO_IR 100", "Müller^Jürgen", "P1"),
        ("ISO_IR 192", "山田*", "P2"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "P2"),
        (["", "ISO 2022 IR 87"], "*=山田^*", "P2"),
        ("GB18030", "Wang^XiaoDong=王^小东", "P3"),
        ("GB18030", "王*", "P3"),
    ],
)
def test_a_request_and_its_answers_share_a_character_set(
    node: Nodus, charset: str | list[str], name: str, found: str
) -> None:
    asked = identifier("STUDY", SpecificCharacterSet=charset, PatientName=name, PatientID="")
    answers = find(node, asked)
    assert {answer.PatientID for answer in answers} == {found}
    expected = charset if isinstance(charset, str) else list(charset)
    got = answers[0].SpecificCharacterSet
    assert (got if isinstance(got, str) else [str(each) for each in got]) == expected
    names = {"P1": "Müller^Jürgen", "P2": YAMADA, "P3": "Wang^XiaoDong=王^小东"}
    assert str(answers[0].PatientName) == names[found]


def test_what_a_character_set_cannot_say_comes_in_unicode(node: Nodus) -> None:
    (answer,) = find(node, identifier("STUDY", SpecificCharacterSet="ISO_IR 100", PatientName="", PatientID="P2"))
    assert (answer.SpecificCharacterSet, str(answer.PatientName)) == ("ISO_IR 192", YAMADA)


def test_more_matches_than_the_limit_end_with_out_of_resources(node: Nodus) -> None:
    answers = ask(node, identifier("IMAGE", SOPInstanceUID=""), negotiated=b"\1")
    assert [status for status, _ in answers] == [0xFF00] * 4 + [0xA700]


def test_files_that_are_gone_are_said_to_be_unavailable(node: Nodus) -> None:
    row = next(each for each in Flow(node.catalog).rows(tables.instance, sop_instance_uid=CHINA.instance_uid(0)))
    with node.catalog.writing() as session:
        place = tables.instance.c.id == row["id"]
        session.execute(tables.instance.update().where(place).values(purged_at=row["received_at"]))
    try:
        found = find(node, identifier("STUDY", PatientID="", StudyInstanceUID=""))
    finally:
        with node.catalog.writing() as session:
            session.execute(tables.instance.update().where(place).values(purged_at=None))
    said = {answer.PatientID: answer.InstanceAvailability for answer in found}
    assert said == {"P1": "ONLINE", "P2": "ONLINE", "P3": "UNAVAILABLE"}


@pytest.mark.parametrize("wrong", ["several items", "no level"])
def test_what_is_no_identifier_is_refused(node: Nodus, wrong: str) -> None:
    asked = identifier("SERIES", StudyInstanceUID=EARLY.study_uid, SeriesInstanceUID="")
    if wrong == "several items":
        asked.RequestAttributesSequence = [requested("S1", ""), requested("S2", "")]
    else:
        del asked.QueryRetrieveLevel
    assert ask(node, asked) == [(0xA900, None)]


def test_who_may_not_ask_is_refused(tmp_path: Path) -> None:
    mute = {"network": "127.0.0.0/8", "ae_title": "MUTE", "may_query": False}
    with nodus(tmp_path / "data", senders=[*HASTY, mute]) as node:
        asked = identifier("STUDY", PatientID="")
        assert ask(node, asked, calling="MUTE") == [(0x0124, None)]
        assert ask(node, asked) == [(0x0000, None)]


def test_findscu_asks_the_patient_root(node: Nodus, tmp_path: Path) -> None:
    keys = [
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        "PatientID=P1",
        "-k",
        "StudyInstanceUID",
        "-k",
        "StudyDate=20240103",
    ]
    run_dcmtk("findscu", "-P", "-aec", "NODUS", "127.0.0.1", str(node.dicom_port), "-X", "-od", str(tmp_path), *keys)
    assert [dcmread(path).StudyInstanceUID for path in tmp_path.iterdir()] == [LATE.study_uid]


def test_a_cancel_ends_a_query_within_a_moment(tmp_path: Path) -> None:
    many = [Series("many", str(number), count=20) for number in range(30)]
    with nodus(tmp_path / "data", senders=HASTY) as node:
        send(node.dicom_port, [payload for series in many for payload in series.payloads()])
        eventually(lambda: len(Flow(node.catalog).rows(tables.instance)) == 600, 60)
        keys = ["-k", "QueryRetrieveLevel=SERIES", "-k", f"StudyInstanceUID={many[0].study_uid}"]
        keys += ["-k", "SeriesInstanceUID", "-k", "RequestAttributesSequence", "-k", "ProtocolName"]
        said = run_dcmtk(
            "findscu", "-d", "-S", "--cancel", "2", "-aec", "NODUS", "127.0.0.1", str(node.dicom_port), *keys
        )
        rows = eventually(lambda: node.audit("query answered"))
        assert "0xfe00" in said.lower()
        assert '"status": "0xFE00"' in rows[-1].detail
