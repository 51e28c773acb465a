"""A picture strip of one nodule: axial, coronal and sagittal through its centre, without and with its outline."""

import math
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import map_coordinates
from skimage.measure import find_contours

from node.domain.finding import Finding
from workers.results.captions import VIEW_NAMES, strip_caption
from workers.results.lettering import Font, picture_font
from workers.results.request import ResultRequest
from workers.volume import Mask, Volume

WINDOW_HU = (-1350, 150)
"""Lung window: centre -600, width 1500."""
WHITE, GREY, YELLOW, OUTLINE = (235, 235, 235), (150, 150, 150), (255, 210, 60), (255, 80, 80)
BLACK = (0, 0, 0)
TILE, GAP, CAPTION = 184, 4, 24
"""Pixels."""
BAR_MM = 10
LEAST_FIELD_MM, FIELD_STEP_MM = 40, 10
OUTSIDE_HU = -2000.0
"""Black: nothing was scanned there."""

Direction = tuple[int, int, int]


@dataclass(frozen=True)
class View:
    """A plane along two axes of the patient (LPS), drawn as radiologists look at it."""

    right: Direction
    """To the right of the picture."""
    down: Direction
    letter: str
    """What lies at the left edge: the patient's right, or anterior."""


VIEWS = (View((1, 0, 0), (0, 1, 0), "R"), View((1, 0, 0), (0, 0, -1), "R"), View((0, 1, 0), (0, 0, -1), "A"))
"""Axial, coronal, sagittal; named in `captions.VIEW_NAMES`."""


@dataclass(frozen=True)
class Nodule:
    """What is drawn."""

    finding: Finding
    mask: Mask
    volume: Volume

    @property
    def field_mm(self) -> int:
        """Side of the square that each tile shows: wide enough for the nodule, in whole centimetres."""
        wanted = max(LEAST_FIELD_MM, 2 * self.finding.measurements.long_axis_mm)
        return math.ceil(wanted / FIELD_STEP_MM) * FIELD_STEP_MM


def strips_of(request: ResultRequest, most: int | None = None) -> dict[str, Image.Image]:
    """The strip of each finding, or of so many of the first, by label; none without a volume. They name no patient."""
    if request.volume is None:
        return {}
    pairs = zip(request.findings[:most], request.masks[:most], strict=True)
    return {finding.label: draw_strip(Nodule(finding, mask, request.volume), request) for finding, mask in pairs}


def draw_strip(nodule: Nodule, request: ResultRequest) -> Image.Image:
    """Six tiles side by side, in pairs, with a caption that states window, scale and field; RGB."""
    width = 2 * len(VIEWS) * (TILE + GAP) - GAP
    strip = Image.new("RGB", (width, TILE + CAPTION))
    for index, (view, name) in enumerate(zip(VIEWS, VIEW_NAMES, strict=True)):
        plain, outlined = _pair(nodule, view, name, request)
        strip.paste(plain, (2 * index * (TILE + GAP), 0))
        strip.paste(outlined, ((2 * index + 1) * (TILE + GAP), 0))
    caption = strip_caption(nodule.finding, request, WINDOW_HU, nodule.field_mm)
    ImageDraw.Draw(strip).text((2, TILE + 4), caption, WHITE, picture_font(14, request.style.language))
    return strip


def png(picture: Image.Image) -> bytes:
    """As a PNG file."""
    with BytesIO() as buffer:
        picture.save(buffer, "png", optimize=True)
        return buffer.getvalue()


def grey(hu: NDArray[Any]) -> Image.Image:
    """HU (rows, columns) in the lung window."""
    low, high = WINDOW_HU
    return Image.fromarray(np.clip((hu.astype(np.float32) - low) * (255 / (high - low)), 0, 255).astype(np.uint8))


def _pair(nodule: Nodule, view: View, name: str, request: ResultRequest) -> tuple[Image.Image, Image.Image]:
    points = _points_zyx(nodule, view)
    hu = map_coordinates(nodule.volume.hu, points, np.float32, order=1, cval=OUTSIDE_HU)
    plain = grey(hu).convert("RGB")
    _annotate(plain, nodule, (request.say(name), view.letter), picture_font(12, request.style.language))
    outlined = plain.copy()
    draw = ImageDraw.Draw(outlined)
    inside = points - np.array(nodule.mask.offset_zyx, float)[:, None, None]
    covered = map_coordinates(nodule.mask.voxels.astype(np.float32), inside, order=1, mode="grid-constant")
    for contour in find_contours(covered, 0.5):
        draw.line([(column, row) for row, column in contour], OUTLINE, 1)
    return plain, outlined


def _points_zyx(nodule: Nodule, view: View) -> NDArray[np.float64]:
    """Voxel indices (3, rows, columns) of each pixel of a tile, which is centred on the nodule."""
    offsets = (np.arange(TILE) + 0.5) / TILE * nodule.field_mm - nodule.field_mm / 2
    across = offsets[None, :, None] * np.array(view.right, float)
    along = offsets[:, None, None] * np.array(view.down, float)
    points = np.array(nodule.finding.center_lps_mm) + across + along
    return nodule.volume.to_zyx(points.reshape(-1, 3)).T.reshape(3, TILE, TILE)


def _annotate(tile: Image.Image, nodule: Nodule, names: tuple[str, str], font: Font) -> None:
    """Name of the view, what lies to the left, and a bar of 10 mm; legible on any ground."""
    draw, (view, left) = ImageDraw.Draw(tile), names
    bar = round(BAR_MM / nodule.field_mm * TILE)
    draw.line([(TILE - 6 - bar, TILE - 6), (TILE - 6, TILE - 6)], WHITE, 2)
    for at, text in (((4, 2), view), ((4, TILE // 2 - 8), left), ((TILE - 6 - bar, TILE - 22), f"{BAR_MM} mm")):
        draw.text(at, text, WHITE, font, stroke_width=1, stroke_fill=BLACK)
