"""The page: one, with nothing in it that acts, and each sentence and row on it, as another library reads them."""

import warnings
from collections.abc import Iterator
from io import BytesIO

from pydicom.uid import EncapsulatedPDFStorage
from pypdf import PdfReader
from pypdf.errors import PdfReadError
from pypdf.generic import DictionaryObject

from node.domain.language import Language
from node.domain.outcome import Outcome
from workers.results import captions, comparison
from workers.results.check.rules import Object
from workers.results.check.words import WORDS, negatives
from workers.results.lettering import drawable
from workers.results.page import MOST_ROWS
from workers.results.request import ResultRequest
from workers.results.text import headline, limits, warning

ACTING = ("/AA", "/AcroForm", "/Names")
"""Of a PDF's catalog: what runs, asks for input, or brings files along."""


def no_page(of: Object) -> Iterator[str]:
    """One page that any viewer shows, and nothing in it that does anything; it says itself that it is a PDF."""
    page = of.dataset
    if page.get("MIMETypeOfEncapsulatedDocument") != "application/pdf":
        yield "MIMETypeOfEncapsulatedDocument"
    if not 0 <= len(page.EncapsulatedDocument) - int(page.get("EncapsulatedDocumentLength", 0)) <= 1:
        yield "EncapsulatedDocumentLength"
    if page.get("BurnedInAnnotation") != "NO":
        yield "BurnedInAnnotation"
    reader = _reader(of)
    if len(reader.pages) != 1:
        yield f"{len(reader.pages)} pages"
    yield from (key for key in ACTING if key in reader.root_object)
    if isinstance(reader.root_object.get("/OpenAction"), DictionaryObject):  # an array is only a place to open at
        yield "/OpenAction"
    yield from ("a link" for page in reader.pages if page.get("/Annots"))


def unsaid(of: Object) -> Iterator[str]:
    """Result, limits, warnings, which object it is, and each nodule of the table."""
    request, text = of.request, _text(of)
    said = [
        ("state", captions.page_state(request)),
        ("title", captions.page_title(request)),
        ("headline", headline(request)),
        *(("warning", each) for each in warning(request)),
        *((f"limitation {number}", each) for number, each in enumerate(limits(request), 1)),
        *((f"earlier exam {number}", each) for number, each in enumerate(comparison.lines(request), 1)),
        *(("limits of every reading", each) for each in captions.page_limits(request)),
        ("UID", request.instance_uid(EncapsulatedPDFStorage)),
        *_nodules(request),
    ]
    shown = ((place, drawable(sentence, request.style.language)) for place, sentence in said)
    yield from (place for place, sentence in shown if _squeezed(sentence) not in text)


def _nodules(request: ResultRequest) -> Iterator[tuple[str, str]]:
    for finding in request.findings[:MOST_ROWS]:
        yield finding.label, "".join(captions.row(finding, request)[:4])
        yield from ((f"{finding.label} more", each) for each in captions.rows_below(finding, request))


def taken_for_another(of: Object) -> Iterator[str]:
    """Words of another outcome; that there is nothing, where not everything was read."""
    outcome, text, say = of.request.conclusion.outcome, _text(of), of.request.say
    for other, state in captions.PAGE_STATES.items():
        if other is not outcome and _squeezed(say(state)) in text:
            yield f"state {other}"
    unread = WORDS[say.language].not_analysed
    if (_squeezed(unread) in text) != (outcome is Outcome.NOT_ANALYSED):
        yield unread
    for in_part in negatives(_line(of)):
        if outcome is not Outcome.NO_FINDINGS and not (outcome is Outcome.PARTIAL and in_part):
            yield "words"


def _line(of: Object) -> str:
    """What is read as one line: Chinese has no blanks, so what stands where its lines break is none of its text."""
    return ("" if of.request.style.language is Language.ZH else " ").join(_read(of).split())


def _reader(of: Object) -> PdfReader:
    """Raises ValueError where it is no PDF."""
    try:
        return PdfReader(BytesIO(of.dataset.EncapsulatedDocument), strict=False)
    except PdfReadError as error:
        raise ValueError("This is no PDF.") from error


def _read(of: Object) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return "\n".join(page.extract_text() for page in _reader(of).pages)


def _text(of: Object) -> str:
    """Without blanks: where lines break is not said."""
    return _squeezed(_read(of))


def _squeezed(text: str) -> str:
    return "".join(text.split())
