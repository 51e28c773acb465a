"""Data set or file to InstanceHeader."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info

from node.domain.instance import CtAttributes, CtFrame, InstanceHeader
from node.errors import BadInput
from node.headers.elements import read_elements
from node.headers.values import integer, number, numbers, sequence, text, uid, years

CT_SOP_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2",  # CT Image
        "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image
        "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT Image
    }
)


def read_header(path: Path) -> InstanceHeader:
    """Header of a Part 10 file. Raises BadInput when it does not parse or names no instance, series or study."""
    syntax = transfer_syntax_of(path)
    with path.open("rb") as file:
        skip_meta(file)
        return header_of(read_elements(file, syntax), syntax)


def transfer_syntax_of(path: Path) -> str:
    """Of a Part 10 file. Raises BadInput where it is none."""
    try:
        return str(read_file_meta_info(path).TransferSyntaxUID)
    except (InvalidDicomError, AttributeError, EOFError, ValueError) as error:
        raise BadInput("The file has no readable file meta.") from error


def data_set_digest(path: Path) -> str:
    """SHA-256 of the data set of a Part 10 file, hex: the same whatever file meta stands before it."""
    with path.open("rb") as file:
        skip_meta(file)
        return hashlib.file_digest(file, "sha256").hexdigest()


def skip_meta(file: BinaryIO) -> None:
    """Move to the data set of a Part 10 file (PS3.10 7.1: the group length comes first). Raises BadInput."""
    file.seek(128 + 4)
    head = file.read(12)
    if head[:4] != b"\x02\x00\x00\x00":
        raise BadInput("The file meta has no group length.")
    file.seek(int.from_bytes(head[8:12], "little"), os.SEEK_CUR)


def header_of(ds: Dataset, transfer_syntax_uid: str) -> InstanceHeader:
    """What the catalog keeps of a data set. Raises BadInput when one of the four UIDs is missing."""
    sop_class_uid = uid(ds, "SOPClassUID")
    return InstanceHeader(
        sop_instance_uid=uid(ds, "SOPInstanceUID"),
        sop_class_uid=sop_class_uid,
        transfer_syntax_uid=str(transfer_syntax_uid),
        study_instance_uid=uid(ds, "StudyInstanceUID"),
        series_instance_uid=uid(ds, "SeriesInstanceUID"),
        patient_id=text(ds, "PatientID"),
        issuer_of_patient_id=text(ds, "IssuerOfPatientID"),
        patient_name=text(ds, "PatientName"),
        patient_birth_date=text(ds, "PatientBirthDate"),
        patient_sex=text(ds, "PatientSex"),
        study_date=text(ds, "StudyDate"),
        study_time=text(ds, "StudyTime"),
        accession_number=text(ds, "AccessionNumber"),
        study_id=text(ds, "StudyID"),
        study_description=text(ds, "StudyDescription"),
        referring_physician_name=text(ds, "ReferringPhysicianName"),
        modality=text(ds, "Modality"),
        series_number=integer(ds, "SeriesNumber"),
        series_description=text(ds, "SeriesDescription"),
        body_part_examined=text(ds, "BodyPartExamined"),
        protocol_name=text(ds, "ProtocolName"),
        frame_of_reference_uid=text(ds, "FrameOfReferenceUID"),
        instance_number=integer(ds, "InstanceNumber"),
        rows=integer(ds, "Rows"),
        columns=integer(ds, "Columns"),
        ct=_ct_attributes(ds) if sop_class_uid in CT_SOP_CLASSES else None,
    )


def _ct_attributes(ds: Dataset) -> CtAttributes:
    measures = _shared(ds, "PixelMeasuresSequence")
    spacing = numbers(measures, "PixelSpacing")
    frame_type = _shared(ds, "CTImageFrameTypeSequence")
    image_type = text(ds, "ImageType") or text(frame_type, "FrameType")
    return CtAttributes(
        frames=tuple(_frames(ds)),
        image_type=tuple(value.strip() for value in image_type.upper().split("\\")) if image_type else (),
        rows=integer(ds, "Rows"),
        columns=integer(ds, "Columns"),
        pixel_spacing_mm=(spacing[0], spacing[1]) if len(spacing) == 2 else None,
        slice_thickness_mm=number(measures, "SliceThickness"),
        gantry_tilt_deg=number(_shared(ds, "CTAcquisitionDetailsSequence"), "GantryDetectorTilt"),
        convolution_kernel=text(_shared(ds, "CTReconstructionSequence"), "ConvolutionKernel"),
        contrast=bool(text(ds, "ContrastBolusAgent") or sequence(ds, "ContrastBolusAgentSequence")),
        lossy=text(ds, "LossyImageCompression") == "01",
        burned_in=text(ds, "BurnedInAnnotation") == "YES",
        rescaled=number(_shared(ds, "PixelValueTransformationSequence"), "RescaleSlope") is not None,
        acquisition_number=integer(ds, "AcquisitionNumber"),
        content_time=text(ds, "ContentTime"),
        patient_age_years=years(text(ds, "PatientAge")),
    )


def _frames(ds: Dataset) -> Iterable[CtFrame]:
    """Geometry per frame; one for a single-frame image; nothing as soon as one frame lacks it."""
    items = list(sequence(ds, "PerFrameFunctionalGroupsSequence")) or [ds]
    frames = []
    for item in items:
        place = _group(item, "PlanePositionSequence") or item
        plane = _group(item, "PlaneOrientationSequence") or _shared(ds, "PlaneOrientationSequence")
        position = numbers(place, "ImagePositionPatient")
        orientation = numbers(plane, "ImageOrientationPatient")
        if len(position) != 3 or len(orientation) != 6:
            return ()
        frames.append(CtFrame((position[0], position[1], position[2]), tuple(orientation)))
    return frames


def _group(ds: Dataset, keyword: str) -> Dataset | None:
    items = sequence(ds, keyword)
    return items[0] if items else None


def _shared(ds: Dataset, keyword: str) -> Dataset:
    """The item that holds a functional group: shared, else of the first frame, else the data set itself."""
    for holder in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        groups = _group(ds, holder)
        item = _group(groups, keyword) if groups is not None else None
        if item is not None:
            return item
    return ds
