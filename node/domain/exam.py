"""Why an exam was made, as far as a site's words tell: it decides which clinical rules may be applied to it."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

ANY_SENDER = "*"


class Purpose(StrEnum):
    """What clinical rules are made for; an exam of no known purpose gets none."""

    SCREENING = "screening"
    """Lung cancer screening of a person without symptoms."""
    INCIDENTAL = "incidental"
    """Any other reason than lung nodules: what is found is found by chance."""


@dataclass(frozen=True)
class Exam:
    """What clinical rules ask of an exam and its patient, beside the nodules."""

    purpose: Purpose
    because: str
    """What decided the purpose: the sentence names the site's own word, never the text in which it stood."""
    age_years: int | None
    female: bool | None
    """None: not in the images, or neither."""


@dataclass(frozen=True)
class ExamRules:
    """Which exams a site makes for which purpose. Empty everywhere: none is known, and no clinical rule is applied."""

    screening_words: tuple[str, ...] = ()
    screening_senders: tuple[str, ...] = ()
    incidental_words: tuple[str, ...] = ()
    incidental_senders: tuple[str, ...] = ()
    """AE titles; `*` is any."""

    def purpose_of(self, texts: Mapping[str, str], senders: Collection[str]) -> tuple[Purpose, str] | None:
        """Purpose, and what decided it; None where nothing does.

        `texts`: attribute to its value; `senders`: AE titles that brought the images. What says screening goes first:
        rules for incidental nodules are not made for screening.
        """
        for purpose, words, titles in (
            (Purpose.SCREENING, self.screening_words, self.screening_senders),
            (Purpose.INCIDENTAL, self.incidental_words, self.incidental_senders),
        ):
            because = next(_reasons(texts, senders, words, titles), "")
            if because:
                return purpose, because
        return None


def plain(text: str) -> str:
    """Letters and digits alone, in one case, a blank between words and at both ends; empty where there are none."""
    words = re.findall(r"[^\W_]+", text.casefold())
    return f" {' '.join(words)} " if words else ""


def _reasons(
    texts: Mapping[str, str], senders: Collection[str], words: Iterable[str], titles: Collection[str]
) -> Iterator[str]:
    for word in words:
        for name, text in texts.items():
            if plain(word) and plain(word) in plain(text):
                yield f"{name} has '{word}'"
    yield from (f"it came from {title}" for title in titles if title in senders)
    yield from ("the settings say so of every exam" for title in titles if title == ANY_SENDER)
