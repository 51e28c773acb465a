"""How texts are drawn, in each language: fonts, and where lines break."""

import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path

from fpdf import FPDF
from fpdf.enums import TextMode
from PIL import ImageFont

from node.domain.language import Language

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

NAME = "NodusSans"
FILE = Path(str(files(__package__) / "fonts" / "NodusSans.ttf"))
"""Latin letters with all accents of Europe, and Chinese ones (`python -m tests.lettering` makes it)."""
BOLD_LINE = 0.008
"""Width in mm, for each point of size, of the line around letters that makes them bold."""
_PARTS = re.compile(r"（?(?:[\u2e80-\uffef]|[^\s\u2e80-\uffef]+)[、。，：；！？）]*\s*|\s+")
"""What is not divided: a Chinese character or a word, with the punctuation around it and the blanks behind it."""


@cache
def picture_font(size: int, language: Language = Language.EN) -> Font:
    """For pictures, of so many pixels."""
    return ImageFont.load_default(size) if language is Language.EN else ImageFont.truetype(FILE, size)


def page_font(pdf: FPDF, language: Language, size_pt: float, bold: bool = False) -> None:
    """Set the font of a page: English has one that every viewer knows, others bring theirs along."""
    if language is Language.EN:
        pdf.set_font("Helvetica", "B" if bold else "", size_pt)
        return
    if NAME.lower() not in pdf.fonts:
        pdf.add_font(NAME, fname=FILE)
    pdf.set_font(NAME, "", size_pt)
    pdf.text_mode = TextMode.FILL_STROKE if bold else TextMode.FILL
    pdf.set_line_width(BOLD_LINE * size_pt)


def drawable(text: str, language: Language) -> str:
    """What the font of a page in this language can show; "?" for anything else."""
    if language is Language.EN:
        return text.encode("latin-1", "replace").decode("latin-1")
    return "".join(each if ord(each) in _characters() else "?" for each in text)


@cache
def _characters() -> frozenset[int]:
    from fontTools.ttLib import TTFont

    return frozenset(TTFont(FILE).getBestCmap())


def wrapped(text: str, width: float, length: Callable[[str], float]) -> list[str]:
    """A text in lines no longer than a width, unless one word is."""
    lines, line, used = [], "", 0.0
    for part in _PARTS.findall(text):
        if line and used + length(part.rstrip()) > width:
            lines.append(line.rstrip())
            line, used = "", 0.0
        line += part
        used += length(part)
    return [*lines, line.rstrip()]
