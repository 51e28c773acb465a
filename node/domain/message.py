"""What an HL7 message says of a reading, to whom, and what a receiver answers."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from node.domain.outcome import Outcome


@dataclass(frozen=True)
class Receiver:
    """A system that gets messages, as the settings name it."""

    place: str
    """NAME@HOST:PORT."""
    sending_application: str
    sending_facility: str
    receiving_application: str
    receiving_facility: str
    outcomes: frozenset[Outcome]
    """It gets messages of readings that ended so, and corrections of what it got."""
    priority_from_mm: float
    """Largest mean diameter from which a reading is urgent."""


@dataclass(frozen=True)
class Patient:
    """Who the order is about, as the images have it."""

    patient_id: str
    issuer: str
    name: str
    """DICOM's PN: family^given^middle^prefix^suffix."""
    birth_date: str
    sex: str


@dataclass(frozen=True)
class Reading:
    """One reading whose results are released."""

    patient: Patient
    study_instance_uid: str
    accession_number: str
    study_at: str
    """YYYYMMDD[HHMMSS]; empty where the images do not say it."""
    finished_at: datetime
    outcome: Outcome
    reasons: tuple[str, ...]
    nodules: int
    largest_mm: float | None
    """Largest mean diameter."""
    lung_rads: tuple[str, ...]
    """Categories that remain possible, least first."""
    report_uid: str
    """SOP Instance UID of the report."""
    corrects: bool
    """The receiver may have got a message of an earlier reading of this study."""


class Flag(StrEnum):
    """Abnormal flags (HL7 table 0078)."""

    NORMAL = "N"
    ABNORMAL = "A"
    VERY_ABNORMAL = "AA"
    NONE = ""


def flag_of(reading: Reading, receiver: Receiver) -> Flag:
    """How a worklist shows it. A partial reading without nodules is not normal, and what was not read is nothing."""
    if reading.nodules:
        return Flag.VERY_ABNORMAL if is_urgent(reading, receiver) else Flag.ABNORMAL
    return Flag.NORMAL if reading.outcome is Outcome.NO_FINDINGS else Flag.NONE


def is_urgent(reading: Reading, receiver: Receiver) -> bool:
    """Whether it is to rise in the worklist."""
    return reading.largest_mm is not None and reading.largest_mm >= receiver.priority_from_mm


def is_wanted(reading: Reading, receiver: Receiver) -> bool:
    """Whether a receiver is told; whoever was told of an earlier reading is told that it holds no more."""
    return reading.corrects or reading.outcome in receiver.outcomes


def control_id(serial: str, job_id: int, place: str) -> str:
    """MSH-10 (ST, 20 characters): the same however often it is sent, so that a receiver can tell repeats."""
    return hashlib.sha256(f"{serial} {job_id} {place}".encode()).hexdigest()[:20].upper()


class Verdict(StrEnum):
    """What an acknowledgement means."""

    TAKEN = "taken"
    NEVER = "never"
    LATER = "later"
    """The receiver cannot now: its record is locked, or it failed inside (HL7 table 0357: 206, 207)."""


@dataclass(frozen=True)
class Acknowledgement:
    """MSA-1, and the code of ERR-3. No text: receivers quote names in it."""

    code: str
    error: str = ""

    @property
    def verdict(self) -> Verdict:
        """AE and AR are final: the same message would be refused again."""
        if self.code in ("AA", "CA"):
            return Verdict.TAKEN
        return Verdict.LATER if self.error in ("206", "207") else Verdict.NEVER

    def __str__(self) -> str:
        return f"{self.code} ({self.error})" if self.error else self.code
