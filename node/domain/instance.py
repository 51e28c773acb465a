"""What the catalog knows of one DICOM instance."""

from dataclasses import dataclass

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class CtFrame:
    """Place of one frame in the patient: LPS, mm."""

    position: Triple
    orientation: tuple[float, ...]
    """Six cosines: along a row, then down a column (PS3.3 C.7.6.2)."""


@dataclass(frozen=True)
class CtAttributes:
    """What decides whether a CT instance can be read (PS3.3 A.3, A.38); None or empty where the tag is absent."""

    frames: tuple[CtFrame, ...]
    """Empty when the geometry is absent or broken."""
    image_type: tuple[str, ...]
    rows: int | None
    columns: int | None
    pixel_spacing_mm: tuple[float, float] | None
    """Between rows, between columns."""
    slice_thickness_mm: float | None
    gantry_tilt_deg: float | None
    convolution_kernel: str
    contrast: bool
    lossy: bool
    burned_in: bool
    rescaled: bool
    """Rescale slope and intercept are there."""
    acquisition_number: int | None
    content_time: str
    patient_age_years: int | None


@dataclass(frozen=True)
class InstanceHeader:
    """What the catalog knows of one instance. Text is decoded; empty where the attribute is absent or unreadable."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
    patient_id: str
    issuer_of_patient_id: str
    patient_name: str
    patient_birth_date: str
    patient_sex: str
    study_date: str
    study_time: str
    accession_number: str
    study_id: str
    study_description: str
    referring_physician_name: str
    modality: str
    series_number: int | None
    series_description: str
    body_part_examined: str
    protocol_name: str
    frame_of_reference_uid: str
    instance_number: int | None
    rows: int | None
    columns: int | None
    ct: CtAttributes | None
    """None when the SOP class is not a CT image."""
    version: str = ""
    """SHA-256 of the data set, hex, where it took the place of another one of this instance; else empty."""
