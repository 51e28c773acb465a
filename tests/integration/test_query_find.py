"""C-FIND with DCMTK's findscu against a running node: what matches, what comes back, how far an analysis is."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pydicom import Dataset, dcmread
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from node.catalog import jobs, tables
from node.dicom.answers import keep_answers
from node.domain.study import Completeness
from tests.flow import Flow
from tests.sender import send
from tests.servers import HASTY, Nodus, Postgres, eventually, nodus, run_dcmtk
from tests.studies import Series

MULLER = Series("findmu", count=3).having(
    PatientName="Müller^Jürgen=山田", PatientID="P*7", AccessionNumber="A?1", StudyDate="20240203",
    StudyTime="101112.5", StudyDescription="CT Thorax",
)  # fmt: skip
PLAIN = Series("findpl", count=2).having(
    PatientName="Plain^Jane", PatientID="P17", AccessionNumber="A11", StudyDate="20240501", StudyTime="090000",
    StudyDescription="CT Knee", BodyPartExamined="KNEE", SeriesDescription="axial",
)  # fmt: skip
SECOND = Series("findpl", "2", count=1).having(
    PatientName="Plain^Jane", PatientID="P17", AccessionNumber="A11", StudyDate="20240501", StudyTime="090000",
    StudyDescription="CT Knee", BodyPartExamined="KNEE", Modality="PT", SeriesNumber="12", SeriesDescription="PET",
)  # fmt: skip


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def queried(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodus]:
    """A node that holds two patients and three series."""
    data = tmp_path_factory.mktemp("find") / "data"
    if request.param == "sqlite":
        with nodus(data, senders=HASTY) as node:
            yield filled(node)
    else:
        server: Postgres = request.getfixturevalue("postgres_server")
        with server.database() as url, nodus(data, database_url=url, senders=HASTY) as node:
            yield filled(node)


def filled(node: Nodus) -> Nodus:
    send(node.dicom_port, [*MULLER.payloads(), *PLAIN.payloads(), *SECOND.payloads()])
    flow = Flow(node.catalog)
    eventually(lambda: len(flow.rows(tables.instance)) == 6)
    eventually(lambda: all(row["state"] == Completeness.COMPLETE for row in flow.rows(tables.study)), 40)
    return node


def find(node: Nodus, level: str, *keys: str) -> list[Dataset]:
    """Answers to DCMTK's findscu."""
    with TemporaryDirectory() as folder:
        command = ["-S", "-aec", "NODUS", "127.0.0.1", str(node.dicom_port), "-X", "-od", folder]
        for key in (f"QueryRetrieveLevel={level}", *keys):
            command += ["-k", key]
        said = run_dcmtk("findscu", *command)
        assert "E: " not in said, said
        return [dcmread(path) for path in sorted(Path(folder).iterdir())]


def private(answer: Dataset, element: int) -> object:
    """A value of our private block."""
    block = answer.private_block(0x0099, "NODUS 1.0")
    return block[element].value if element in block else None


def names(answers: list[Dataset]) -> list[str]:
    return sorted(answer.PatientID for answer in answers)


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("PatientName", ["P*7", "P17"]),
        ("PatientName=MULLER^JURGEN", ["P*7"]),
        ("PatientName=plain*", ["P17"]),
        ("PatientName=*jane", ["P17"]),
        ("PatientName=Plain", []),
        ("PatientID=P17", ["P17"]),
        ("PatientID=p17", []),
        ("PatientID=P*", ["P*7", "P17"]),
        ("PatientID=P??", ["P*7", "P17"]),
        ("PatientID=P*7", ["P*7", "P17"]),
        ("AccessionNumber=A?1", ["P*7", "P17"]),
        ("AccessionNumber=A11", ["P17"]),
        ("StudyDate=20240203", ["P*7"]),
        ("StudyDate=20240101-20240301", ["P*7"]),
        ("StudyDate=20240301-", ["P17"]),
        ("StudyDate=-20240301", ["P*7"]),
        ("StudyDate=19990101-19991231", []),
        ("StudyTime=0800-1000", ["P17"]),
        ("StudyTime=101112", ["P*7"]),
        ("StudyDescription=CT T*", ["P*7"]),
        ("ModalitiesInStudy=PT", ["P17"]),
        ("ModalitiesInStudy=CT", ["P*7", "P17"]),
        ("ModalitiesInStudy=MR", []),
        (f"StudyInstanceUID={MULLER.study_uid}", ["P*7"]),
        (f"StudyInstanceUID=1.2\\{MULLER.study_uid}\\{PLAIN.study_uid}", ["P*7", "P17"]),
        (f"StudyInstanceUID={MULLER.study_uid[:-1]}*", []),
    ],
)
def test_studies_match_by_every_kind_of_key(queried: Nodus, key: str, found: list[str]) -> None:
    asked = [] if key.startswith("PatientID") else ["PatientID"]
    assert names(find(queried, "STUDY", key, *asked)) == found


def test_a_study_comes_with_what_was_asked_for_and_where_to_get_it(queried: Nodus) -> None:
    (answer,) = find(
        queried, "STUDY", "PatientID=P17", "PatientName", "StudyDescription", "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances", "ModalitiesInStudy", "StudyID", "PatientBirthDate",
    )  # fmt: skip
    assert (answer.PatientName, answer.StudyDescription) == ("Plain^Jane", "CT Knee")
    assert (answer.NumberOfStudyRelatedSeries, answer.NumberOfStudyRelatedInstances) == (2, 3)
    assert set(answer.ModalitiesInStudy) == {"CT", "PT"}
    assert (answer.QueryRetrieveLevel, answer.RetrieveAETitle) == ("STUDY", "NODUS")
    assert (answer.InstanceAvailability, answer.SpecificCharacterSet) == ("ONLINE", "ISO_IR 192")


def test_names_come_back_in_unicode(queried: Nodus) -> None:
    (answer,) = find(queried, "STUDY", "PatientName=M*", f"StudyInstanceUID={MULLER.study_uid}")
    assert answer.PatientName == "Müller^Jürgen=山田"


def test_series_match_inside_their_study(queried: Nodus) -> None:
    in_study = f"StudyInstanceUID={PLAIN.study_uid}"
    answers = find(queried, "SERIES", in_study, "SeriesInstanceUID", "Modality", "NumberOfSeriesRelatedInstances")
    counts = {answer.SeriesInstanceUID: answer.NumberOfSeriesRelatedInstances for answer in answers}
    assert counts == {PLAIN.series_uid: 2, SECOND.series_uid: 1}
    (pet,) = find(queried, "SERIES", in_study, "Modality=PT", "SeriesInstanceUID")
    assert pet.SeriesInstanceUID == SECOND.series_uid
    (twelve,) = find(queried, "SERIES", in_study, "SeriesNumber=12", "SeriesDescription", "PatientID")
    assert (twelve.SeriesDescription, twelve.PatientID) == ("PET", "P17")


def test_images_match_inside_their_series(queried: Nodus) -> None:
    inside = (f"StudyInstanceUID={MULLER.study_uid}", f"SeriesInstanceUID={MULLER.series_uid}")
    answers = find(queried, "IMAGE", *inside, "SOPInstanceUID", "InstanceNumber", "Rows", "SOPClassUID")
    assert {answer.SOPInstanceUID for answer in answers} == {MULLER.instance_uid(n) for n in range(3)}
    assert {answer.Rows for answer in answers} == {4}
    (two,) = find(queried, "IMAGE", *inside, "InstanceNumber=2", "SOPInstanceUID")
    assert two.SOPInstanceUID == MULLER.instance_uid(1)
    some = "\\".join(MULLER.instance_uid(n) for n in (0, 2))
    assert len(find(queried, "IMAGE", *inside, f"SOPInstanceUID={some}")) == 2


def test_how_far_an_analysis_is_can_be_asked_with_private_keys(queried: Nodus) -> None:
    creator = "(0099,0010)=NODUS 1.0"
    asked = [creator, *(f"(0099,10{number:02x})" for number in (1, 2, 6, 7, 0x0A, 0x0E))]
    (answer,) = find(queried, "STUDY", f"StudyInstanceUID={MULLER.study_uid}", *asked)
    values = [private(answer, number) for number in (1, 2, 6, 7, 0x0A, 0x0E)]
    assert values == ["QUEUED", "0", "not analysed", "There are fewer than 40 slices.", "0", ""]


def ask(node: Nodus, identifier: Dataset) -> list[tuple[int, Dataset | None]]:
    """Status and answer of each response; findscu cannot be given values for private keys."""
    ae = AE("FINDER")
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    association = keep_answers(ae.associate("127.0.0.1", node.dicom_port, ae_title="NODUS"))
    try:
        found = association.send_c_find(identifier, StudyRootQueryRetrieveInformationModelFind)
        return [(status.Status, answer) for status, answer in found]
    finally:
        association.release()


def with_private(creator: str, *values: tuple[int, str, str | bytes], **keys: str) -> Dataset:
    identifier = Dataset()
    identifier.update({"QueryRetrieveLevel": "STUDY", "PatientID": "", **keys})
    block = identifier.private_block(0x0099, creator, create=True)
    for element, vr, value in values:
        block.add_new(element, vr, value)
    return identifier


@pytest.mark.parametrize(
    ("element", "vr", "value", "found"),
    [
        (0x01, "CS", "QUEUED", ["P*7"]),
        (0x01, "UN", b"QUEUED", ["P*7"]),
        (0x01, "CS", "COMPLETE", ["P17"]),
        (0x01, "CS", "DONE", []),
        (0x06, "LO", "not*", ["P*7", "P17"]),
        (0x0A, "IS", "0", ["P*7"]),
    ],
)
def test_studies_can_be_chosen_by_how_far_they_are(
    queried: Nodus, element: int, vr: str, value: str | bytes, found: list[str]
) -> None:
    answers = ask(queried, with_private("NODUS 1.0", (element, vr, value)))
    assert names([answer for _, answer in answers if answer]) == found


def test_private_keys_of_somebody_else_are_nobodys(queried: Nodus) -> None:
    (_, answer), _ = ask(queried, with_private("OTHER", (0x01, "CS", "QUEUED"), PatientID="P17"))
    assert answer is not None
    assert not [element for element in answer if element.tag.is_private]


def statuses(node: Nodus, **keys: object) -> list[int]:
    identifier = Dataset()
    identifier.update(keys)
    return [status for status, _ in ask(node, identifier)]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"QueryRetrieveLevel": "STUDY", "PatientID": "P17"}, [0xFF00, 0x0000]),
        ({"QueryRetrieveLevel": "STUDY", "PatientID": "P17", "Manufacturer": ""}, [0xFF01, 0x0000]),
        ({"QueryRetrieveLevel": "STUDY", "PatientID": "nobody"}, [0x0000]),
        ({"QueryRetrieveLevel": "PATIENT", "PatientID": "P17"}, [0xA900]),
        ({"PatientID": "P17"}, [0xA900]),
    ],
)
def test_the_status_says_whether_every_key_was_understood(
    queried: Nodus, keys: dict[str, str], expected: list[int]
) -> None:
    assert statuses(queried, **keys) == expected


def test_a_query_while_the_database_is_away_fails_and_the_node_goes_on(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: Postgres
) -> None:
    with postgres_server.database() as url:
        database = url.rpartition("/")[2]
        with nodus(tmp_path_factory.mktemp("away") / "data", database_url=url) as node:
            postgres_server.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
            assert statuses(node, QueryRetrieveLevel="STUDY", PatientID="") == [0xC001]
            postgres_server.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
            assert statuses(node, QueryRetrieveLevel="STUDY", PatientID="") == [0x0000]
            with node.catalog.reading() as session:
                assert jobs.count_by_state(session) == {}


def test_every_answered_query_leaves_a_row_that_names_no_patient(queried: Nodus) -> None:
    find(queried, "STUDY", "PatientName=Plain*", "StudyInstanceUID")
    statuses(queried, QueryRetrieveLevel="PLAIN JANE")
    expected = [
        ("FINDSCU", "127.0.0.1", 0, {"level": "STUDY", "answers": 1, "status": "0x0000"}),
        ("FINDER", "127.0.0.1", 4, {"level": "", "answers": 0, "status": "0xA900"}),
    ]

    def told() -> list[object]:
        rows = queried.audit("query answered")[-2:]
        return [(row.actor, row.address, row.outcome, json.loads(row.detail)) for row in rows]

    eventually(lambda: told() == expected, what="both are written down")
