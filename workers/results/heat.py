"""Parametric Map: the detector's score around the nodules, on the detector's own grid; for research."""

import highdicom as hd
from highdicom.pm import ParametricMap, RealWorldValueMapping
from pydicom import Dataset
from pydicom.uid import CTImageStorage, ParametricMapStorage

from node.domain.delivery import ResultKind
from workers.results import codes as c
from workers.results.captions import heat_description
from workers.results.document import encode, references
from workers.results.presentation import key_images, key_planes
from workers.results.request import EncodedResult, ResultRequest
from workers.volume.heat import HeatMap

LEAST_SIDE_MM = 40.0
"""Of the cube around a nodule; twice its long axis where that is more."""


def encode_pm(request: ResultRequest) -> tuple[EncodedResult, ...]:
    """Encode the heat around the findings, float32; none without findings or where the detector gives no heat."""
    if not request.findings or request.heat is None:
        return ()
    return (_encoded(request, request.heat),)


def box_around(request: ResultRequest, heat: HeatMap) -> tuple[slice, slice, slice]:
    """The least box of cells that holds all findings and what is around them; a map of the whole lungs is a megabyte,
    and highdicom takes one frame a plane."""
    boxes = [
        heat.cells_around(finding.center_lps_mm, max(LEAST_SIDE_MM, 2 * finding.measurements.long_axis_mm))
        for finding in request.findings
    ]
    axes = zip(*boxes, strict=True)
    z, y, x = (slice(min(each.start for each in axis), max(each.stop for each in axis)) for axis in axes)
    return z, y, x


def _encoded(request: ResultRequest, heat: HeatMap) -> EncodedResult:
    planes, rows, columns = box = box_around(request, heat)
    depth, height, width = heat.spacing_zyx_mm
    image = ParametricMap(
        source_images=_sources(request),
        pixel_array=heat.scores[box].copy(),
        series_instance_uid=request.series_uid(ParametricMapStorage),
        series_number=1,
        sop_instance_uid=request.instance_uid(ParametricMapStorage),
        instance_number=1,
        manufacturer=request.equipment.manufacturer,
        manufacturer_model_name=request.equipment.model_name,
        software_versions=request.model.version,
        device_serial_number=request.equipment.installation_id,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[_scores()],
        voi_lut_transformations=[hd.VOILUTTransformation(window_center=0.5, window_width=1.0)],
        content_label="AI_HEAT",
        content_description=heat_description(request),
        content_creator_name=f"{request.equipment.manufacturer}^AI",
        content_qualification="RESEARCH",
        pixel_measures=hd.PixelMeasuresSequence((height, width), slice_thickness=depth),
        plane_orientation=hd.PlaneOrientationSequence("PATIENT", _directions(heat)),
        plane_positions=[
            hd.PlanePositionSequence("PATIENT", heat.to_lps_mm((z, rows.start, columns.start)))
            for z in range(planes.start, planes.stop)
        ],
    )
    _name_sources(image, request)
    image.BodyPartExamined = request.headers[0].get("BodyPartExamined") or "CHEST"
    uid = request.identity.uid("dimension organization", ParametricMapStorage)  # highdicom draws a random one
    for item in (*image.DimensionOrganizationSequence, *image.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid
    return encode(image, ResultKind.PM, request)


def _name_sources(image: Dataset, request: ResultRequest) -> None:
    """The key images by their real classes, for which stand-ins were taken."""
    keys = {plane.header.SOPInstanceUID: plane.header for plane in key_planes(request)}
    image.SourceImageSequence = list(references(keys.values()))
    series = Dataset()
    series.SeriesInstanceUID = request.headers[0].SeriesInstanceUID
    series.ReferencedInstanceSequence = list(references(keys.values()))
    image.ReferencedSeriesSequence = [series]


def _scores() -> RealWorldValueMapping:
    return RealWorldValueMapping(
        lut_label="SCORE",
        lut_explanation="Score of the detector, no probability of disease",
        unit=c.NO_UNITS,
        value_range=(0.0, 1.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=c.CLASS_ACTIVATION,
    )


def _directions(heat: HeatMap) -> list[float]:
    """Of the rows, then of the columns (PS3.3 C.7.6.2.1.1)."""
    axes = heat.affine[:3, :3] / heat.spacing_zyx_mm
    return [*axes[:, 2].tolist(), *axes[:, 1].tolist()]


def _sources(request: ResultRequest) -> list[Dataset]:
    """The key images, with what highdicom looks for in a source."""
    planes = {plane.header.SOPInstanceUID: plane for plane in key_planes(request)}
    images = key_images(request)
    for image in images:
        plane = planes[image.SOPInstanceUID]
        image.SOPClassUID = CTImageStorage  # of which highdicom wants no functional groups
        image.FrameOfReferenceUID = plane.header.FrameOfReferenceUID
        image.ImagePositionPatient = [round(float(each), 6) for each in plane.position_lps_mm]
        image.ImageOrientationPatient = [round(float(each), 6) for each in plane.orientation.ravel()]
        image.PixelSpacing = [round(float(each), 6) for each in plane.spacing_yx_mm]
        image.SliceThickness = 1.0
    return images
