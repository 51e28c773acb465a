"""Secondary Capture: one picture that any viewer shows, with key slices, outlines and a table."""

import textwrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from node.domain.delivery import ResultKind
from node.domain.finding import Finding, PixelPoint
from node.errors import AnalysisError
from workers.results.document import encode, references
from workers.results.request import EncodedResult, ResultRequest
from workers.results.text import BANNER, TYPE_NAMES, headline, made_by, place
from workers.volume import Volume

WIDTH, TILE, MARGIN = 1152, 368, 12
WINDOW_HU = (-1350, 150)
"""Lung window: centre -600, width 1500."""
MOST_TILES, MOST_ROWS = 6, 16
ZOOM_MM, ZOOM_PIXELS = 40.0, 128
WHITE, GREY, YELLOW, OUTLINE = (235, 235, 235), (150, 150, 150), (255, 210, 60), (255, 80, 80)
COLUMNS = (
    *(("", 0), ("type", 56), ("side", 190), ("mean diameter", 270), ("axes", 420)),
    *(("volume", 560), ("density", 690), ("confidence", 790), ("image", 910)),
)
"""Heading and left edge in pixels."""


def encode_secondary_capture(request: ResultRequest) -> EncodedResult:
    """Encode the summary as an RGB Secondary Capture in a series of its own; it names no patient."""
    if request.volume is None:
        raise AnalysisError("A summary picture needs a volume.")
    picture = np.asarray(draw_summary(request, request.volume))
    image = Dataset()
    image.SOPClassUID, image.Modality, image.ConversionType = SecondaryCaptureImageStorage, "OT", "WSD"
    image.StudyInstanceUID = request.headers[0].StudyInstanceUID
    image.ImageType = ["DERIVED", "SECONDARY"]
    image.BodyPartExamined = request.headers[0].get("BodyPartExamined") or "CHEST"
    image.BurnedInAnnotation, image.RecognizableVisualFeatures = "NO", "NO"
    image.LossyImageCompression, image.PatientOrientation = "00", ""
    image.DerivationDescription = BANNER
    image.ImageComments = headline(request)
    image.SourceImageSequence = list(references(_key_headers(request)))
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PlanarConfiguration = 3, "RGB", 0
    image.Rows, image.Columns = picture.shape[:2]
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 8, 8, 7, 0
    image.PixelData = picture.tobytes()
    return encode(image, ResultKind.SC, request)


def _key_headers(request: ResultRequest) -> list[Dataset]:
    """Headers of the images that are shown; of the first where nothing was found."""
    wanted = {finding.key_image.sop_instance_uid for finding in request.findings[:MOST_TILES]}
    return [header for header in request.headers if header.SOPInstanceUID in wanted] or [request.headers[0]]


def draw_summary(request: ResultRequest, volume: Volume) -> Image.Image:
    """Draw title, sentences, one tile a nodule (three plain slices without one) and the table; RGB."""
    tiles = [_nodule_tile(finding, volume) for finding in request.findings[:MOST_TILES]] or _plain_tiles(volume)
    parts = [_heading(request), _side_by_side(tiles), *([_table(request)] if request.findings else [])]
    page = Image.new("RGB", (WIDTH, sum(part.height for part in parts) + MARGIN))
    top = 0
    for part in parts:
        page.paste(part, (0, top))
        top += part.height
    return page


def _heading(request: ResultRequest) -> Image.Image:
    notes = [f"Not assessed or limited: {sentence}" for sentence in request.conclusion.limitations]
    rows = [(f"AI lung nodules - {BANNER.removeprefix('AI result, ')}", 30, YELLOW)]
    for sentence, colour in ((headline(request), WHITE), *((note, YELLOW) for note in notes), (made_by(request), GREY)):
        rows += [(line, 19, colour) for line in textwrap.wrap(sentence, 112)]
    band = Image.new("RGB", (WIDTH, 2 * MARGIN + sum(round(size * 1.4) for _, size, _ in rows)))
    draw, top = ImageDraw.Draw(band), MARGIN
    for text, size, colour in rows:
        draw.text((MARGIN, top), text, colour, ImageFont.load_default(size))
        top += round(size * 1.4)
    return band


def _side_by_side(tiles: list[Image.Image]) -> Image.Image:
    rows = -(-len(tiles) // 3)
    band = Image.new("RGB", (WIDTH, rows * (TILE + MARGIN)))
    for index, tile in enumerate(tiles):
        row, column = divmod(index, 3)
        band.paste(tile, (MARGIN + column * (TILE + MARGIN), row * (TILE + MARGIN)))
    return band


def _plain_tiles(volume: Volume) -> list[Image.Image]:
    return [_slice_tile(volume, round(len(volume.hu) * share))[0] for share in (0.3, 0.5, 0.7)]


def _nodule_tile(finding: Finding, volume: Volume) -> Image.Image:
    """The key slice with outline and label, and the nodule enlarged in the opposite corner."""
    tile, scale = _slice_tile(volume, finding.key_image.slice_index)
    draw = ImageDraw.Draw(tile)
    outline = [(x * scale[0], y * scale[1]) for x, y in finding.key_image.outline]
    draw.polygon(outline, outline=OUTLINE)
    right, top = max(x for x, _ in outline), min(y for _, y in outline)
    draw.text((min(right + 4, TILE - 40), max(top - 22, 4)), finding.label, OUTLINE, ImageFont.load_default(20))
    free = tuple(0 if middle > TILE / 2 else TILE - ZOOM_PIXELS for middle in np.mean(outline, axis=0))
    tile.paste(_enlarged(finding, volume), (free[0], free[1]))
    return tile


def _slice_tile(volume: Volume, z: int) -> tuple[Image.Image, tuple[float, float]]:
    """One slice on a square tile, and tile pixels per image pixel along columns and rows."""
    grey = _grey(volume, z)
    _, dy, dx = volume.spacing_zyx_mm
    mm_per_pixel = max(grey.width * dx, grey.height * dy) / TILE
    scale = (dx / mm_per_pixel, dy / mm_per_pixel)
    tile = Image.new("RGB", (TILE, TILE))
    tile.paste(grey.resize((round(grey.width * scale[0]), round(grey.height * scale[1])), Image.Resampling.BILINEAR))
    toward = volume.affine[0, 2]
    ImageDraw.Draw(tile).text((6, TILE // 2), "R" if toward > 0 else "L", GREY, ImageFont.load_default(18))
    return tile, scale


def _enlarged(finding: Finding, volume: Volume) -> Image.Image:
    """A square around the nodule, wide enough for it, framed."""
    _, dy, dx = volume.spacing_zyx_mm
    xs, ys = zip(*finding.key_image.outline, strict=True)
    half_mm = max(ZOOM_MM / 2, finding.measurements.long_axis_mm * 0.75)
    center: PixelPoint = ((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2)
    box = (center[0] - half_mm / dx, center[1] - half_mm / dy, center[0] + half_mm / dx, center[1] + half_mm / dy)
    grey = _grey(volume, finding.key_image.slice_index)
    zoom = grey.transform((ZOOM_PIXELS, ZOOM_PIXELS), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)
    framed = zoom.convert("RGB")
    ImageDraw.Draw(framed).rectangle((0, 0, ZOOM_PIXELS - 1, ZOOM_PIXELS - 1), outline=GREY)
    return framed


def _grey(volume: Volume, z: int) -> Image.Image:
    low, high = WINDOW_HU
    values = np.clip((volume.hu[z].astype(np.float32) - low) * (255 / (high - low)), 0, 255)
    return Image.fromarray(values.astype(np.uint8))


def _table(request: ResultRequest) -> Image.Image:
    rows = [tuple(title for title, _ in COLUMNS)]
    rows += [_row(finding, request) for finding in request.findings[:MOST_ROWS]]
    more = len(request.findings) - MOST_ROWS
    if more > 0:
        rows.append((f"and {more} more: see the structured report",))
    band = Image.new("RGB", (WIDTH, MARGIN + 26 * len(rows)))
    draw = ImageDraw.Draw(band)
    for index, row in enumerate(rows):
        for text, (_, left) in zip(row, COLUMNS, strict=False):
            draw.text((MARGIN + left, 4 + 26 * index), text, WHITE if index else GREY, ImageFont.load_default(17))
    return band


def _row(finding: Finding, request: ResultRequest) -> tuple[str, ...]:
    sizes = finding.measurements
    return (
        finding.label,
        TYPE_NAMES[finding.type],
        finding.side.value,
        f"{sizes.mean_diameter_mm:.1f} mm",
        f"{sizes.long_axis_mm:.1f} x {sizes.short_axis_mm:.1f} mm",
        "not measured" if sizes.volume_mm3 is None else f"{sizes.volume_mm3:.0f} mm3",
        f"{sizes.mean_hu:.0f} HU",
        f"{finding.confidence:.0%}",
        place(finding, request),
    )
