"""The words by which a reader of each language tells how a reading ended; written apart from what writes them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from node.domain.language import Language

AROUND = 40
"""Characters before and after a negative in which it may be limited."""


@dataclass(frozen=True)
class Words:
    """Of one language."""

    not_analysed: str
    negative: re.Pattern[str]
    """There is nothing."""
    in_part: str
    """... of what could be assessed."""
    count: re.Pattern[str]
    """Begins the first sentence; its group is the number, or nothing for none."""
    at_least: str


WORDS = {
    Language.EN: Words(
        "NOT ANALYSED",
        re.compile(r"\bno (?:\w+ )?nodules? (?:(?:was|were|is|are) )?(?:found|seen|detected|present)\b", re.IGNORECASE),
        "in the part that could be assessed",
        re.compile(r"^(?:At least )?(?:(\d+)|No) lung nodules? (?:found|could)"),
        "At least",
    ),
    Language.ZH: Words(
        "未分析",
        re.compile(r"(?:未发现|未见|没有发现|无)(?:任何|明显)?[肺部]{0,2}结节"),
        "在可评估范围内",
        re.compile(r"^(?:在可评估范围内)?(?:发现(?:至少)?(\d+)个肺结节|未发现肺结节|所发现的肺结节均无法评估)"),
        "至少",
    ),
    Language.DE: Words(
        "NICHT AUSGEWERTET",
        re.compile(
            r"\bkein\w* (?:\w+ )?\w*(?:rundherde?|knoten)\b[\w ]{0,40}"
            r"\b(?:gefunden|gesehen|nachweisbar|erkennbar|vorhanden)",
            re.IGNORECASE,
        ),
        "im beurteilbaren Anteil",
        re.compile(r"^(?:Mindestens )?(?:(\d+)|Keine?r?)(?: der gefundenen)? Lungenrundherde? (?:im|gefunden|konnte)"),
        "Mindestens",
    ),
}


def negatives(text: str) -> Iterator[bool]:
    """Each place that says that there is nothing, in any language: whether it says so of a part alone."""
    for words in WORDS.values():
        for found in words.negative.finditer(text):
            yield words.in_part in text[max(found.start() - AROUND, 0) : found.end() + AROUND]
