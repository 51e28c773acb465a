"""The heat: for research only, and each number where the detector said it."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from workers.results.check.rules import Object
from workers.volume.heat import HeatMap

CELLS = 1e-2
"""Between a frame and the cells that it shows, in cells: the rounding of decimal strings."""
DIRECTION, SPACING = 1e-4, 1e-4


def not_for_research(of: Object) -> Iterator[str]:
    """Nobody takes it for a product, and it says who made it."""
    if of.dataset.get("ContentQualification") != "RESEARCH":
        yield "ContentQualification"
    if not str(of.dataset.get("ContentCreatorName", "")):
        yield "ContentCreatorName"


def other_space(of: Object) -> Iterator[str]:
    """Frame of reference of the images; directions and spacing of the detector's grid."""
    image, heat = of.dataset, _heat(of)
    if image.get("FrameOfReferenceUID") != of.request.headers[0].get("FrameOfReferenceUID"):
        yield "FrameOfReferenceUID"
    shared, spacing = image.SharedFunctionalGroupsSequence[0], heat.spacing_zyx_mm
    axes = heat.affine[:3, :3] / spacing
    told = _numbers(shared.PlaneOrientationSequence[0].ImageOrientationPatient)
    if np.abs(told - np.concatenate([axes[:, 2], axes[:, 1]])).max() > DIRECTION:
        yield "ImageOrientationPatient"
    if np.abs(_numbers(shared.PixelMeasuresSequence[0].PixelSpacing) / spacing[1:] - 1).max() > SPACING:
        yield "PixelSpacing"


def other_scores(of: Object) -> Iterator[str]:
    """Every frame shows the cells of its place, with their very scores; and the cell of each finding is shown."""
    image, heat = of.dataset, _heat(of)
    size = int(image.NumberOfFrames), int(image.Rows), int(image.Columns)
    pixels = np.frombuffer(image.FloatPixelData, "<f4").reshape(size)
    shown = np.zeros(heat.scores.shape, bool)
    for number, (frame, groups) in enumerate(zip(pixels, image.PerFrameFunctionalGroupsSequence, strict=True), 1):
        cells = _cells(groups, heat, frame.shape)
        if cells is None or not np.array_equal(heat.scores[cells], frame):
            yield f"frame {number}"
        else:
            shown[cells] = True
    for finding in of.request.findings:
        z, y, x = np.clip(np.rint(heat.to_zyx(finding.center_lps_mm)), 0, np.array(shown.shape) - 1).astype(int)
        if not shown[z, y, x]:
            yield finding.label


def _cells(groups: Dataset, heat: HeatMap, shape: tuple[int, ...]) -> tuple[int, slice, slice] | None:
    """What a frame shows; None where it lies beside the cells or beyond them."""
    at = heat.to_zyx(_numbers(groups.PlanePositionSequence[0].ImagePositionPatient).tolist())
    z, y, x = (int(each) for each in np.rint(at))
    beyond = np.array([z + 1, y + shape[0], x + shape[1]]) > heat.scores.shape
    if np.abs(at - (z, y, x)).max() > CELLS or min(z, y, x) < 0 or beyond.any():
        return None
    return z, slice(y, y + shape[0]), slice(x, x + shape[1])


def _heat(of: Object) -> HeatMap:
    if of.request.heat is None:
        raise ValueError("The detector gave no heat.")
    return of.request.heat


def _numbers(values: object) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)
