"""What a C-FIND, C-MOVE or C-GET may ask for, and the attributes we answer with (PS3.4 C.6)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from node.domain.matching import Key, Value, matches, matches_together, selects


class QueryLevel(StrEnum):
    """Levels of the Patient Root model (PS3.4 C.6.1)."""

    PATIENT = "PATIENT"
    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"


PATIENT_ROOT = (QueryLevel.PATIENT, QueryLevel.STUDY, QueryLevel.SERIES, QueryLevel.IMAGE)
STUDY_ROOT = (QueryLevel.STUDY, QueryLevel.SERIES, QueryLevel.IMAGE)
"""Levels of the model, from its root (PS3.4 C.6.2)."""
UNIQUE_KEYS = {
    QueryLevel.PATIENT: "PatientID",
    QueryLevel.STUDY: "StudyInstanceUID",
    QueryLevel.SERIES: "SeriesInstanceUID",
    QueryLevel.IMAGE: "SOPInstanceUID",
}

PATIENT_KEYS = {
    "PatientName": "PN",
    "PatientID": "LO",
    "IssuerOfPatientID": "LO",
    "PatientBirthDate": "DA",
    "PatientSex": "CS",
    "NumberOfPatientRelatedStudies": "IS",
    "NumberOfPatientRelatedSeries": "IS",
    "NumberOfPatientRelatedInstances": "IS",
}
STUDY_KEYS = PATIENT_KEYS | {
    "StudyInstanceUID": "UI",
    "StudyDate": "DA",
    "StudyTime": "TM",
    "AccessionNumber": "SH",
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
    QueryLevel.PATIENT: PATIENT_KEYS,
    QueryLevel.STUDY: STUDY_KEYS,
    QueryLevel.SERIES: STUDY_KEYS | SERIES_KEYS,
    QueryLevel.IMAGE: STUDY_KEYS | SERIES_KEYS | IMAGE_KEYS,
}

SERIES_IN_FILE = frozenset(
    {
        "SeriesDate",
        "SeriesTime",
        "ProtocolName",
        "Laterality",
        "PatientPosition",
        "FrameOfReferenceUID",
        "Manufacturer",
        "ManufacturerModelName",
        "StationName",
        "InstitutionName",
        "PerformingPhysicianName",
        "OperatorsName",
        "PerformedProcedureStepID",
        "PerformedProcedureStepDescription",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
        "RequestAttributesSequence",
    }
)
IMAGE_IN_FILE = frozenset(
    {
        "ImageType",
        "InstanceCreationDate",
        "InstanceCreationTime",
        "AcquisitionDate",
        "AcquisitionTime",
        "AcquisitionNumber",
        "ContentDate",
        "ContentTime",
        "NumberOfFrames",
        "BitsAllocated",
        "ContentTemplateSequence",
        "ConceptNameCodeSequence",
        "CompletionFlag",
        "VerificationFlag",
        "PreliminaryFlag",
        "VerifyingObserverSequence",
        "ReferencedRequestSequence",
        "PredecessorDocumentsSequence",
        "CurrentRequestedProcedureEvidenceSequence",
        "ReferencedSeriesSequence",
        "ContentLabel",
        "ContentDescription",
        "ContentCreatorName",
        "SegmentationType",
        "SegmentSequence",
    }
)
"""Of SR and SEG those that IHE AI Results queries for (RAD-137), and what viewers list images by."""
IN_FILE = {
    QueryLevel.PATIENT: frozenset[str](),
    QueryLevel.STUDY: frozenset[str](),
    QueryLevel.SERIES: SERIES_IN_FILE,
    QueryLevel.IMAGE: SERIES_IN_FILE | IMAGE_IN_FILE,
}
"""Attributes that the catalog does not hold: they are read from the file of the image, or of one image of a series."""

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
    "Failure": (0x0E, "LO"),
    "FailureText": (0x0F, "LT"),
    "StepUID": (0x10, "UI"),
    "QueueDepth": (0x0D, "IS"),
    "FailedJobs": (0x11, "IS"),
    "StorageLeft": (0x12, "IS"),
    "LastEvents": (0x13, "LT"),
}
"""Name to element and VR in the private block of a study: how far its analysis is, and what only admins are told."""
ADMIN_KEYS = ("QueueDepth", "FailedJobs", "StorageLeft", "LastEvents")
"""Of these: what the node knows of itself; the same in each answer, and never matched."""


@dataclass(frozen=True)
class Query:
    """A C-FIND identifier. A key with an empty value is only asked for; with a value it also selects."""

    level: QueryLevel
    keys: Mapping[str, str] = field(default_factory=dict)
    """Keyword to value; several values are joined by a backslash."""
    job_keys: Mapping[str, str] = field(default_factory=dict)
    """The same for JOB_KEYS."""
    in_file: Mapping[str, Key] = field(default_factory=dict)
    """What IN_FILE has of the level."""
    together: bool = False
    """Study Date and Study Time are one range; by extended negotiation only."""

    def selects(self, row: Mapping[str, Value]) -> bool:
        """Whether one entity matches every key."""
        known = KEYS[self.level]
        names = [name for name in self.keys if name in known and not (self.is_one_range and name in _DATE_AND_TIME)]
        return (
            all(matches(known[name], self.keys[name], row.get(name)) for name in names)
            and all(matches(JOB_KEYS[name][1], key, row.get(name)) for name, key in self.job_keys.items())
            and (not self.is_one_range or self._matches_range(row))
            and selects(self.in_file, row)
        )

    @property
    def is_one_range(self) -> bool:
        """Whether date and time are to be matched together."""
        return self.together and all(self.keys.get(name) for name in _DATE_AND_TIME)

    def _matches_range(self, row: Mapping[str, Value]) -> bool:
        asked, known = ([str(of.get(name) or "") for name in _DATE_AND_TIME] for of in (self.keys, row))
        return matches_together(*asked, *known)

    def lacks_unique_keys(self, levels: tuple[QueryLevel, ...]) -> bool:
        """Whether a level above has not exactly one value of its unique key, as hierarchical queries must have
        (PS3.4 C.4.1.2.1)."""
        above = (self.keys.get(UNIQUE_KEYS[level], "") for level in levels[: levels.index(self.level)])
        return any(not value or set(value) & set("*?\\") for value in above)


_DATE_AND_TIME = ("StudyDate", "StudyTime")
