"""What reports say, in each language: one table of sentences and one of code meanings, and who speaks by them."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.sr.coding import Code

from node.domain.language import Language
from workers.results.language.tables import MEANINGS, SENTENCES, pattern_of, patterns

TAGS = {
    Language.EN: Code("en-US", "RFC5646", "English (United States)"),
    Language.ZH: Code("zh", "RFC5646", "Chinese"),
    Language.DE: Code("de", "RFC5646", "German"),
}
"""CID 5000."""
LIST, OR, STOP, END = ", ", " or ", ".", ". "
_JOINTS = {
    Language.EN: {END: END, "; ": "; ", LIST: LIST, OR: OR, STOP: STOP},
    Language.ZH: {END: "。", "; ": "；", LIST: "、", OR: "或", STOP: "。"},
    Language.DE: {END: END, "; ": "; ", LIST: LIST, OR: " oder ", STOP: STOP},
}
"""What stands between parts, loosest first."""


@dataclass(frozen=True)
class Speech:
    """Says sentences in one language."""

    language: Language = Language.EN

    def __call__(self, sentence: str, /, **fields: str) -> str:
        """A sentence of the table, filled with what was said before. Raises KeyError for one that is not in it."""
        return SENTENCES[sentence][self.language].format(**fields)

    def of(self, text: str) -> str:
        """What was said in English elsewhere: as a whole, by its pattern, or part by part; else as it is."""
        if self.language is Language.EN or not text:
            return text
        if text in SENTENCES:
            return SENTENCES[text][self.language]
        if _is_decimal(text):
            return text.replace(".", ",") if self.language is Language.DE else text
        for sentence, pattern in patterns():
            if found := pattern.fullmatch(text):
                return self(sentence, **{name: self.of(value) for name, value in found.groupdict().items()})
        return self._by_parts(text)

    def begins(self, sentence: str, text: str) -> bool:
        """Whether a text begins like a sentence of the table in this language, up to its second field."""
        wording = SENTENCES[sentence][self.language]
        second = wording.index("{", wording.index("}"))
        return pattern_of(wording[:second].rstrip(" (（")).match(text) is not None

    def number(self, number: float, digits: int = 0) -> str:
        """Rounded, with the language's decimal sign."""
        return self.of(f"{number:.{digits}f}")

    def joined(self, parts: Sequence[str], between: str = LIST) -> str:
        """A list, each part said."""
        return self.joint(between).join(map(self.of, parts))

    def joint(self, between: str) -> str:
        """What stands between parts where English has this."""
        return _JOINTS[self.language][between]

    def meaning(self, code: Dataset | Code) -> str:
        """Of a code of the table; of any other, such as the source's, its own."""
        value, scheme, own = (
            (code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning)
            if isinstance(code, Dataset)
            else (code.value, code.scheme_designator, code.meaning)
        )
        known = MEANINGS.get(f"{value} {scheme}")
        return known[self.language] if known else str(own)

    def name_codes(self, dataset: Dataset) -> None:
        """Put this language's meaning into every code below a data set."""
        if "CodeMeaning" in dataset and "CodeValue" in dataset:
            dataset.CodeMeaning = self.meaning(dataset)
        for element in dataset:
            if element.VR == "SQ":
                for item in element.value:
                    self.name_codes(item)

    def _by_parts(self, text: str) -> str:
        if END in text:
            *before, last = text.split(END)
            said = [self.of(each + STOP).removesuffix(self.joint(STOP)) for each in before]
            return self.joint(END).join([*said, self.of(last)])
        if text.endswith(STOP):
            return self.of(text[: -len(STOP)]) + self.joint(STOP)
        for between in ("; ", LIST, OR):
            if between in text:
                return self.joined(text.split(between), between)
        return text


def _is_decimal(text: str) -> bool:
    whole, point, rest = text.removeprefix("-").removeprefix("+").partition(".")
    return bool(point) and whole.isdigit() and rest.isdigit()
