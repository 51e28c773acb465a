"""Matching of C-FIND keys (PS3.4 C.2.2.2), and the attributes we answer with."""

import fnmatch
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class QueryLevel(StrEnum):
    """Study Root levels (PS3.4 C.6.2)."""

    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"


UNIQUE_KEYS = {
    QueryLevel.STUDY: "StudyInstanceUID",
    QueryLevel.SERIES: "SeriesInstanceUID",
    QueryLevel.IMAGE: "SOPInstanceUID",
}

STUDY_KEYS = {
    "StudyInstanceUID": "UI",
    "StudyDate": "DA",
    "StudyTime": "TM",
    "AccessionNumber": "SH",
    "PatientName": "PN",
    "PatientID": "LO",
    "IssuerOfPatientID": "LO",
    "PatientBirthDate": "DA",
    "PatientSex": "CS",
    "StudyID": "SH",
    "StudyDescription": "LO",
    "ReferringPhysicianName": "PN",
    "ModalitiesInStudy": "CS",
    "SOPClassesInStudy": "UI",
    "NumberOfStudyRelatedSeries": "IS",
    "NumberOfStudyRelatedInstances": "IS",
}
SERIES_KEYS = {
    "SeriesInstanceUID": "UI",
    "Modality": "CS",
    "SeriesNumber": "IS",
    "SeriesDescription": "LO",
    "BodyPartExamined": "CS",
    "NumberOfSeriesRelatedInstances": "IS",
}
IMAGE_KEYS = {
    "SOPInstanceUID": "UI",
    "SOPClassUID": "UI",
    "InstanceNumber": "IS",
    "Rows": "US",
    "Columns": "US",
}
KEYS = {
    QueryLevel.STUDY: STUDY_KEYS,
    QueryLevel.SERIES: STUDY_KEYS | SERIES_KEYS,
    QueryLevel.IMAGE: STUDY_KEYS | SERIES_KEYS | IMAGE_KEYS,
}

PRIVATE_GROUP, PRIVATE_CREATOR = 0x0099, "NODUS 1.0"
JOB_KEYS: dict[str, tuple[int, str]] = {
    "JobState": (0x01, "CS"),
    "Progress": (0x02, "IS"),
    "Stage": (0x03, "LO"),
    "Queued": (0x04, "DT"),
    "Finished": (0x05, "DT"),
    "Outcome": (0x06, "LO"),
    "Reason": (0x07, "LT"),
    "ReportUID": (0x08, "UI"),
    "SegmentationUID": (0x09, "UI"),
    "Attempts": (0x0A, "IS"),
    "Delivery": (0x0B, "LO"),
    "ModelVersion": (0x0C, "LO"),
    "QueueDepth": (0x0D, "IS"),
}
"""Name to element and VR in the private block of a study: how far its analysis is."""

Value = str | int | None | Sequence[str]


@dataclass(frozen=True)
class Query:
    """A C-FIND identifier. A key with an empty value is only asked for; with a value it also selects."""

    level: QueryLevel
    keys: Mapping[str, str] = field(default_factory=dict)
    """Keyword to value; several values are joined by a backslash."""
    job_keys: Mapping[str, str] = field(default_factory=dict)
    """The same for JOB_KEYS."""

    def selects(self, row: Mapping[str, Value]) -> bool:
        """Whether one entity matches every key."""
        known = KEYS[self.level]
        public = all(matches(known[name], key, row.get(name)) for name, key in self.keys.items() if name in known)
        return public and all(matches(JOB_KEYS[name][1], key, row.get(name)) for name, key in self.job_keys.items())


def matches(vr: str, key: str, value: Value) -> bool:
    """Whether a value matches one key. An empty key matches everything; an empty value only an empty or `*` key."""
    if key == "" or (key.strip("*") == "" and vr not in ("DA", "TM", "DT", "UI", "IS", "US")):
        return True
    if value is None or value == "" or value == ():
        return False
    if not isinstance(value, (str, int)):
        return any(matches(vr, key, each) for each in value)
    return _MATCHERS.get(vr, _matches_text)(key, str(value))


def _matches_uid(key: str, value: str) -> bool:
    return value in key.split("\\")


def _matches_number(key: str, value: str) -> bool:
    try:
        return int(key) == int(value)
    except ValueError:
        return False


def _matches_range(key: str, value: str) -> bool:
    """Single value or range of DA, TM or DT (PS3.4 C.2.2.2.5); a shorter bound covers all that begins with it."""
    plain = value.replace(":", "").replace(".", "")
    if "-" not in key:
        return plain.startswith(key.replace(":", "").replace(".", ""))
    low, high = (bound.strip().replace(":", "").replace(".", "") for bound in key.split("-", 1))
    return plain >= low and (not high or plain[: len(high)] <= high)


def _matches_text(key: str, value: str) -> bool:
    """Single value or wild card, case-sensitive."""
    return any(_wild(each).fullmatch(value) for each in key.split("\\"))


def _matches_name(key: str, value: str) -> bool:
    """Person name: neither case nor accents count, and any component group may match."""
    groups = [value, *value.split("=")]
    return any(_wild(_folded(key).rstrip("^")).fullmatch(_folded(group).rstrip("^")) for group in groups)


def _folded(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def _wild(pattern: str) -> re.Pattern[str]:
    escaped = pattern.strip().replace("[", "[[]")
    return re.compile(fnmatch.translate(escaped), re.DOTALL)


_MATCHERS = {
    "UI": _matches_uid,
    "IS": _matches_number,
    "US": _matches_number,
    "DA": _matches_range,
    "TM": _matches_range,
    "DT": _matches_range,
    "PN": _matches_name,
}
