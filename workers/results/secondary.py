"""Secondary Capture: one picture that any viewer shows, with key slices, outlines, strips and a table."""

import numpy as np
from PIL import Image, ImageDraw
from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from node.domain.delivery import ResultKind
from node.domain.finding import Finding, PixelPoint
from node.errors import AnalysisError
from workers.results import captions, comparison
from workers.results.document import encode, references
from workers.results.lettering import picture_font, wrapped
from workers.results.request import EncodedResult, ResultRequest
from workers.results.strip import GREY, OUTLINE, WHITE, YELLOW, grey, strips_of
from workers.results.text import headline, limits, made_by, rule_lines, warning
from workers.volume import Volume

WIDTH, TILE, MARGIN = 1152, 368, 12
MOST_TILES, MOST_STRIPS, MOST_ROWS = 6, 3, 16
ZOOM_MM, ZOOM_PIXELS = 40.0, 128
Colour = tuple[int, int, int]
COLUMNS = (0, 56, 180, 284, 424, 560, 690, 790, 910)
"""Left edges in pixels."""
ROW, LEADING = 26, 1.4
"""Height of a row of the table in pixels, of a line by its font's."""


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
    image.DerivationDescription = captions.derivation(request)
    image.ImageComments = " ".join([*warning(request), headline(request)])
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
    """Draw title, sentences, one tile a nodule (three plain slices without one), the strips of the first and the table;
    RGB."""
    tiles = [_nodule_tile(finding, volume) for finding in request.findings[:MOST_TILES]] or _plain_tiles(volume)
    parts = [_heading(request), _side_by_side(tiles)]
    if request.findings:
        parts += [*_strips(request), _table(request)]
    page = Image.new("RGB", (WIDTH, sum(part.height for part in parts) + MARGIN))
    top = 0
    for part in parts:
        page.paste(part, (0, top))
        top += part.height
    return page


def _heading(request: ResultRequest) -> Image.Image:
    language = request.style.language
    rows = [(captions.summary_title(request), 30, YELLOW)]
    above = [(sentence, OUTLINE) for sentence in warning(request)]
    below = [(line, WHITE) for line in (*comparison.lines(request), *rule_lines(request))]
    notes = [(note, YELLOW) for note in limits(request)]
    for sentence, colour in (*above, (headline(request), WHITE), *notes, *below, (made_by(request), GREY)):
        rows += [
            (line, 19, colour) for line in wrapped(sentence, WIDTH - 2 * MARGIN, picture_font(19, language).getlength)
        ]
    band = Image.new("RGB", (WIDTH, 2 * MARGIN + sum(round(size * LEADING) for _, size, _ in rows)))
    draw, top = ImageDraw.Draw(band), MARGIN
    for text, size, colour in rows:
        draw.text((MARGIN, top), text, colour, picture_font(size, language))
        top += round(size * LEADING)
    return band


def _side_by_side(tiles: list[Image.Image]) -> Image.Image:
    rows = -(-len(tiles) // 3)
    band = Image.new("RGB", (WIDTH, rows * (TILE + MARGIN)))
    for index, tile in enumerate(tiles):
        row, column = divmod(index, 3)
        band.paste(tile, (MARGIN + column * (TILE + MARGIN), row * (TILE + MARGIN)))
    return band


def _strips(request: ResultRequest) -> list[Image.Image]:
    """Of the most suspicious nodules, each as a band of the page."""
    bands = []
    for strip in strips_of(request, MOST_STRIPS).values():
        band = Image.new("RGB", (WIDTH, strip.height))
        band.paste(strip, ((WIDTH - strip.width) // 2, 0))
        bands.append(band)
    return bands


def _plain_tiles(volume: Volume) -> list[Image.Image]:
    return [_slice_tile(volume, round(len(volume.hu) * share))[0] for share in (0.3, 0.5, 0.7)]


def _nodule_tile(finding: Finding, volume: Volume) -> Image.Image:
    """The key slice with outline and label, and the nodule enlarged in the opposite corner."""
    tile, scale = _slice_tile(volume, finding.key_image.slice_index)
    draw = ImageDraw.Draw(tile)
    outline = [(x * scale[0], y * scale[1]) for x, y in finding.key_image.outline]
    draw.polygon(outline, outline=OUTLINE)
    right, top = max(x for x, _ in outline), min(y for _, y in outline)
    draw.text((min(right + 4, TILE - 40), max(top - 22, 4)), finding.label, OUTLINE, picture_font(20))
    free = tuple(0 if middle > TILE / 2 else TILE - ZOOM_PIXELS for middle in np.mean(outline, axis=0))
    tile.paste(_enlarged(finding, volume), (free[0], free[1]))
    return tile


def _slice_tile(volume: Volume, z: int) -> tuple[Image.Image, tuple[float, float]]:
    """One slice on a square tile, and tile pixels per image pixel along columns and rows."""
    whole = grey(volume.hu[z])
    _, dy, dx = volume.spacing_zyx_mm
    mm_per_pixel = max(whole.width * dx, whole.height * dy) / TILE
    scale = (dx / mm_per_pixel, dy / mm_per_pixel)
    tile = Image.new("RGB", (TILE, TILE))
    tile.paste(whole.resize((round(whole.width * scale[0]), round(whole.height * scale[1])), Image.Resampling.BILINEAR))
    toward = volume.affine[0, 2]
    ImageDraw.Draw(tile).text((6, TILE // 2), "R" if toward > 0 else "L", GREY, picture_font(18))
    return tile, scale


def _enlarged(finding: Finding, volume: Volume) -> Image.Image:
    """A square around the nodule, wide enough for it, framed."""
    _, dy, dx = volume.spacing_zyx_mm
    xs, ys = zip(*finding.key_image.outline, strict=True)
    half_mm = max(ZOOM_MM / 2, finding.measurements.long_axis_mm * 0.75)
    center: PixelPoint = ((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2)
    box = (center[0] - half_mm / dx, center[1] - half_mm / dy, center[0] + half_mm / dx, center[1] + half_mm / dy)
    whole = grey(volume.hu[finding.key_image.slice_index])
    zoom = whole.transform((ZOOM_PIXELS, ZOOM_PIXELS), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)
    framed = zoom.convert("RGB")
    ImageDraw.Draw(framed).rectangle((0, 0, ZOOM_PIXELS - 1, ZOOM_PIXELS - 1), outline=GREY)
    return framed


def _table(request: ResultRequest) -> Image.Image:
    """Its headings, a row a finding, and below it what more is said of it."""
    language = request.style.language
    rows: list[tuple[tuple[str, ...], tuple[int, ...], Colour]] = [(captions.column_names(request), COLUMNS, GREY)]
    for finding in request.findings[:MOST_ROWS]:
        rows.append((captions.row(finding, request), COLUMNS, WHITE))
        rows += [((each,), COLUMNS[1:], GREY) for each in captions.rows_below(finding, request)]
    more = len(request.findings) - MOST_ROWS
    if more > 0:
        rows.append(((captions.more_rows(more, request),), COLUMNS, WHITE))
    band = Image.new("RGB", (WIDTH, MARGIN + ROW * len(rows)))
    draw = ImageDraw.Draw(band)
    for index, (texts, edges, colour) in enumerate(rows):
        for text, left in zip(texts, edges, strict=False):
            draw.text((MARGIN + left, 4 + ROW * index), text, colour, picture_font(17, language))
    return band
