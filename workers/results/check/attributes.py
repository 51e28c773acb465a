"""What the modules of each IOD require (PS3.3), as a table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EncapsulatedPDFStorage,
    EnhancedSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from node.domain.delivery import ResultKind
from workers.results.check.rules import Object


@dataclass(frozen=True)
class Module:
    """A module of PS3.3. A path "A.B" means B in every item of A, which has at least one."""

    section: str
    filled: tuple[str, ...] = ()
    """Type 1, and 1C where its condition holds for everything that is written here: there, and not empty."""
    present: tuple[str, ...] = ()
    """Type 2: there, maybe empty."""


def _code(path: str) -> tuple[str, ...]:
    """Code Sequence Macro (Table 8.8-1)."""
    return tuple(f"{path}.{keyword}" for keyword in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning"))


def _sop(path: str) -> tuple[str, ...]:
    """SOP Instance Reference Macro (Table 10-11)."""
    return (f"{path}.ReferencedSOPClassUID", f"{path}.ReferencedSOPInstanceUID")


_EVIDENCE = "CurrentRequestedProcedureEvidenceSequence"
_SEGMENT, _FRAME, _SHARED = "SegmentSequence", "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"

PATIENT = Module("C.7.1.1", present=("PatientName", "PatientID", "PatientBirthDate", "PatientSex"))
STUDY = Module(
    "C.7.2.1",
    filled=("StudyInstanceUID",),
    present=("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
)
SERIES = Module("C.7.3.1", filled=("Modality", "SeriesInstanceUID"), present=("SeriesNumber",))
EQUIPMENT = Module("C.7.5.1", present=("Manufacturer",))
ENHANCED_EQUIPMENT = Module(
    "C.7.5.2", filled=("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions")
)
SOP_COMMON = Module("C.12.1", filled=("SOPClassUID", "SOPInstanceUID"))
SR_SERIES = Module(
    "C.17.1",
    filled=("Modality", "SeriesInstanceUID", "SeriesNumber"),
    present=("ReferencedPerformedProcedureStepSequence",),
)
SR_GENERAL = Module(
    "C.17.2",
    filled=(
        *("InstanceNumber", "CompletionFlag", "VerificationFlag", "ContentDate", "ContentTime"),
        *(f"{_EVIDENCE}.StudyInstanceUID", f"{_EVIDENCE}.ReferencedSeriesSequence.SeriesInstanceUID"),
        *_sop(f"{_EVIDENCE}.ReferencedSeriesSequence.ReferencedSOPSequence"),
    ),
    present=("PerformedProcedureCodeSequence",),
)
SR_CONTENT = Module(
    "C.17.3",
    filled=(
        *("ValueType", "ContinuityOfContent", *_code("ConceptNameCodeSequence")),
        *("ContentTemplateSequence.MappingResource", "ContentTemplateSequence.TemplateIdentifier", "ContentSequence"),
    ),
)
FRAME_OF_REFERENCE = Module("C.7.4.1", filled=("FrameOfReferenceUID",), present=("PositionReferenceIndicator",))
PIXELS = Module(
    "C.7.6.3",
    filled=(
        *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored"),
        *("HighBit", "PixelRepresentation", "PixelData"),
    ),
)
MULTI_FRAME = Module(
    "C.7.6.16",
    filled=(
        *("InstanceNumber", "ContentDate", "ContentTime", "NumberOfFrames"),
        *(
            f"{_FRAME}.FrameContentSequence.DimensionIndexValues",
            f"{_FRAME}.PlanePositionSequence.ImagePositionPatient",
        ),
        *_code(f"{_FRAME}.DerivationImageSequence.DerivationCodeSequence"),
        *_sop(f"{_FRAME}.DerivationImageSequence.SourceImageSequence"),
        *_code(f"{_FRAME}.DerivationImageSequence.SourceImageSequence.PurposeOfReferenceCodeSequence"),
        f"{_SHARED}.PlaneOrientationSequence.ImageOrientationPatient",
        *(f"{_SHARED}.PixelMeasuresSequence.{each}" for each in ("PixelSpacing", "SliceThickness")),
    ),
)
DIMENSIONS = Module(
    "C.7.6.17",
    filled=(
        "DimensionOrganizationSequence.DimensionOrganizationUID",
        *(f"DimensionIndexSequence.{each}" for each in ("DimensionIndexPointer", "DimensionOrganizationUID")),
    ),
)
SEG_IMAGE = Module(
    "C.8.20.2",
    filled=(
        *("ImageType", "LossyImageCompression", "SegmentationType", "ContentLabel", "SeriesNumber"),
        *(f"{_SEGMENT}.{each}" for each in ("SegmentNumber", "SegmentLabel", "SegmentAlgorithmType")),
        *(f"{_SEGMENT}.{each}" for each in ("SegmentAlgorithmName", "TrackingID", "TrackingUID")),
        *_code(f"{_SEGMENT}.SegmentedPropertyCategoryCodeSequence"),
        *_code(f"{_SEGMENT}.SegmentedPropertyTypeCodeSequence"),
    ),
    present=("ContentDescription",),
)
COMMON_REFERENCES = Module(
    "C.12.2",
    filled=("ReferencedSeriesSequence.SeriesInstanceUID", *_sop("ReferencedSeriesSequence.ReferencedInstanceSequence")),
)
SC_IMAGE = Module("C.8.6", filled=("ConversionType", "ImageType", "PlanarConfiguration"), present=("InstanceNumber",))
KEY_OBJECTS = Module(
    "C.17.6.2",
    filled=(
        *("InstanceNumber", "ContentDate", "ContentTime", f"{_EVIDENCE}.StudyInstanceUID"),
        f"{_EVIDENCE}.ReferencedSeriesSequence.SeriesInstanceUID",
        *_sop(f"{_EVIDENCE}.ReferencedSeriesSequence.ReferencedSOPSequence"),
    ),
)
PRESENTATION = Module(
    "C.11.10",
    filled=("InstanceNumber", "ContentLabel", "PresentationCreationDate", "PresentationCreationTime"),
    present=("ContentDescription", "ContentCreatorName"),
)
PRESENTED = Module(
    "C.11.11",
    filled=("ReferencedSeriesSequence.SeriesInstanceUID", *_sop("ReferencedSeriesSequence.ReferencedImageSequence")),
)
_AREA, _ANNOTATION = "DisplayedAreaSelectionSequence", "GraphicAnnotationSequence"
_GRAPHIC = f"{_ANNOTATION}.GraphicObjectSequence"
SHOWN = Module(
    "C.10.4",
    filled=(
        *(f"{_AREA}.{each}" for each in ("DisplayedAreaTopLeftHandCorner", "DisplayedAreaBottomRightHandCorner")),
        *(f"{_AREA}.{each}" for each in ("PresentationSizeMode", "PresentationPixelSpacing")),
    ),
)
GRAPHICS = Module(
    "C.10.5",
    filled=(
        *_sop(f"{_ANNOTATION}.ReferencedImageSequence"),
        *(f"{_ANNOTATION}.{each}" for each in ("GraphicLayer", "TextObjectSequence.UnformattedTextValue")),
        *(f"{_GRAPHIC}.{each}" for each in ("GraphicAnnotationUnits", "GraphicDimensions", "NumberOfGraphicPoints")),
        *(f"{_GRAPHIC}.{each}" for each in ("GraphicData", "GraphicType")),
        *(f"GraphicLayerSequence.{each}" for each in ("GraphicLayer", "GraphicLayerOrder")),
    ),
)
LOOK_UP = Module(
    "C.11.1",
    filled=("RescaleSlope", "RescaleIntercept", "RescaleType", "PresentationLUTShape", "SoftcopyVOILUTSequence"),
)
DOCUMENT = Module(
    "C.24.2",
    filled=(
        *("InstanceNumber", "ContentDate", "ContentTime", "BurnedInAnnotation", "MIMETypeOfEncapsulatedDocument"),
        *("EncapsulatedDocument", *_sop("SourceInstanceSequence")),
    ),
    present=("AcquisitionDateTime", "DocumentTitle", "ConceptNameCodeSequence"),
)
HEAT = Module(
    "C.8.32.2",
    filled=(
        *("ImageType", "ContentQualification", "ContentLabel", "PresentationLUTShape", "LossyImageCompression"),
        *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "FloatPixelData"),
        *("BurnedInAnnotation", "RecognizableVisualFeatures", "SeriesNumber"),
    ),
    present=("ContentDescription", "ContentCreatorName", "AcquisitionContextSequence"),
)
_MAPPING = f"{_SHARED}.RealWorldValueMappingSequence"
HEAT_FRAMES = Module(
    "C.7.6.16",
    filled=(
        *("InstanceNumber", "ContentDate", "ContentTime", "NumberOfFrames"),
        f"{_FRAME}.FrameContentSequence.DimensionIndexValues",
        f"{_FRAME}.PlanePositionSequence.ImagePositionPatient",
        f"{_SHARED}.PlaneOrientationSequence.ImageOrientationPatient",
        *(f"{_SHARED}.PixelMeasuresSequence.{each}" for each in ("PixelSpacing", "SliceThickness")),
        *(f"{_MAPPING}.{each}" for each in ("RealWorldValueSlope", "RealWorldValueIntercept", "LUTLabel")),
        *_code(f"{_MAPPING}.MeasurementUnitsCodeSequence"),
    ),
)
SC_EQUIPMENT = Module("C.8.6.1", filled=("ConversionType",))

_ALL = (PATIENT, STUDY, SERIES, EQUIPMENT, SOP_COMMON)
_REPORT = (*_ALL, SR_SERIES, SR_GENERAL, SR_CONTENT)
MODULES: dict[str, tuple[Module, ...]] = {
    Comprehensive3DSRStorage: (*_REPORT, ENHANCED_EQUIPMENT),
    ComprehensiveSRStorage: _REPORT,
    EnhancedSRStorage: _REPORT,
    SegmentationStorage: (
        *(*_ALL, FRAME_OF_REFERENCE, ENHANCED_EQUIPMENT, PIXELS),
        *(MULTI_FRAME, DIMENSIONS, SEG_IMAGE, COMMON_REFERENCES),
    ),
    SecondaryCaptureImageStorage: (*_ALL, PIXELS, SC_IMAGE),
    KeyObjectSelectionDocumentStorage: (*_ALL, SR_SERIES, KEY_OBJECTS, SR_CONTENT),
    GrayscaleSoftcopyPresentationStateStorage: (*_ALL, PRESENTATION, PRESENTED, SHOWN, GRAPHICS, LOOK_UP),
    EncapsulatedPDFStorage: (*_ALL, SC_EQUIPMENT, DOCUMENT),
    ParametricMapStorage: (
        *(*_ALL, FRAME_OF_REFERENCE, ENHANCED_EQUIPMENT, DIMENSIONS, COMMON_REFERENCES),
        *(HEAT, HEAT_FRAMES),
    ),
}
"""PS3.3 A.35.13, A.35.3, A.35.2, A.51, A.8.1, A.35.4, A.33.1, A.45.1, A.75."""
MODALITIES = {
    **{ResultKind.SEG: "SEG", ResultKind.SR: "SR", ResultKind.SC: "OT", ResultKind.PM: "OT"},
    **{ResultKind.KOS: "KO", ResultKind.GSPS: "PR", ResultKind.PDF: "DOC"},
}


def unfilled(of: Object) -> Iterator[str]:
    """Type 1 attributes that are missing or empty."""
    if str(of.dataset.get("SOPClassUID")) not in MODULES:
        yield "SOPClassUID"
    for path in _paths(of, "filled"):
        if not _holds(of.dataset, path.split("."), may_be_empty=False):
            yield path
    modality = of.dataset.get("Modality")
    if modality and modality != MODALITIES[of.encoded.kind]:
        yield "Modality"


def missing(of: Object) -> Iterator[str]:
    """Type 2 attributes that are missing."""
    filled = set(_paths(of, "filled"))
    for path in _paths(of, "present"):
        if path not in filled and not _holds(of.dataset, path.split("."), may_be_empty=True):
            yield path


def _paths(of: Object, kind: str) -> list[str]:
    modules = MODULES.get(of.encoded.sop_class_uid, ())
    return [path for module in modules for path in getattr(module, kind)]


def _holds(dataset: Dataset, path: Sequence[str], *, may_be_empty: bool) -> bool:
    """Whether every item on the way has it."""
    element: Any = dataset.get(path[0])
    if path[1:]:
        return bool(element) and all(_holds(item, path[1:], may_be_empty=may_be_empty) for item in element)
    if may_be_empty:
        return path[0] in dataset
    return element is not None and element != "" and (not hasattr(element, "__len__") or len(element) > 0)


VALUE_OF = {
    "TEXT": ("TextValue",),
    "CODE": _code("ConceptCodeSequence"),
    "NUM": ("MeasuredValueSequence.NumericValue", *_code("MeasuredValueSequence.MeasurementUnitsCodeSequence")),
    "UIDREF": ("UID",),
    "DATE": ("Date",),
    "TIME": ("Time",),
    "DATETIME": ("DateTime",),
    "PNAME": ("PersonName",),
    "IMAGE": _sop("ReferencedSOPSequence"),
    "COMPOSITE": _sop("ReferencedSOPSequence"),
    "SCOORD": ("GraphicType", "GraphicData"),
    "SCOORD3D": ("GraphicType", "GraphicData", "ReferencedFrameOfReferenceUID"),
    "CONTAINER": ("ContinuityOfContent",),
}
"""By Value Type: what it must hold (Table C.17-5 and the macros of C.18); here every number is known."""
NAMELESS = frozenset({"IMAGE", "COMPOSITE", "SCOORD", "SCOORD3D", "CONTAINER"})
"""Their Concept Name is required only by some templates."""


def incomplete_items(of: Object) -> Iterator[str]:
    """Content items of a report without relationship, concept name or value."""
    for path, item, element in of.elements:
        if element.keyword != "ValueType" or set(path[:-1]) > {"ContentSequence"} or len(path) == 1:
            continue
        kind = str(element.value)
        wanted = ["RelationshipType", *VALUE_OF.get(kind, ("a known ValueType",))]
        wanted += () if kind in NAMELESS else _code("ConceptNameCodeSequence")
        yield from (f"{kind} {path}" for path in wanted if not _holds(item, path.split("."), may_be_empty=False))
    without = [e for e in of.elements if e.path[-1] == "RelationshipType" and "ValueType" not in e.parent]
    yield from ("ValueType" for _ in without)
