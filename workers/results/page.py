"""Encapsulated PDF: one page to read and print, that says in large letters how the reading ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from fpdf import FPDF
from PIL import Image
from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from node.domain.delivery import ResultKind
from node.domain.outcome import Outcome
from workers.results import captions, comparison
from workers.results.codes import REPORT
from workers.results.document import coded, created_at, encode, references
from workers.results.language import TAGS
from workers.results.lettering import drawable, page_font, wrapped
from workers.results.request import EncodedResult, ResultRequest
from workers.results.strip import strips_of
from workers.results.text import headline, limits, made_by, rule_lines, warning

WIDTH, HEIGHT, MARGIN = 210.0, 297.0, 14.0
"""A4 in mm."""
INNER = WIDTH - 2 * MARGIN
MOST_STRIPS, MOST_ROWS = 4, 16
TEXT_SIZES_PT = (10.0, 8.5, 7.0, 5.5, 4.0)
"""The first at which everything fits; sentences may be many."""
LINE = 0.48
"""Line height in mm for each point of a font's size."""
ROW, BELOW, FOOT = 5.4, 3.8, 3.4
"""Heights in mm: a row of the table, what is said below one, a line of the footer."""
ROW_PT, BELOW_PT, FOOT_PT = 8.5, 7.0, 7.5
INSIDE = 2.1
"""What fpdf2 leaves free of a cell's width in mm, and its rounding."""
COLUMNS = (9.0, 22.0, 18.0, 24.0, 27.0, 22.0, 16.0, 18.0)
"""Widths in mm; the last column takes the rest."""
BLACK, GREY, WHITE = (0, 0, 0), (110, 110, 110), (255, 255, 255)
BANDS = {
    Outcome.FINDINGS: (60, 60, 60),
    Outcome.NO_FINDINGS: (60, 60, 60),
    Outcome.PARTIAL: (176, 96, 0),
    Outcome.NOT_ANALYSED: (170, 0, 0),
}
"""Colour of the band that says how the reading ended."""


@dataclass(frozen=True)
class Line:
    """A paragraph of the page."""

    text: str
    bold: bool = False
    grey: bool = False


def encode_pdf(request: ResultRequest) -> EncodedResult:
    """Encode the page, however the reading ended. The patient is named by the header alone: whoever corrects or removes
    a name there has done it for the page, too, which carries the UID of its object instead."""
    page, content = Dataset(), draw_page(request)
    page.SOPClassUID, page.Modality, page.ConversionType = EncapsulatedPDFStorage, "DOC", "WSD"
    page.StudyInstanceUID = request.headers[0].StudyInstanceUID
    page.BurnedInAnnotation, page.RecognizableVisualFeatures = "NO", "NO"
    page.AcquisitionDateTime = ""
    page.DocumentTitle = captions.page_title(request)
    page.ConceptNameCodeSequence = [coded(REPORT)]
    page.VerificationFlag = "UNVERIFIED"
    page.SourceInstanceSequence = list(references(_shown(request)))
    page.MIMETypeOfEncapsulatedDocument = "application/pdf"
    page.EncapsulatedDocumentLength = len(content)
    page.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    return encode(page, ResultKind.PDF, request)


def _shown(request: ResultRequest) -> list[Dataset]:
    """Headers of the key images; of the first image where nothing was found."""
    keys = {finding.key_image.sop_instance_uid for finding in request.findings}
    return [header for header in request.headers if header.SOPInstanceUID in keys] or [request.headers[0]]


def draw_page(request: ResultRequest) -> bytes:
    """The page as a PDF file; the same request gives the same bytes."""
    pdf = FPDF("P", "mm", "A4")
    pdf.set_creation_date(created_at(request))
    pdf.set_producer(request.equipment.model_name)
    pdf.set_title(captions.page_title(request))
    pdf.set_lang(TAGS[request.style.language].value)
    pdf.set_image_filter("FlateDecode")
    pdf.set_margin(MARGIN)
    pdf.set_auto_page_break(False)
    pdf.add_page()
    _band(pdf, request)
    foot = _footer(pdf, request)
    size = _size(pdf, request, foot)
    for line in lines(request):
        _paragraph(pdf, line, size, request)
    if request.findings:
        _table(pdf, request)
        _pictures(pdf, request, foot)
    return bytes(pdf.output())


def lines(request: ResultRequest) -> list[Line]:
    """What the page says above its table: the result, what limits it, an earlier exam, clinical rules, who read."""
    above = [Line(each, bold=True) for each in (*warning(request), headline(request))]
    below = [Line(each) for each in (*limits(request), *comparison.lines(request), *rule_lines(request))]
    return [*above, *below, Line(made_by(request), grey=True)]


@dataclass(frozen=True)
class Row:
    """Of the table."""

    texts: tuple[str, ...]
    grey: bool = False
    below: bool = False
    """It says more of the finding above it."""

    @property
    def height(self) -> float:
        """In mm."""
        return BELOW if self.below else ROW


def rows(request: ResultRequest) -> list[Row]:
    """The table: its headings, each finding and what more is said of it, how many more there are."""
    told = [Row(captions.column_names(request), grey=True)]
    for finding in request.findings[:MOST_ROWS]:
        told.append(Row(captions.row(finding, request)))
        told += [Row(("", each), grey=True, below=True) for each in captions.rows_below(finding, request)]
    more = len(request.findings) - MOST_ROWS
    return [*told, Row((captions.more_rows(more, request),))] if more > 0 else told


def _band(pdf: FPDF, request: ResultRequest) -> None:
    """Title, and how the reading ended, on a coloured band."""
    language = request.style.language
    pdf.set_fill_color(*BANDS[request.conclusion.outcome])
    pdf.rect(0, 0, WIDTH, 30, "F")
    pdf.set_text_color(*WHITE)
    pdf.set_draw_color(*WHITE)
    pdf.set_xy(MARGIN, 6)
    state = drawable(captions.page_state(request), language)
    page_font(pdf, language, 19, bold=True)
    page_font(pdf, language, min(19.0, 19.0 * (INNER - INSIDE) / pdf.get_string_width(state)), bold=True)
    pdf.cell(INNER, 9, state, new_x="LMARGIN", new_y="NEXT")
    page_font(pdf, language, 11)
    pdf.cell(INNER, 7, drawable(captions.page_title(request), language))
    pdf.set_xy(MARGIN, 34)


def _footer(pdf: FPDF, request: ResultRequest) -> float:
    """Limits of every reading, and which object this is, at the bottom; returns where it begins."""
    made = f"{created_at(request):%Y-%m-%d %H:%M %Z}"
    identity = captions.page_identity(request, request.instance_uid(EncapsulatedPDFStorage), made)
    page_font(pdf, request.style.language, FOOT_PT)
    said = [line for each in (*captions.page_limits(request), identity) for line in _broken(pdf, each, request)]
    pdf.set_text_color(*GREY)
    above, top = pdf.get_y(), HEIGHT - 8 - FOOT * len(said)
    pdf.set_draw_color(*GREY)
    pdf.line(MARGIN, top - 1.5, WIDTH - MARGIN, top - 1.5)
    pdf.set_xy(MARGIN, top)
    _write(pdf, said, FOOT)
    pdf.set_xy(MARGIN, above)
    return top - 3


def _broken(pdf: FPDF, text: str, request: ResultRequest) -> list[str]:
    """A text in lines as wide as the page, in the font that is set."""
    return wrapped(drawable(text, request.style.language), INNER - INSIDE, pdf.get_string_width)


def _write(pdf: FPDF, said: Sequence[str], height: float) -> None:
    for line in said:
        pdf.cell(INNER, height, line, new_x="LMARGIN", new_y="NEXT")


def _size(pdf: FPDF, request: ResultRequest, foot: float) -> float:
    """The largest font at which the sentences leave room for the table, and for a strip where there is one."""
    below = sum(row.height for row in rows(request)) + _strip_height(request) if request.findings else 0.0
    room = foot - pdf.get_y() - below
    for size in TEXT_SIZES_PT:
        if sum(_height(pdf, line, size, request) for line in lines(request)) <= room:
            return size
    return TEXT_SIZES_PT[-1]


def _height(pdf: FPDF, line: Line, size: float, request: ResultRequest) -> float:
    page_font(pdf, request.style.language, size, line.bold)
    return size * LINE * (len(_broken(pdf, line.text, request)) + 1 / 4)


def _paragraph(pdf: FPDF, line: Line, size: float, request: ResultRequest) -> None:
    page_font(pdf, request.style.language, size, line.bold)
    pdf.set_text_color(*(GREY if line.grey else BLACK))
    pdf.set_draw_color(*BLACK)
    _write(pdf, _broken(pdf, line.text, request), size * LINE)
    pdf.set_y(pdf.get_y() + size * LINE / 4)


def _table(pdf: FPDF, request: ResultRequest) -> None:
    for row in rows(request):
        page_font(pdf, request.style.language, BELOW_PT if row.below else ROW_PT)
        pdf.set_text_color(*(GREY if row.grey else BLACK))
        widths = COLUMNS if len(row.texts) > 2 else COLUMNS[:1] if len(row.texts) == 2 else ()
        for index, text in enumerate(row.texts):
            width = widths[index] if index < len(widths) else 0
            pdf.cell(width, row.height, drawable(text, request.style.language))
        pdf.ln(row.height)


def _strip_height(request: ResultRequest) -> float:
    """Of a strip as wide as the page, in mm."""
    strip = next(iter(strips_of(request, 1).values()))
    return INNER * strip.height / strip.width + 1


def _pictures(pdf: FPDF, request: ResultRequest, foot: float) -> None:
    """As many strips as there is room for, most suspicious first."""
    top = pdf.get_y() + 1
    for strip in strips_of(request, MOST_STRIPS).values():
        height = INNER * strip.height / strip.width
        if top + height > foot:
            return
        pdf.image(_as_png(strip), MARGIN, top, INNER, height)
        top += height + 1


def _as_png(strip: Image.Image) -> BytesIO:
    buffer = BytesIO()
    strip.save(buffer, "png")
    buffer.seek(0)
    return buffer
