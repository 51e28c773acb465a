"""Marks on key images, and the selection of them: each nodule once, on its own image, and shown as CT is looked at."""

import math
from collections.abc import Iterator

import numpy as np
from pydicom import Dataset

from node.domain.finding import Finding
from workers.results import codes as c
from workers.results.captions import selection_description
from workers.results.check import tree
from workers.results.check.rules import Object
from workers.results.presentation import CONTENT_LABEL, ROOM, circle_around
from workers.results.strip import WINDOW_HU

DESCRIPTION = c.KEY_OBJECT_DESCRIPTION
ROUNDING = 1e-3
"""Of single precision, in pixels."""


def nothing_to_mark(of: Object) -> Iterator[str]:
    """Without a finding there is nothing to point at."""
    if not of.request.findings:
        yield "no findings"


def other_presentation(of: Object) -> Iterator[str]:
    """Label, window and rescale; every key image, and no other, in its series."""
    state, low, high = of.dataset, *WINDOW_HU
    if state.get("ContentLabel") != CONTENT_LABEL:
        yield "ContentLabel"
    (window,) = state.SoftcopyVOILUTSequence
    if (float(window.WindowCenter), float(window.WindowWidth)) != ((low + high) / 2, high - low):
        yield "WindowCenter"
    told = float(state.RescaleSlope), float(state.RescaleIntercept)
    planes = [of.planes[finding.key_image.slice_index] for finding in of.request.findings]
    if any(not np.allclose(told, (plane.slope, plane.intercept)) for plane in planes):
        yield "RescaleSlope"
    named = [
        (str(series.SeriesInstanceUID), str(image.ReferencedSOPInstanceUID))
        for series in state.ReferencedSeriesSequence
        for image in series.ReferencedImageSequence
    ]
    series_uid = str(of.request.headers[0].SeriesInstanceUID)
    if sorted(named) != sorted((series_uid, uid) for uid in _key_uids(of)):
        yield "ReferencedSeriesSequence"


def other_marks(of: Object) -> Iterator[str]:
    """A circle close around each nodule with its label, on its key image and frame alone."""
    annotations = list(of.dataset.GraphicAnnotationSequence)
    if len(annotations) != len(of.request.findings):
        yield f"{len(annotations)} marks"
    for finding, marks in zip(of.request.findings, annotations, strict=False):
        (image,), (circle,), (label,) = (
            marks.ReferencedImageSequence, marks.GraphicObjectSequence, marks.TextObjectSequence
        )  # fmt: skip
        key = finding.key_image
        told = image.get("ReferencedSOPInstanceUID"), image.get("ReferencedFrameNumber")
        if told != (key.sop_instance_uid, key.frame_number):
            yield f"{finding.label} image"
        if label.get("UnformattedTextValue") != finding.label:
            yield f"{finding.label} label"
        if circle.get("GraphicType") != "CIRCLE" or not _is_around(circle, finding):
            yield f"{finding.label} circle"


def _is_around(circle: Dataset, finding: Finding) -> bool:
    """Every point of the outline is inside, and the circle is no larger than it has to be."""
    x, y, rim_x, rim_y = map(float, circle.GraphicData)
    radius, (_, wanted) = math.hypot(rim_x - x, rim_y - y), circle_around(finding)
    furthest = max(math.hypot(column - x, row - y) for column, row in finding.key_image.outline)
    return furthest <= radius + ROUNDING and radius <= wanted + ROOM


def other_selection(of: Object) -> Iterator[str]:
    """Of interest, why, and exactly the key images and the results that this encoding is for, named nowhere else."""
    root, wanted = of.dataset, {*_key_uids(of), *of.encoded.refers_to}
    templates = root.get("ContentTemplateSequence") or [Dataset()]
    if (templates[0].get("MappingResource"), templates[0].get("TemplateIdentifier")) != ("DCMR", "2010"):
        yield "template"
    if tree.key_in(root, "ConceptNameCodeSequence") != tree.key(c.OF_INTEREST):
        yield "title"
    told = [str(each.get("TextValue", "")) for each in tree.children(root, DESCRIPTION)]
    if told != [selection_description(of.request)]:
        yield DESCRIPTION.meaning
    objects = [each for each in root.ContentSequence if each.get("ValueType") in ("IMAGE", "COMPOSITE")]
    if any("ConceptNameCodeSequence" in each for each in objects):
        yield "a name of what is selected (TID 2010)"
    selected = [str(each.ReferencedSOPSequence[0].ReferencedSOPInstanceUID) for each in objects]
    listed = [uid for _, _, uid in tree.evidence(root)]
    if sorted(selected) != sorted(wanted) or sorted(listed) != sorted(wanted):
        yield "what is selected"


def _key_uids(of: Object) -> set[str]:
    return {finding.key_image.sop_instance_uid for finding in of.request.findings}
