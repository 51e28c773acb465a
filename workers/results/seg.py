"""Segmentation: BINARY, one segment a nodule, only frames that hold a nodule."""

import copy
from collections.abc import Iterator
from typing import Any

import highdicom as hd
import numpy as np
from highdicom.seg import Segmentation, SegmentDescription
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import CTImageStorage, SegmentationStorage

from node.domain.delivery import ResultKind
from node.domain.finding import Finding
from node.domain.uids import derived_uid
from node.errors import AnalysisError
from workers.results import codes as c
from workers.results.document import encode, plain_source, references
from workers.results.request import EncodedResult, ResultRequest
from workers.volume import SliceSource, Volume

Where = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
"""Frame, row and column of each voxel of a mask."""
DESCRIPTION = "Lung nodules found by AI, unverified"
SHADOW = "SHADOW READING, not for use: nodules found by AI, unverified"
COLOURS_LAB = (
    *((62.0, 55.0, 45.0), (70.0, -45.0, 45.0), (55.0, 5.0, -55.0), (85.0, 0.0, 75.0)),
    *((60.0, 60.0, -35.0), (80.0, -35.0, -15.0), (65.0, 25.0, 65.0), (75.0, 15.0, -20.0)),
)
"""L*, a*, b* by segment number, repeating."""


def encode_seg(request: ResultRequest) -> EncodedResult:
    """Encode the masks of all findings. Raises AnalysisError without findings: highdicom would write empty frames."""
    volume = request.volume
    if not request.findings or volume is None:
        raise AnalysisError("A segmentation needs at least one finding.")
    if not all(mask.voxels.any() for mask in request.masks):
        raise AnalysisError("A mask is empty.")
    slices = _slices(request)
    stand_ins = [_stand_in(z, request, volume) for z in slices]
    segmentation = Segmentation(
        source_images=stand_ins,
        pixel_array=_frames(request, slices, volume),
        segmentation_type="BINARY",
        segment_descriptions=[_segment(finding, request) for finding in request.findings],
        series_instance_uid=request.series_uid(SegmentationStorage),
        series_number=1,
        sop_instance_uid=request.seg_uid,
        instance_number=1,
        manufacturer=request.equipment.manufacturer,
        manufacturer_model_name=request.equipment.model_name,
        software_versions=request.model.version,
        device_serial_number=request.equipment.installation_id,
        content_label="LUNG_NODULES",
        content_description=request.say(SHADOW if request.shadow else DESCRIPTION),
    )
    request.say.name_codes(segmentation)
    _name_sources(segmentation, [volume.slices[z] for z in slices], request)
    _fix_dimension_uid(segmentation, request)
    return encode(segmentation, ResultKind.SEG, request)


def _slices(request: ResultRequest) -> list[int]:
    """Indices along z of the slices that hold a nodule, rising."""
    return sorted({int(z) + mask.offset_zyx[0] for mask in request.masks for z in np.nonzero(mask.voxels)[0]})


def _frames(request: ResultRequest, slices: list[int], volume: Volume) -> NDArray[Any]:
    """Masks on the slices that have any: segment numbers (frames, rows, columns), or where segments overlap
    0 and 1 (frames, rows, columns, segments), which takes as many times the memory."""
    _, rows, columns = volume.hu.shape
    place = {z: index for index, z in enumerate(slices)}
    voxels: list[Where] = []
    for mask in request.masks:
        z, y, x = (axis + start for axis, start in zip(np.nonzero(mask.voxels), mask.offset_zyx, strict=True))
        voxels.append((np.array([place[int(index)] for index in z]), y, x))
    labels = np.zeros((len(slices), rows, columns), np.uint16)
    for number, where in enumerate(voxels, 1):
        if labels[where].any():
            return _stacked(voxels, labels.shape)
        labels[where] = number
    return labels


def _stacked(voxels: list[Where], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    frames = np.zeros((*shape, len(voxels)), np.uint8)
    for segment, (frame, y, x) in enumerate(voxels):
        frames[frame, y, x, segment] = 1
    return frames


def _segment(finding: Finding, request: ResultRequest) -> SegmentDescription:
    lightness, a, b = COLOURS_LAB[(finding.ordinal - 1) % len(COLOURS_LAB)]
    return SegmentDescription(
        segment_number=finding.ordinal,
        segment_label=request.say("Nodule {number}", number=str(finding.ordinal)),
        segmented_property_category=c.ABNORMAL_STRUCTURE,
        segmented_property_type=c.NODULE,
        algorithm_type="AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=request.model.name,
            family=c.ARTIFICIAL_INTELLIGENCE,
            version=request.model.version,
            source=request.equipment.manufacturer,
        ),
        tracking_uid=request.tracking_uid(finding),
        tracking_id=finding.label,
        anatomic_regions=[c.LUNG],
        display_color=hd.color.CIELabColor(lightness, a, b),
    )


def _stand_in(z: int, request: ResultRequest, volume: Volume) -> Dataset:
    """A single-frame CT header for one slice, so that frames of multi-frame images and slices are handled alike."""
    source, header = volume.slices[z], _header_of(volume.slices[z], request)
    places = _places(header, source.frame_number)
    stand_in = plain_source(request)
    stand_in.SOPClassUID, stand_in.SOPInstanceUID = CTImageStorage, _stand_in_uid(source)
    stand_in.FrameOfReferenceUID = header.FrameOfReferenceUID
    stand_in.Rows, stand_in.Columns = header.Rows, header.Columns
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        value = next((place[keyword].value for place in places if keyword in place), None)
        setattr(stand_in, keyword, volume.spacing_zyx_mm[0] if value is None else value)
    return stand_in


def _stand_in_uid(source: SliceSource) -> str:
    if source.frame_number is None:
        return source.sop_instance_uid
    return derived_uid("nodus", "frame", source.sop_instance_uid, str(source.frame_number))


def _header_of(source: SliceSource, request: ResultRequest) -> Dataset:
    return next(header for header in request.headers if header.SOPInstanceUID == source.sop_instance_uid)


def _places(header: Dataset, frame_number: int | None) -> list[Dataset]:
    """Where an attribute of a slice may be, in order of authority."""
    if frame_number is None:
        return [header]
    groups = [header.PerFrameFunctionalGroupsSequence[frame_number - 1], *header.SharedFunctionalGroupsSequence]
    macros = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
    return [group[macro].value[0] for group in groups for macro in macros if macro in group]


def _name_sources(segmentation: Dataset, sources: list[SliceSource], request: ResultRequest) -> None:
    """Replace stand-ins by the real class, instance and frame, and list every image of the series once."""
    real = {_stand_in_uid(source): source for source in sources}
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        # highdicom shares these items between the frames of a slice
        frame.DerivationImageSequence = copy.deepcopy(frame.DerivationImageSequence)
        for image in frame.DerivationImageSequence[0].SourceImageSequence:
            source = real[image.ReferencedSOPInstanceUID]
            image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = source.sop_class_uid, source.sop_instance_uid
            if source.frame_number is not None:
                image.ReferencedFrameNumber = source.frame_number
    segmentation.SourceImageSequence = list(_drawn_on(sources))
    series = Dataset()
    series.SeriesInstanceUID = request.headers[0].SeriesInstanceUID
    series.ReferencedInstanceSequence = list(references(request.headers))
    segmentation.ReferencedSeriesSequence = [series]


def _drawn_on(sources: list[SliceSource]) -> Iterator[Dataset]:
    """Each image once, with the frames that hold a nodule where it is multi-frame."""
    for instance_uid in dict.fromkeys(source.sop_instance_uid for source in sources):
        of_image = [source for source in sources if source.sop_instance_uid == instance_uid]
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = of_image[0].sop_class_uid, instance_uid
        if frames := sorted(source.frame_number for source in of_image if source.frame_number is not None):
            item.ReferencedFrameNumber = frames
        yield item


def _fix_dimension_uid(segmentation: Dataset, request: ResultRequest) -> None:
    """highdicom draws a random Dimension Organization UID."""
    uid = request.identity.uid("dimension organization", SegmentationStorage)
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid
