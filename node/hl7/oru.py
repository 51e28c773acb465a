"""A reading to an ORU^R01 of HL7 2.5.1 in UTF-8, and back: what is stored is read again before it may be sent."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.core import Message
from hl7apy.exceptions import HL7apyException
from hl7apy.parser import parse_message

from node.domain.message import Reading, Receiver, flag_of, is_urgent
from node.domain.outcome import Outcome
from node.errors import BadInput

VERSION = "2.5.1"
LABEL = "AI result, unverified: not seen by a physician. Research software, not a medical device."
SERVICE = ("NODUS-LN", "AI lung nodule reading")
OUTCOME, COUNT, LARGEST = ("OUTCOME", "Outcome"), ("NODULES", "Number of nodules"), ("LARGEST", "Largest mean diameter")
LUNG_RADS, LIMITATION = ("LUNGRADS", "Lung-RADS v2022"), ("LIMITATION", "Limitation")
NOTE, REPORT = ("LABEL", "Label"), ("REPORT", "SOP Instance UID of the report")
STUDY = "113014^DICOM Study^DCM"
"""PS3.16 CID 7005 names what an OBX refers to so."""
LONGEST = 190
"""Characters of a value: HL7 2.5.1 holds 199 in an ST."""
NO_NAME = "^^^^^^U"
"""A name whose type is not said (table 0200): the field is required, and two quotes would delete what is known."""
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
ESCAPES = {"\\F\\": "|", "\\S\\": "^", "\\T\\": "&", "\\R\\": "~", "\\E\\": "\\"}
ESCAPING = str.maketrans({delimiter: escape for escape, delimiter in ESCAPES.items()})
"""Ours: the library takes what a name has between two backslashes for an escape that is there already."""
ESCAPED = re.compile("|".join(map(re.escape, ESCAPES)))


def escaped(text: str) -> str:
    """A value as it stands between delimiters (HL7 2.5.1 2.7); nothing in it ends a segment or a frame."""
    return CONTROL.sub(" ", text)[:LONGEST].strip().translate(ESCAPING)


def unescaped(text: str) -> str:
    """The opposite."""
    return ESCAPED.sub(lambda found: ESCAPES[found[0]], text)


@dataclass(frozen=True)
class Observation:
    """One OBX."""

    kind: str
    """OBX-2."""
    code: str
    """OBX-3."""
    value: str
    """OBX-5, escaped."""
    units: str = ""
    flag: str = ""


def own(code: tuple[str, str]) -> str:
    """A coded element of ours."""
    return f"{code[0]}^{code[1]}^99NODUS"


def observations(reading: Reading, receiver: Receiver) -> Iterator[Observation]:
    """What was found, most important first, and where it is."""
    outcome = (reading.outcome.replace(" ", "-").upper(), str(reading.outcome))
    yield Observation("CE", own(OUTCOME), own(outcome), flag=flag_of(reading, receiver))
    yield Observation("ST", own(NOTE), escaped(LABEL))
    if reading.outcome is not Outcome.NOT_ANALYSED:
        yield Observation("NM", own(COUNT), str(reading.nodules))
    if reading.largest_mm is not None:
        yield Observation("NM", own(LARGEST), f"{reading.largest_mm:.1f}", "mm^millimeter^UCUM")
    if reading.lung_rads:
        yield Observation("ST", own(LUNG_RADS), escaped(" or ".join(reading.lung_rads)))
    for reason in reading.reasons:
        yield Observation("ST", own(LIMITATION), escaped(reason))
    yield Observation("ST", STUDY, escaped(reading.study_instance_uid))
    if reading.report_uid:
        yield Observation("ST", own(REPORT), escaped(reading.report_uid))


def encode(reading: Reading, receiver: Receiver, control_id: str, made_at: datetime) -> bytes:
    """The message. Raises BadInput where there is no order to answer, or a value that no field can hold."""
    if not reading.accession_number.strip():
        raise BadInput("The study has no accession number: there is no order that a message could answer.")
    if not reading.patient.patient_id.strip():
        raise BadInput("The study has no patient id: nobody could tell whose result a message brings.")
    try:
        return str(_message(reading, receiver, control_id, made_at).to_er7()).encode() + b"\r"
    except HL7apyException as error:
        raise BadInput(f"A value of this study cannot stand in a message ({type(error).__name__}).") from None


def _message(reading: Reading, receiver: Receiver, control_id: str, made_at: datetime) -> Any:
    message = Message("ORU_R01", version=VERSION, validation_level=VALIDATION_LEVEL.STRICT)
    _fill(message.msh, {
        3: escaped(receiver.sending_application), 4: escaped(receiver.sending_facility),
        5: escaped(receiver.receiving_application), 6: escaped(receiver.receiving_facility), 7: _time(made_at),
        9: "ORU^R01^ORU_R01", 10: control_id, 11: "P", 12: VERSION, 18: "UNICODE UTF-8",
    })  # fmt: skip
    result = message.add_group("ORU_R01_PATIENT_RESULT")
    _fill(result.add_group("ORU_R01_PATIENT").add_segment("PID"), _pid(reading))
    order = result.add_group("ORU_R01_ORDER_OBSERVATION")
    _fill(order.add_segment("ORC"), {1: "RE", 3: escaped(reading.accession_number)})
    _fill(order.add_segment("OBR"), _obr(reading, receiver))
    for number, each in enumerate(observations(reading, receiver), start=1):
        fields = {1: str(number), 2: each.kind, 3: each.code, 4: "1", 5: each.value, 6: each.units, 8: each.flag,
                  11: _status(reading), 14: _time(reading.finished_at)}  # fmt: skip
        _fill(order.add_group("ORU_R01_OBSERVATION").add_segment("OBX"), fields)
    return message


def _fill(segment: Any, fields: dict[int, str]) -> None:
    for number, value in fields.items():
        if value:
            setattr(segment, f"{segment.name.lower()}_{number}", value)


def _pid(reading: Reading) -> dict[int, str]:
    patient = reading.patient
    issuer = escaped(patient.issuer)
    return {
        1: "1",
        3: f"{escaped(patient.patient_id)}^^^{issuer}" if issuer else escaped(patient.patient_id),
        5: _name(patient.name) or NO_NAME,
        7: escaped(patient.birth_date) if re.fullmatch(r"\d{8}", patient.birth_date.strip()) else "",
        8: patient.sex.strip() if patient.sex.strip() in ("M", "F", "O") else "U",
    }


def _name(name: str) -> str:
    """PN has the prefix before the suffix, XPN behind it; of several scripts the first stands for all (PS3.5 6.2)."""
    parts = [escaped(part) for part in (*name.partition("=")[0].split("^"), "", "", "", "", "")[:5]]
    family, given, middle, prefix, suffix = parts
    return "^".join((family, given, middle, suffix, prefix)).rstrip("^")


def _obr(reading: Reading, receiver: Receiver) -> dict[int, str]:
    accession = escaped(reading.accession_number)
    urgent = "S" if is_urgent(reading, receiver) else "R"
    return {1: "1", 3: accession, 4: own(SERVICE), 5: urgent, 7: reading.study_at, 18: accession,
            22: _time(reading.finished_at), 24: "CT", 25: _status(reading), 27: f"^^^^^{urgent}"}  # fmt: skip


def _status(reading: Reading) -> str:
    """Preliminary, because no physician has seen it; a correction of what was told before (HL7 tables 0085, 0123)."""
    return "C" if reading.corrects else "P"


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y%m%d%H%M%S}+0000"


def require_true(content: bytes, reading: Reading, receiver: Receiver, control_id: str) -> None:
    """Read a stored message again, and compare all that matters. Raises BadInput that names the field alone."""
    try:
        message = parse_message(content.decode(), validation_level=VALIDATION_LEVEL.STRICT, find_groups=True)
        message.validate()
        said = dict(_said(message))
    except (HL7apyException, UnicodeDecodeError, AttributeError, KeyError, IndexError) as error:
        raise BadInput(f"The message here is no valid ORU^R01 ({type(error).__name__}).") from None
    wanted = _wanted(reading, receiver, control_id)
    wrong = sorted(name for name in said.keys() | wanted.keys() if said.get(name) != wanted.get(name))
    if wrong:
        raise BadInput(f"The message here is not what it should say: {', '.join(wrong)}.")


def _said(message: Any) -> Iterator[tuple[str, str]]:
    """Field to value, unescaped."""
    result = message.oru_r01_patient_result
    order = result.oru_r01_order_observation
    for segment, numbers in ((message.msh, (9, 10, 18)), (result.oru_r01_patient.pid, (3, 5, 7, 8)),
                             (order.orc, (3,)), (order.obr, (3, 5, 18, 25))):  # fmt: skip
        for number in numbers:
            yield f"{segment.name}-{number}", unescaped(getattr(segment, f"{segment.name.lower()}_{number}").to_er7())
    for number, group in enumerate(order.oru_r01_observation, start=1):
        for field in (3, 5, 8, 11):
            yield f"OBX-{field} of {number}", unescaped(getattr(group.obx, f"obx_{field}").to_er7())


def _wanted(reading: Reading, receiver: Receiver, control_id: str) -> dict[str, str]:
    """The same of the reading itself, as it stands in SQL."""
    pid, obr = _pid(reading), _obr(reading, receiver)
    wanted = {"MSH-9": "ORU^R01^ORU_R01", "MSH-10": control_id, "MSH-18": "UNICODE UTF-8", "ORC-3": obr[3]}
    wanted |= {f"PID-{number}": pid[number] for number in (3, 5, 7, 8)}
    wanted |= {f"OBR-{number}": obr[number] for number in (3, 5, 18, 25)}
    for number, each in enumerate(observations(reading, receiver), start=1):
        values = {3: each.code, 5: each.value, 8: each.flag, 11: _status(reading)}
        wanted |= {f"OBX-{field} of {number}": value for field, value in values.items()}
    return {name: unescaped(value) for name, value in wanted.items()}
