"""What all results share: patient and study as in the source, equipment, dates, identity, and the bytes."""

import copy
import re
import warnings
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from io import BytesIO

from pydicom import DataElement, Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import UID, ExplicitVRLittleEndian

from node.domain.delivery import ResultKind
from node.domain.uids import derived_uid
from node.headers.meta import IMPLEMENTATION_CLASS_UID
from workers.results.codes import ACQUISITION_EQUIPMENT, PROCESSING_EQUIPMENT
from workers.results.request import EncodedResult, ResultRequest
from workers.volume.planes import PARSE_ERRORS

SERIES_NUMBERS = {
    **{ResultKind.SEG: 9001, ResultKind.SR: 9002, ResultKind.PM: 9003, ResultKind.KOS: 9004},
    **{ResultKind.SC: 9005, ResultKind.GSPS: 9006, ResultKind.PDF: 9007},
}
TITLES = {
    **{ResultKind.SEG: "SEG", ResultKind.SR: "SR", ResultKind.PM: "Heat", ResultKind.KOS: "Key Images"},
    **{ResultKind.SC: "Summary", ResultKind.GSPS: "Marks", ResultKind.PDF: "Report"},
}
REQUIRED_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
)
"""Type 2 of Patient and General Study: written empty where the source has none."""
COPIED = (
    *REQUIRED_EMPTY,
    *("SpecificCharacterSet", "TimezoneOffsetFromUTC", "StudyInstanceUID", "StudyDescription", "ProcedureCodeSequence"),
    *("IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "TypeOfPatientID", "OtherPatientIDs"),
    *("OtherPatientIDsSequence", "OtherPatientNames", "PatientBirthTime", "EthnicGroup", "PatientComments"),
    *("QualityControlSubject", "ReferencedPatientSequence", "PatientSpeciesDescription", "ResponsiblePerson"),
    *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    *("IssuerOfAccessionNumberSequence", "ReferringPhysicianIdentificationSequence", "PhysiciansOfRecord"),
    *("ConsultingPhysicianName", "NameOfPhysiciansReadingStudy", "ReferencedStudySequence"),
    *("AdmittingDiagnosesDescription", "PatientAge", "PatientSize", "PatientWeight", "MedicalAlerts", "Allergies"),
    *("SmokingStatus", "PregnancyStatus", "Occupation", "AdditionalPatientHistory", "AdmissionID"),
    *("PatientSexNeutered", "LongitudinalTemporalInformationModified"),
    *("ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName", "ClinicalTrialSiteID"),
    *("ClinicalTrialSiteName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID"),
    *("ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription"),
)
"""Patient, Patient Study, General Study and Clinical Trial attributes, copied verbatim."""

MOST_OFFSET = timedelta(hours=14)
"""The easternmost time zone (PS3.3 C.12.1.1)."""


def plain_source(request: ResultRequest) -> Dataset:
    """A header that highdicom accepts as source whatever the real one lacks; `encode` puts the real values in."""
    first, source = request.headers[0], Dataset()
    for keyword in REQUIRED_EMPTY:
        setattr(source, keyword, "")
    source.Modality = "CT"
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(source, keyword, first[keyword].value)
    return source


def encode(
    dataset: Dataset, kind: ResultKind, request: ResultRequest, refers_to: tuple[str, ...] = ()
) -> EncodedResult:
    """Complete a result and write it as a Part-10 file; the same request gives the same bytes.

    `refers_to`: SOP Instance UIDs of other results without which it is not to be sent.
    """
    sop_class_uid = str(dataset.SOPClassUID)
    dataset.SOPInstanceUID = request.instance_uid(sop_class_uid, refers_to)
    dataset.SeriesInstanceUID = request.series_uid(sop_class_uid)
    dataset.SeriesNumber, dataset.InstanceNumber = SERIES_NUMBERS[kind], 1
    state = "NOT ANALYSED" if request.volume is None else TITLES[kind]
    dataset.SeriesDescription = f"{_mark(request)}AI Lung Nodule {state} [v{request.model.version}]"[:64]
    _copy_patient_and_study(request.headers[0], dataset)
    _add_equipment(dataset, request)
    _add_dates(dataset, request)
    return EncodedResult(
        kind=kind,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=dataset.SOPInstanceUID,
        series_instance_uid=dataset.SeriesInstanceUID,
        data=_part_10(dataset),
        refers_to=refers_to,
    )


def _mark(request: ResultRequest) -> str:
    return "SHADOW " if request.shadow else ""


def coded(code: Code) -> Dataset:
    """One item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def created_at(request: ResultRequest) -> datetime:
    """The time of creation in the time zone of the study, where it names one."""
    offset = _offset_of(request.headers[0])
    return request.created if offset is None else request.created.astimezone(timezone(offset))


def _offset_of(source: Dataset) -> timedelta | None:
    """The study's offset from UTC; None where it names none or an impossible one."""
    text = str(source.get("TimezoneOffsetFromUTC", "") or "")
    if not re.fullmatch(r"[+-][0-9]{2}[0-5][0-9]", text, re.ASCII):
        return None
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[3:]))
    return None if offset > MOST_OFFSET else offset * (-1 if text[0] == "-" else 1)


def _copy_patient_and_study(source: Dataset, target: Dataset) -> None:
    with _without_warnings():
        for keyword in COPIED:
            element = _copy_of(source, keyword)
            if element is not None:
                target[element.tag] = element
            elif keyword in REQUIRED_EMPTY:
                setattr(target, keyword, "")
            elif keyword in target:
                delattr(target, keyword)


def _copy_of(source: Dataset, keyword: str) -> DataElement | None:
    """A copied attribute; None where it is absent or cannot be read: a broken weight must not cost the report."""
    if keyword not in source or (keyword == "TimezoneOffsetFromUTC" and _offset_of(source) is None):
        return None
    try:
        element = source[keyword]
        _settle(element)
    except PARSE_ERRORS:
        return None
    return copy.deepcopy(element)


def _settle(element: DataElement) -> None:
    """Decode nested items now, with the source's character set and byte order."""
    if element.VR == "SQ":
        for item in element.value:
            for nested in item:
                _settle(nested)


def _add_equipment(dataset: Dataset, request: ResultRequest) -> None:
    equipment, model = request.equipment, request.model
    versions = [*equipment.software_versions, f"{model.name} {model.version}"]
    dataset.Manufacturer, dataset.ManufacturerModelName = equipment.manufacturer, equipment.model_name
    dataset.DeviceSerialNumber, dataset.StationName = equipment.installation_id, equipment.ae_title
    dataset.SoftwareVersions = [version[:63] for version in versions]  # the blank that pads the last one counts, too
    node, scanner, source = Dataset(), Dataset(), request.headers[0]
    node.PurposeOfReferenceCodeSequence = [coded(PROCESSING_EQUIPMENT)]
    for keyword in ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "StationName", "SoftwareVersions"):
        node[keyword] = copy.deepcopy(dataset[keyword])
        if source.get(keyword):
            scanner[keyword] = copy.deepcopy(source[keyword])
    # without an offset where it is UTC, like all times beside it: dcmpschk takes +0000 for malformed
    node.ContributionDateTime = created_at(request).strftime("%Y%m%d%H%M%S.%f%z").removesuffix("+0000")
    scanner.PurposeOfReferenceCodeSequence = [coded(ACQUISITION_EQUIPMENT)]
    for item in (node, scanner):
        request.say.name_codes(item)
    dataset.ContributingEquipmentSequence = [scanner, node] if "Manufacturer" in scanner else [node]


def _add_dates(dataset: Dataset, request: ResultRequest) -> None:
    created = created_at(request)
    names = ("InstanceCreation", "Content", "Series")
    for name in names if dataset.Modality != "PR" else (names[0], names[2], "PresentationCreation"):
        setattr(dataset, f"{name}Date", created.strftime("%Y%m%d"))
        setattr(dataset, f"{name}Time", created.strftime("%H%M%S.%f"))


def _part_10(dataset: Dataset) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    dataset.file_meta.ImplementationVersionName = "NODUS"
    dataset.preamble = b"\x00" * 128
    plain = _plain(dataset)
    try:
        return _written(plain)
    except (LookupError, UnicodeError, UserWarning):
        plain.SpecificCharacterSet = "ISO_IR 192"
        return _written(plain)


def _plain(dataset: Dataset) -> Dataset:
    """The same elements in a pydicom Dataset: subclasses carry state that must not reach the file."""
    plain = Dataset(dataset)
    plain.file_meta, plain.preamble = dataset.file_meta, dataset.preamble
    return plain


def _written(dataset: Dataset) -> bytes:
    with BytesIO() as buffer, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message="Failed to encode")
        dcmwrite(buffer, dataset, enforce_file_format=True)
        return buffer.getvalue()


def _without_warnings() -> "warnings.catch_warnings[None]":
    return warnings.catch_warnings(action="ignore")


def references(headers: Iterable[Dataset]) -> Iterator[Dataset]:
    """Class and instance UID of each header, as items of a Referenced SOP Sequence."""
    for header in headers:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
        yield item


def device_uid(request: ResultRequest) -> str:
    """UID of this installation as an observer."""
    return derived_uid("nodus", "device", request.equipment.installation_id)
