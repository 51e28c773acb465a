"""Makes the font of pictures and pages from two of Debian's: `python -m tests.lettering`.

Latin letters are DejaVu Sans Condensed (fonts-dejavu-extra), Chinese ones Droid Sans Fallback (fonts-droid-fallback),
cut to what reports may say: every character of the tables of sentences, and the 3755 most frequent of GB 2312.
"""

from io import BytesIO
from pathlib import Path

from fontTools.merge import Merger
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from fontTools.ttLib.scaleUpem import scale_upem

from workers.results.language.tables import MEANINGS, SENTENCES
from workers.results.lettering import FILE, NAME

LATIN = Path("/usr/share/fonts/truetype/dejavu/DejaVuSansCondensed.ttf")
CHINESE = Path("/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf")
UNITS = 2048
"""Of an em, in both."""
PUNCTUATION = "‐‑–—‘’‚“”„…•≤≥≈−×′″"
LICENCE = (
    "Latin: DejaVu Sans Condensed, (c) Bitstream, changes in the public domain. Chinese: Droid Sans Fallback, (c) "
    "Google, Apache License 2.0. Both cut and joined."
)


def frequent() -> set[str]:
    """The first level of GB 2312, and its punctuation."""
    pairs = [(row, cell) for row in (*range(1, 4), *range(16, 56)) for cell in range(1, 95)]
    return set(bytes(byte for row, cell in pairs for byte in (row + 160, cell + 160)).decode("gb2312", "ignore"))


def wanted() -> set[str]:
    """Every character that is to be in it."""
    said = (text for table in (SENTENCES, MEANINGS) for wording in table.values() for text in wording.values())
    return {*map(chr, range(32, 127)), *map(chr, range(160, 384)), *PUNCTUATION, *frequent(), *"".join(said)}


def cut(path: Path, characters: set[str]) -> TTFont:
    """A font with these characters alone, those that it has."""
    options = Options(layout_features=[], hinting=False, name_IDs=[1, 2, 4, 6, 13], notdef_outline=True)
    options.drop_tables += ["FFTM"]
    font, cutter = TTFont(path, recalcTimestamp=False), Subsetter(options)
    cutter.populate(unicodes=[ord(each) for each in characters if ord(each) in font.getBestCmap()])
    cutter.subset(font)
    scale_upem(font, UNITS)
    for table in {"GDEF", "GPOS", "GSUB", "kern", "vhea", "vmtx"} & set(font.keys()):
        del font[table]
    return font


def joined(fonts: list[TTFont]) -> TTFont:
    """One font of several; the first decides about what they share."""
    files = []
    for font in fonts:
        files.append(BytesIO())
        font.save(files[-1])
        files[-1].seek(0)
    made = Merger().merge(files)
    for record in list(made["name"].names):
        text = LICENCE if record.nameID == 13 else "Regular" if record.nameID == 2 else NAME
        made["name"].setName(text, record.nameID, record.platformID, record.platEncID, record.langID)
    return made


def main() -> None:
    """Write it where the analysis loads it."""
    latin = {each for each in wanted() if ord(each) < 0x2E80}
    joined([cut(LATIN, latin), cut(CHINESE, wanted() - latin)]).save(FILE)


if __name__ == "__main__":
    main()
