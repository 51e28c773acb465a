"""Headers of CT instances to image planes: one geometry and rescale for every frame, or BadInput."""

import errno
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from node.errors import BadInput, Unavailable
from workers.volume.grid import SliceSource

MULTI_FRAME = (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
PARSE_ERRORS = (
    *(AttributeError, BytesLengthException, EOFError, IndexError, InvalidDicomError, KeyError, NotImplementedError),
    *(OSError, OverflowError, RuntimeError, TypeError, ValueError, struct.error, zlib.error),
)
"""What pydicom and its decoders raise on broken files."""
_MACROS = (
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
)


@dataclass(frozen=True)
class Plane:
    """One image plane, before its pixels are read."""

    path: Path
    header: Dataset
    frame_index: int
    position_lps_mm: NDArray[np.float64]
    orientation: NDArray[np.float64]
    """Direction of the rows, then of the columns: (2, 3)."""
    spacing_yx_mm: NDArray[np.float64]
    slope: float
    intercept: float


def read_headers(paths: Iterable[Path]) -> tuple[Dataset, ...]:
    """Read data sets without their pixels, in the given order; BadInput where a file is not readable DICOM."""
    with readable("a file of the series"):
        return tuple(dcmread(path, stop_before_pixels=True) for path in paths)


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Turn what pydicom raises on broken files into BadInput, and pass over its warnings. Raises Unavailable where the
    system cannot read a file now: that says nothing about the images, and another attempt may.

    pydicom reads an element when it is asked for, so a broken one may show anywhere in the block. It warns about
    values that break a rule and can be used all the same.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except PARSE_ERRORS as error:
        said = f"{what[0].upper()}{what[1:]} cannot be read"
        if isinstance(error, OSError) and error.errno:
            raise Unavailable(f"{said} now ({errno.errorcode.get(error.errno, 'OSError')}).") from error
        raise BadInput(f"{said} ({type(error).__name__}).") from error


def require_one_series(headers: Sequence[Dataset]) -> None:
    """Refuse what is not one CT series of one patient in one frame of reference."""
    allowed = (CTImageStorage, *MULTI_FRAME)
    if any(header.get("SOPClassUID") not in allowed for header in headers):
        raise BadInput("The series holds objects that are not CT images.")
    for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Rows", "Columns"):
        if len({str(header.get(keyword, "")) for header in headers}) > 1:
            raise BadInput(f"The images of the series differ in {keyword}.")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID", "Rows"):
        if any(not header.get(keyword) for header in headers):
            raise BadInput(f"An image of the series has no {keyword}.")
    if len({header.SOPInstanceUID for header in headers}) < len(headers):
        raise BadInput("The series holds the same image twice.")


def planes_of(path: Path, header: Dataset) -> list[Plane]:
    if header.SOPClassUID not in MULTI_FRAME:
        return [_plane(path, header, 0, [header])]
    shared = list(header.get("SharedFunctionalGroupsSequence", []))[:1]
    per_frame = header.get("PerFrameFunctionalGroupsSequence", [])
    if len(per_frame) != int(header.get("NumberOfFrames", 0) or 0) or not per_frame:
        raise BadInput("A multi-frame image does not describe each of its frames.")
    return [_plane(path, header, index, _macros([frame, *shared])) for index, frame in enumerate(per_frame)]


def _macros(groups: Sequence[Dataset]) -> list[Dataset]:
    """Items of the functional groups that carry geometry and rescale, the frame's own before the shared ones."""
    return [item for group in groups for name in _MACROS for item in list(group.get(name, []))[:1]]


def _plane(path: Path, header: Dataset, frame_index: int, places: Sequence[Dataset]) -> Plane:
    """Read the geometry and rescale of one frame from the first of `places` that has each attribute."""
    orientation = _numbers(places, "ImageOrientationPatient", 6).reshape(2, 3)
    gram = orientation @ orientation.T
    if np.abs(gram - np.eye(2)).max() > 1e-2:
        raise BadInput("ImageOrientationPatient of an image is not two perpendicular unit vectors.")
    spacing = _numbers(places, "PixelSpacing", 2)
    if not (spacing > 0).all():
        raise BadInput("PixelSpacing of an image is not positive.")
    _require_hu(header, places)
    return Plane(
        path=path,
        header=header,
        frame_index=frame_index,
        position_lps_mm=_numbers(places, "ImagePositionPatient", 3),
        orientation=orientation / np.linalg.norm(orientation, axis=1, keepdims=True),
        spacing_yx_mm=spacing,
        slope=float(_numbers(places, "RescaleSlope", 1)[0]),
        intercept=float(_numbers(places, "RescaleIntercept", 1)[0]),
    )


def _numbers(places: Sequence[Dataset], keyword: str, count: int) -> NDArray[np.float64]:
    try:
        value: Any = next((place[keyword].value for place in places if keyword in place), None)
        numbers = np.atleast_1d(np.array(value, dtype=np.float64))
    except PARSE_ERRORS as error:
        raise BadInput(f"{keyword} of an image cannot be read.") from error
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise BadInput(f"An image of the series has no usable {keyword}.")
    return numbers


def _require_hu(header: Dataset, places: Sequence[Dataset]) -> None:
    kinds = {str(place.get("RescaleType") or "HU") for place in places}
    if kinds != {"HU"} or "ModalityLUTSequence" in header:
        raise BadInput("The pixel values are not Hounsfield units.")
    if header.get("SamplesPerPixel", 1) != 1 or header.get("BitsAllocated") not in (8, 16, 32):
        raise BadInput("The pixels are not grey values of 8, 16 or 32 bits.")


def source_of(plane: Plane) -> SliceSource:
    header = plane.header
    number = header.get("InstanceNumber")
    return SliceSource(
        sop_instance_uid=str(header.SOPInstanceUID),
        sop_class_uid=str(header.SOPClassUID),
        frame_number=plane.frame_index + 1 if header.SOPClassUID in MULTI_FRAME else None,
        instance_number=None if number is None else int(number),
    )
