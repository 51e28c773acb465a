"""hl7/: what a message says of a reading, read by another library; and what is taken for an acknowledgement."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import hl7
import pytest

from node.domain.message import Acknowledgement, Patient, Reading, Receiver, Verdict, control_id, is_wanted
from node.domain.outcome import Outcome
from node.errors import BadInput, PeerFailed
from node.hl7 import oru
from node.hl7.mllp import acknowledgement
from tests.servers.ris import observations, value

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
READING = Reading(
    Patient("PAT1", "HOSP", "M\u00fcller^J\u00fcrgen^M.^Dr.^Jr.", "19600102", "M"), "1.2.826.1", "ACC-1",
    "20260303101112", AT, Outcome.FINDINGS, (), 3, 9.4, ("4A", "4B"), "1.2.826.2", False,
)  # fmt: skip
RECEIVER = Receiver("RIS@ris:2575", "NODUS", "Radiology", "RIS", "Hospital", frozenset(Outcome), 8.0)
NUMBER = control_id("serial", 1, RECEIVER.place)


def made(reading: Reading = READING, receiver: Receiver = RECEIVER) -> hl7.Message:
    content = oru.encode(reading, receiver, NUMBER, AT)
    oru.require_true(content, reading, receiver, NUMBER)
    return hl7.parse(content.decode())


def test_a_message_names_patient_order_and_study_and_says_what_was_found() -> None:
    message = made()
    header = [value(message, "MSH", number) for number in (3, 4, 5, 6, 7, 9, 10, 11, 12, 18)]
    assert header == ["NODUS", "Radiology", "RIS", "Hospital", "20260304050607+0000", "ORU^R01^ORU_R01", NUMBER, "P",
                      "2.5.1", "UNICODE UTF-8"]  # fmt: skip
    assert [value(message, "PID", number) for number in (3, 5, 7, 8)] == [
        "PAT1^^^HOSP", "M\u00fcller^J\u00fcrgen^M.^Jr.^Dr.", "19600102", "M",
    ]  # fmt: skip
    assert [value(message, "OBR", number) for number in (3, 5, 7, 18, 25)] == [
        "ACC-1", "S", "20260303101112", "ACC-1", "P",
    ]  # fmt: skip
    assert value(message, "ORC", 3) == "ACC-1"
    said = observations(message)
    assert said["OUTCOME"] == ("FINDINGS^findings^99NODUS", "AA")
    assert {code: said[code][0] for code in ("NODULES", "LARGEST", "LUNGRADS", "113014", "REPORT")} == {
        "NODULES": "3", "LARGEST": "9.4", "LUNGRADS": "4A or 4B", "113014": "1.2.826.1", "REPORT": "1.2.826.2",
    }  # fmt: skip
    assert said["LABEL"][0].startswith("AI result, unverified")


@pytest.mark.parametrize(
    ("change", "flag", "urgency"),
    [
        ({"largest_mm": 7.9}, "A", "R"),
        ({"largest_mm": 8.0}, "AA", "S"),
        ({"outcome": Outcome.NO_FINDINGS, "nodules": 0, "largest_mm": None}, "N", "R"),
        ({"outcome": Outcome.PARTIAL, "nodules": 0, "largest_mm": None}, "", "R"),
        ({"outcome": Outcome.PARTIAL, "nodules": 1, "largest_mm": 12.0}, "AA", "S"),
        ({"outcome": Outcome.NOT_ANALYSED, "nodules": 0, "largest_mm": None}, "", "R"),
    ],
)
def test_positives_rise_and_only_a_whole_reading_without_nodules_is_normal(
    change: dict[str, object], flag: str, urgency: str
) -> None:
    message = made(replace(READING, **change))  # type: ignore[arg-type]
    assert observations(message)["OUTCOME"][1] == flag
    assert value(message, "OBR", 5) == urgency


def test_what_was_not_read_counts_no_nodules_and_says_why() -> None:
    said = observations(made(replace(READING, outcome=Outcome.NOT_ANALYSED, reasons=("Slices are 8 mm thick.",),
                                     nodules=0, largest_mm=None, lung_rads=(), report_uid="")))  # fmt: skip
    assert said["LIMITATION"][0] == "Slices are 8 mm thick."
    assert said.keys().isdisjoint({"NODULES", "LARGEST", "LUNGRADS", "REPORT"})


def test_a_correction_says_so_everywhere() -> None:
    message = made(replace(READING, corrects=True))
    assert value(message, "OBR", 25) == "C"
    assert {str(each[11]) for each in message.segments("OBX")} == {"C"}


def test_delimiters_and_controls_in_names_break_no_message() -> None:
    odd = Patient("A|B~C", "H&S\\E", "O|Hara&~\\^An\rOBX|9\x1c\rne", "1960", "X")
    message = made(replace(READING, patient=odd, accession_number=" AC^C\n1 "))
    assert value(message, "PID", 3) == "A|B~C^^^H&S\\E"
    assert value(message, "PID", 5) == "O|Hara&~\\^An OBX|9 ne"
    assert (value(message, "PID", 7), value(message, "PID", 8)) == ("", "U")
    assert value(message, "OBR", 3) == "AC^C 1"
    assert len(message.segments("OBX")) == len(made().segments("OBX"))


@pytest.mark.parametrize(
    "name", ["", "^", "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce", "\u5c71\u7530^\u592a\u90ce", "x" * 64]
)
def test_any_name_makes_a_valid_message(name: str) -> None:
    made(replace(READING, patient=replace(READING.patient, name=name)))


@pytest.mark.parametrize(("change", "sentence"), [
    ({"accession_number": " "}, "The study has no accession number: there is no order that a message could answer."),
    ({"patient": replace(READING.patient, patient_id="")},
     "The study has no patient id: nobody could tell whose result a message brings."),
])  # fmt: skip
def test_what_nobody_could_match_is_not_made(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(BadInput) as error:
        oru.encode(replace(READING, **change), RECEIVER, NUMBER, AT)  # type: ignore[arg-type]
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("here", "there", "field"),
    [
        ("PAT1", "PAT2", "PID-3"), ("J\u00fcrgen", "Jurgen", "PID-5"), ("ACC-1", "ACC-2", "OBR-18, OBR-3, ORC-3"),
        ("FINDINGS", "NO-FINDINGS", "OBX-5 of 1"), ("|9.4|", "|4.9|", "OBX-5 of 4"),
        ("1.2.826.2", "1.2.826.3", "OBX-5 of 7"),
        ("|AA|||P", "|N|||P", "OBX-8 of 1"), (NUMBER, NUMBER[::-1], "MSH-10"),
    ],
)  # fmt: skip
def test_a_message_that_says_anything_else_is_found_and_the_sentence_names_the_field_alone(
    here: str, there: str, field: str
) -> None:
    content = oru.encode(READING, RECEIVER, NUMBER, AT).decode()
    assert here in content
    with pytest.raises(BadInput, match=rf"^The message here is not what it should say: {field}\.$"):
        oru.require_true(content.replace(here, there).encode(), READING, RECEIVER, NUMBER)


@pytest.mark.parametrize("content", [b"", b"MSH|", b"\xff", b"MSH|^~\\&|A||B||20260101||ADT^A01^ADT_A01|1|P|2.5.1\r"])
def test_what_is_no_message_is_found(content: bytes) -> None:
    with pytest.raises(BadInput, match="no valid ORU"):
        oru.require_true(content, READING, RECEIVER, NUMBER)


def test_whoever_was_told_is_told_that_it_holds_no_more() -> None:
    picky = replace(RECEIVER, outcomes=frozenset({Outcome.FINDINGS}))
    clear = replace(READING, outcome=Outcome.NO_FINDINGS, nodules=0, largest_mm=None)
    assert not is_wanted(clear, picky)
    assert is_wanted(replace(clear, corrects=True), picky)


def test_times_are_told_in_utc() -> None:
    late = READING.finished_at.astimezone(timezone(timedelta(hours=5)))
    assert value(made(replace(READING, finished_at=late)), "OBR", 22) == "20260304050607+0000"


ACK = "MSH|^~\\&|RIS|H|NODUS|R|20260101101010||ACK^R01^ACK|77|P|2.5.1\rMSA|{code}|{number}|PAT1 is unknown\r"


@pytest.mark.parametrize(("code", "error", "verdict"), [
    ("AA", "", Verdict.TAKEN), ("CA", "", Verdict.TAKEN), ("AE", "", Verdict.NEVER), ("AR", "", Verdict.NEVER),
    ("AE", "204", Verdict.NEVER), ("AE", "206", Verdict.LATER), ("AE", "207", Verdict.LATER),
])  # fmt: skip
def test_an_acknowledgement_is_its_codes_and_no_text(code: str, error: str, verdict: Verdict) -> None:
    text = ACK.format(code=code, number=NUMBER) + (f"ERR||PID^1^3|{error}^PAT1 is unknown^HL70357|E\r" if error else "")
    answer = acknowledgement(text.encode(), NUMBER)
    assert answer == Acknowledgement(code, error)
    assert answer.verdict is verdict
    assert "PAT1" not in str(answer)


@pytest.mark.parametrize("text", [
    "", "no message", ACK.format(code="AA", number="ANOTHER"), ACK.format(code="XX", number=NUMBER),
    ACK.format(code="AA", number=NUMBER).partition("MSA")[0],
])  # fmt: skip
def test_what_is_no_acknowledgement_of_this_message_is_a_failure_of_the_receiver(text: str) -> None:
    with pytest.raises(PeerFailed):
        acknowledgement(text.encode(), NUMBER)
