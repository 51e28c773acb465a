"""The segmentation: a segment a finding, on the images that were read, each voxel where the mask has it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from workers.results import codes as c
from workers.results.check import tree
from workers.results.check.rules import Object
from workers.results.request import ResultRequest
from workers.volume import Volume

POSITION_MM = 1e-2
"""Between a frame and the image it was drawn on: the rounding of decimal strings."""
DIRECTION, SPACING = 4e-3, 4e-3
"""Twice what two images of one volume may differ in: 1e-3 from the first of its files, each."""

Bits = NDArray[np.uint8]


@dataclass(frozen=True)
class Frame:
    """One frame: of which segment, on which slice, and its pixels."""

    number: int
    """1-based."""
    segment: int
    z: int | None
    """Index of the slice of the volume; None where it lies on none."""
    source: Dataset
    """The image that it says it was drawn on."""
    pixels: Bits
    """(rows, columns), 0 or 1."""


def wrong_length(of: Object) -> Iterator[str]:
    """Pixel Data holds as many bytes as rows, columns and frames say (PS3.5 8.1.1), and is not empty."""
    image = of.dataset
    count = int(image.Rows) * int(image.Columns) * int(image.get("NumberOfFrames", 1)) * int(image.SamplesPerPixel)
    size = (count * int(image.BitsAllocated) + 7) // 8
    if not count or len(image.PixelData) != size + size % 2:
        yield "PixelData"
    if image.SOPClassUID == SecondaryCaptureImageStorage and not any(image.PixelData[:: max(size // 65536, 1)]):
        yield "PixelData is blank"


def other_segments(of: Object) -> Iterator[str]:
    """Numbered from 1, as many as findings, each a nodule that software outlined."""
    segments = of.dataset.SegmentSequence
    if [segment.get("SegmentNumber") for segment in segments] != [each.ordinal for each in of.request.findings]:
        yield "SegmentNumber"
    for segment in segments:
        is_nodule = tree.key_in(segment, "SegmentedPropertyTypeCodeSequence") == tree.key(c.NODULE)
        if not is_nodule or segment.get("SegmentAlgorithmType") != "AUTOMATIC":
            yield f"segment {segment.get('SegmentNumber')}"


def other_tracking(of: Object) -> Iterator[str]:
    """Name and UID by which a nodule is followed, as in the report."""
    for finding, segment in zip(of.request.findings, of.dataset.SegmentSequence, strict=False):
        told = segment.get("TrackingID"), segment.get("TrackingUID")
        if told != (finding.label, of.request.tracking_uid(finding)):
            yield finding.label


def other_space(of: Object) -> Iterator[str]:
    """Frame of reference, matrix, directions and spacing are those of the images."""
    image, request = of.dataset, of.request
    if image.get("FrameOfReferenceUID") != request.headers[0].get("FrameOfReferenceUID"):
        yield "FrameOfReferenceUID"
    if (image.get("Rows"), image.get("Columns")) != _volume(request).hu.shape[1:]:
        yield "Rows and Columns"
    plane, shared = of.planes[0], image.SharedFunctionalGroupsSequence[0]
    directions = _numbers(shared.PlaneOrientationSequence[0].ImageOrientationPatient).reshape(2, 3)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)  # sources are not always exact
    if np.abs(directions - plane.orientation).max() > DIRECTION:
        yield "ImageOrientationPatient"
    spacing = _numbers(shared.PixelMeasuresSequence[0].PixelSpacing)
    if np.abs(spacing / plane.spacing_yx_mm - 1).max() > SPACING:
        yield "PixelSpacing"


def off_the_slices(of: Object) -> Iterator[str]:
    """Each frame lies on a slice that was read, and names its image and frame as what it was drawn on."""
    for frame in _frames(of):
        if frame.z is None:
            yield f"frame {frame.number}"
            continue
        source = _volume(of.request).slices[frame.z]
        told = frame.source.get("ReferencedSOPInstanceUID"), frame.source.get("ReferencedFrameNumber")
        if told != (source.sop_instance_uid, source.frame_number):
            yield f"frame {frame.number} names another image"


def empty_frames(of: Object) -> Iterator[str]:
    """A frame without a voxel tells a viewer that there is something where there is nothing."""
    yield from (f"frame {frame.number}" for frame in _frames(of) if not frame.pixels.any())


def other_voxels(of: Object) -> Iterator[str]:
    """Every voxel of every mask, and no other. Frames that lie on no slice are another rule's."""
    wanted, wrong = _planes_of_masks(of.request), []
    for frame in _frames(of):
        if frame.z is None:
            return
        box = wanted.pop((frame.segment, frame.z), None)
        if frame.pixels.any() if box is None else not _is_drawn(box, frame.pixels):
            wrong.append(f"frame {frame.number} of segment {frame.segment}")
    yield from wrong
    yield from sorted({f"segment {segment} has too few frames" for segment, _ in wanted})


@dataclass(frozen=True)
class Box:
    """What a mask has on one slice."""

    voxels: NDArray[np.bool_]
    """(rows, columns)."""
    top: int
    left: int


def _planes_of_masks(request: ResultRequest) -> dict[tuple[int, int], Box]:
    """By segment number and slice, where there is any voxel."""
    return {
        (finding.ordinal, mask.offset_zyx[0] + z): Box(plane, *mask.offset_zyx[1:])
        for finding, mask in zip(request.findings, request.masks, strict=True)
        for z, plane in enumerate(mask.voxels)
        if plane.any()
    }


def _is_drawn(box: Box, pixels: Bits) -> bool:
    """Exactly these voxels: the box is equal, and there are as many in the whole frame."""
    rows, columns = box.voxels.shape
    inside = pixels[box.top : box.top + rows, box.left : box.left + columns]
    return np.array_equal(inside, box.voxels) and np.count_nonzero(pixels) == np.count_nonzero(box.voxels)


def _frames(of: Object) -> Iterator[Frame]:
    """Every frame; bits of frames follow one another, the lowest first (PS3.5 8.1.1)."""
    image, places = of.dataset, np.array([plane.position_lps_mm for plane in of.planes])
    size = int(image.Rows) * int(image.Columns)
    packed = np.frombuffer(image.PixelData, np.uint8)
    for index, groups in enumerate(image.PerFrameFunctionalGroupsSequence):
        begin, end = index * size, (index + 1) * size
        bits = np.unpackbits(packed[begin // 8 : -(-end // 8)], bitorder="little")[begin % 8 :][:size]
        yield Frame(
            number=index + 1,
            segment=_segment_of(groups, image.SharedFunctionalGroupsSequence[0]),
            z=_slice_at(_numbers(groups.PlanePositionSequence[0].ImagePositionPatient), places),
            source=groups.DerivationImageSequence[0].SourceImageSequence[0],
            pixels=bits.reshape(int(image.Rows), int(image.Columns)),
        )


def _segment_of(frame: Dataset, shared: Dataset) -> int:
    """What all frames share is said once (PS3.3 C.7.6.16.1.1)."""
    group = frame if "SegmentIdentificationSequence" in frame else shared
    return int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def _slice_at(position_lps_mm: NDArray[np.float64], places: NDArray[np.float64]) -> int | None:
    distances = np.linalg.norm(places - position_lps_mm, axis=1)
    nearest = int(distances.argmin())
    return nearest if distances[nearest] <= POSITION_MM else None


def _numbers(values: Sequence[float]) -> NDArray[np.float64]:
    return np.array([float(value) for value in values])


def _volume(request: ResultRequest) -> Volume:
    if request.volume is None:
        raise ValueError("There is no volume.")
    return request.volume
