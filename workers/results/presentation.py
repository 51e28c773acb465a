"""Grayscale Softcopy Presentation State: a circle and a label around each nodule on its key image, in a lung window."""

import math
from pathlib import Path

import highdicom as hd
import highdicom.pr as pr
import numpy as np
from pydicom import Dataset
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage

from node.domain.delivery import ResultKind
from node.domain.finding import Finding, PixelPoint
from node.errors import AnalysisError
from workers.results.captions import presentation_description
from workers.results.document import encode, plain_source
from workers.results.request import EncodedResult, ResultRequest
from workers.results.seg import COLOURS_LAB
from workers.results.strip import WINDOW_HU
from workers.volume.planes import Plane, planes_of

CONTENT_LABEL = "AI_FINDINGS"
ROOM = 3.0
"""Pixels between the outline of a nodule and its circle, which must not hide the rim."""


def encode_gsps(request: ResultRequest) -> tuple[EncodedResult, ...]:
    """One presentation state for all key images; none without findings, or where key images differ in their rescale.

    A presentation state has one Modality LUT for all images that it names (PS3.3 C.11.1): with another rescale an image
    would be shown in a wrong window.
    """
    if not request.findings or request.volume is None:
        return ()
    if len({(plane.slope, plane.intercept) for plane in key_planes(request)}) > 1:
        return ()
    return (_encoded(request, key_planes(request)[0]),)


def key_planes(request: ResultRequest) -> list[Plane]:
    """The image plane of each finding's key image. Raises AnalysisError where one is of no image that was read."""
    planes = []
    for finding in request.findings:
        key = finding.key_image
        headers = [each for each in request.headers if each.SOPInstanceUID == key.sop_instance_uid]
        if not headers:
            raise AnalysisError(f"The key image of {finding.label} was not read.")
        planes.append(planes_of(Path(), headers[0])[(key.frame_number or 1) - 1])
    return planes


def key_images(request: ResultRequest) -> list[Dataset]:
    """A stand-in for each key image, once, in the order of findings; real class and UIDs, no patient."""
    images: dict[str, Dataset] = {}
    for finding, plane in zip(request.findings, key_planes(request), strict=True):
        image = plain_source(request)
        image.SOPClassUID, image.SOPInstanceUID = plane.header.SOPClassUID, finding.key_image.sop_instance_uid
        image.Rows, image.Columns, image.SamplesPerPixel = plane.header.Rows, plane.header.Columns, 1
        images.setdefault(finding.key_image.sop_instance_uid, image)
    return list(images.values())


def circle_around(finding: Finding) -> tuple[PixelPoint, float]:
    """Centre (column, row) and radius in pixels of the circle around a nodule on its key image."""
    outline = np.array(finding.key_image.outline)
    center = (outline.min(axis=0) + outline.max(axis=0)) / 2
    radius = float(np.linalg.norm(outline - center, axis=1).max()) + ROOM
    return (float(center[0]), float(center[1])), radius


def _encoded(request: ResultRequest, plane: Plane) -> EncodedResult:
    images, low_high = key_images(request), WINDOW_HU
    layers = [_layer(finding) for finding in request.findings]
    state = pr.GrayscaleSoftcopyPresentationState(
        referenced_images=images,
        series_instance_uid=request.series_uid(GrayscaleSoftcopyPresentationStateStorage),
        series_number=1,
        sop_instance_uid=request.instance_uid(GrayscaleSoftcopyPresentationStateStorage),
        instance_number=1,
        manufacturer=request.equipment.manufacturer,
        manufacturer_model_name=request.equipment.model_name,
        software_versions=request.model.version,
        device_serial_number=request.equipment.installation_id,
        content_label=CONTENT_LABEL,
        content_description=presentation_description(request),
        graphic_annotations=[_marks(each, images, layer) for each, layer in zip(request.findings, layers, strict=True)],
        graphic_layers=layers,
        content_creator_name=f"{request.equipment.manufacturer}^AI",
        modality_lut_transformation=hd.ModalityLUTTransformation(
            rescale_intercept=plane.intercept, rescale_slope=plane.slope, rescale_type="HU"
        ),
        voi_lut_transformations=[
            pr.SoftcopyVOILUTTransformation(
                window_center=sum(low_high) / 2, window_width=float(low_high[1] - low_high[0])
            )
        ],
    )
    _keep_proportions(state, plane)
    state.BodyPartExamined = request.headers[0].get("BodyPartExamined") or "CHEST"
    return encode(state, ResultKind.GSPS, request)


def _layer(finding: Finding) -> pr.GraphicLayer:
    color = hd.color.CIELabColor(*COLOURS_LAB[(finding.ordinal - 1) % len(COLOURS_LAB)])
    return pr.GraphicLayer(finding.label, finding.ordinal, display_color=color)


def _marks(finding: Finding, images: list[Dataset], layer: pr.GraphicLayer) -> pr.GraphicAnnotation:
    """Circle and label, on the key image alone; both within the image."""
    (image,) = [each for each in images if each.SOPInstanceUID == finding.key_image.sop_instance_uid]
    (x, y), radius = circle_around(finding)
    on_rim = x - radius if x >= radius else x + radius
    circle = pr.GraphicObject("CIRCLE", np.array([[x, y], [min(on_rim, float(image.Columns)), y]]), "PIXEL")
    away = radius * math.sqrt(0.5)
    anchor = (min(x + away, float(image.Columns)), max(y - away, 0.0))
    label = pr.TextObject(finding.label, "PIXEL", anchor_point=anchor, anchor_point_visible=False)
    marks = pr.GraphicAnnotation([image], layer, graphic_objects=[circle], text_objects=[label])
    if finding.key_image.frame_number is not None:
        marks.ReferencedImageSequence[0].ReferencedFrameNumber = finding.key_image.frame_number
    return marks


def _keep_proportions(state: Dataset, plane: Plane) -> None:
    """Pixels that are not square are shown as they are (PS3.3 C.10.4)."""
    (area,) = state.DisplayedAreaSelectionSequence
    del area.PresentationPixelAspectRatio
    area.PresentationPixelSpacing = [float(each) for each in plane.spacing_yx_mm]
