"""Two files of one SOP Instance UID: the same again, the same image described otherwise, or another image."""

import hashlib
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydicom import DataElement, Dataset, dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from node.domain.study import VersionKind
from node.headers.decoding import is_of_the_machine, pixel_digest

Decoded = Callable[[Path], str | None]
"""Digest of the values of all pixels of a file; None where nothing decodes them."""

CONFLICTING: Mapping[str, tuple[str, ...]] = {
    "Where it is filed: another image of another series": (
        *("SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"),
    ),
    "What kind of image it is: decides whether it is read as a slice (PS3.3 C.8.2.1.1.1)": (
        *("ImageType", "FrameType", "AcquisitionNumber", "NumberOfFrames"),
    ),
    "Where it lies in the patient: position and size of each voxel": (
        *("FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
        *("SpacingBetweenSlices", "GantryDetectorTilt", "Rows", "Columns"),
    ),
    "What a stored value means: Hounsfield units and padding": (
        *("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence", "SamplesPerPixel"),
        *("PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
        *("PixelPaddingValue", "PixelPaddingRangeLimit"),
    ),
    "What an object says that is no image": ("ContentSequence", "EncapsulatedDocument", "WaveformSequence"),
}
"""Why, and what: a difference in any of these, or in the pixels, makes another image of it."""

DESCRIBING: Mapping[str, tuple[str, ...]] = {
    "Who the patient is: results carry it (Patient, PS3.3 C.7.1.1)": (
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "IssuerOfPatientID"),
        *("IssuerOfPatientIDQualifiersSequence", "TypeOfPatientID", "OtherPatientIDs", "OtherPatientIDsSequence"),
        *("OtherPatientNames", "PatientBirthTime", "EthnicGroup", "PatientComments", "QualityControlSubject"),
        *("ReferencedPatientSequence", "PatientSpeciesDescription", "ResponsiblePerson", "PatientIdentityRemoved"),
        *("DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    ),
    "Which study it is: results carry it (General Study, Patient Study, PS3.3 C.7.2)": (
        *("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "StudyDescription", "ReferringPhysicianName"),
        *("ProcedureCodeSequence", "IssuerOfAccessionNumberSequence", "ReferringPhysicianIdentificationSequence"),
        *("PhysiciansOfRecord", "ConsultingPhysicianName", "NameOfPhysiciansReadingStudy", "ReferencedStudySequence"),
        *("AdmittingDiagnosesDescription", "PatientAge", "PatientSize", "PatientWeight", "MedicalAlerts"),
        *("Allergies", "SmokingStatus", "PregnancyStatus", "Occupation", "AdditionalPatientHistory"),
        *("AdmissionID", "PatientSexNeutered", "TimezoneOffsetFromUTC", "LongitudinalTemporalInformationModified"),
    ),
    "For which trial and which order: results carry it (PS3.3 C.7.1.3, C.7.2.3, 10.6)": (
        *("ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName", "ClinicalTrialSiteID"),
        *("ClinicalTrialSiteName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID"),
        *("ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription", "RequestAttributesSequence"),
    ),
    "What the series is meant to show: decides whether it is the chest, and which of several is read": (
        *("SeriesDescription", "BodyPartExamined", "ProtocolName", "ContrastBolusAgent"),
    ),
}
"""Why, and what: the image is the same, and a result that is made from it would say something else about whose it is.

Nothing else counts: window, institution, station, retrieve AE title, private attributes, group lengths, padding."""

FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
"""Hold all of the above for multi-frame images (PS3.3 C.7.6.16), beside windows and times that do not count."""
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

LOSSLESS = frozenset(
    f"1.2.840.10008.1.2{rest}"
    for rest in ("", ".1", ".1.99", ".2", ".5", *(f".4.{last}" for last in (57, 70, 80, 90, 110, 201, 202)))
)
"""Transfer syntaxes that bring back every bit (PS3.5 A)."""


def _tags(keywords: Iterable[str]) -> frozenset[BaseTag]:
    return frozenset(BaseTag(number) for name in keywords if (number := tag_for_keyword(name)) is not None)


_CONFLICTING = _tags(name for names in CONFLICTING.values() for name in names)
_DESCRIBING = _tags(name for names in DESCRIBING.values() for name in names)
_GROUPS, _PIXELS = _tags(FUNCTIONAL_GROUPS), _tags(PIXELS)


@dataclass(frozen=True)
class Content:
    """What a file says, as far as it counts: digests, so that never two files are in memory."""

    image: bytes
    description: bytes
    pixels: bytes
    """As they are encoded."""
    lossless: bool


def compare(first: Path, second: Path, decoded: Decoded = pixel_digest) -> VersionKind:
    """What the second file of an instance is beside the first: DUPLICATE, DEMOGRAPHICS or CONFLICT.

    Values are compared as they are parsed: byte order, VR encoding, character set and padding do not count, nor does a
    lossless transfer syntax, where a decoder for it is installed. What cannot be understood, or is not there, is a
    CONFLICT. Raises OSError and MemoryError: what the disk or the memory does not give now says nothing of the files.
    """
    with warnings.catch_warnings(action="ignore"):
        try:
            one, other = (content_of(dcmread(path)) for path in (first, second))
        except Exception as error:  # pydicom raises anything for a broken file: it must not hold up the others
            if is_of_the_machine(error):
                raise
            return VersionKind.CONFLICT
        if one.image != other.image or not (
            one.pixels == other.pixels or _same_pixels(one, other, map(decoded, (first, second)))
        ):
            return VersionKind.CONFLICT
    return VersionKind.DUPLICATE if one.description == other.description else VersionKind.DEMOGRAPHICS


def content_of(ds: Dataset) -> Content:
    """What a data set says, as far as it counts."""
    groups = [_of_frames(item) for tag in sorted(_GROUPS) if tag in ds for item in ds[tag].value]
    pixels = hashlib.sha256()
    for tag in sorted(_PIXELS):
        pixels.update(ds[tag].value if tag in ds and ds[tag].value else b"")
    syntax = str(ds.file_meta.get("TransferSyntaxUID", "")) if hasattr(ds, "file_meta") else ""
    return Content(
        image=_digest([_said(ds, _CONFLICTING), groups]),
        description=_digest(_said(ds, _DESCRIBING)),
        pixels=pixels.digest(),
        lossless=syntax in LOSSLESS,
    )


def _digest(content: object) -> bytes:
    return hashlib.sha256(repr(content).encode("utf-8", "surrogatepass")).digest()


def _said(ds: Dataset, wanted: Iterable[BaseTag] | None = None) -> list[tuple[int, object]]:
    """Tag and value of what has one; an empty attribute says what an absent one does."""
    tags = sorted(set(ds.keys()) & set(wanted) if wanted is not None else ds.keys())
    values = ((int(tag), _value(ds, tag)) for tag in tags if tag.element)
    return [(tag, value) for tag, value in values if value not in (None, "", b"", [])]


def _value(ds: Dataset, tag: BaseTag) -> object:
    try:
        return _plain(ds[tag])
    except Exception:  # noqa: BLE001 - conversion of a broken value may raise anything; then its bytes are compared
        return ds.get_item(tag).value


def _plain(element: DataElement) -> object:
    """A value without what its encoding adds."""
    if element.VR == "SQ":
        return [_said(item) for item in element.value]
    values = list(element.value) if isinstance(element.value, (list, MultiValue)) else [element.value]
    plain = [_one(each, element.VR) for each in values]
    return plain[0] if len(plain) == 1 else plain


def _one(value: object, vr: str) -> object:
    if vr in ("DS", "IS") and value not in (None, ""):
        return float(str(value))
    if vr == "PN":
        return str(value).strip("\0 ").rstrip("^= ")  # PS3.5 6.2.1: trailing delimiters are optional
    if isinstance(value, bytes):
        return value.rstrip(b"\0 ")
    return str(value).strip("\0 ") if isinstance(value, str) else value


def _of_frames(item: Dataset) -> list[tuple[int, object]]:
    """What counts in an item of the functional groups, whatever group it stands in."""
    found = _said(item, _CONFLICTING)
    for element in item:
        if element.VR == "SQ" and not element.tag.is_private:
            found += [each for nested in element.value for each in _of_frames(nested)]
    return found


def _same_pixels(one: Content, other: Content, digests: Iterable[str | None]) -> bool:
    """Whether two encodings hold the same values; no, where that cannot be found out."""
    if not (one.lossless and other.lossless):
        return False
    decoded = [digest for digest in digests if digest]
    return len(decoded) == 2 and decoded[0] == decoded[1]
