"""The two tables, read once: sentences.toml by English sentence, meanings.toml by code value and scheme."""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from string import Formatter

from node.domain.language import Language

Wording = Mapping[Language, str]

COUNTS, COUNTED = frozenset({"count", "days"}), r"\d+"
"""Fields that hold a whole number and nothing else: else the last part of a list would take all of it."""
ANY = r"(?:(?!\. ).)+?"
LEAST_FIXED = 4
"""Characters by which a sentence is known: "{share}%" would be found in others."""


def _table(name: str) -> dict[str, Wording]:
    """Raises KeyError where a language is missing: then nothing is said in any."""
    rows = tomllib.loads(files(__package__).joinpath(name).read_text(encoding="utf-8"))
    return {
        key: {each: row.get("en", key) if each is Language.EN else row[each] for each in Language}
        for key, row in rows.items()
    }


SENTENCES = _table("sentences.toml")
MEANINGS = _table("meanings.toml")


@cache
def patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Sentences that have fields, with what they look like filled in; the longest fixed text first.

    A field never holds the end of a sentence: two sentences are not taken for one.
    """
    ordered = sorted(SENTENCES, key=_fixed, reverse=True)
    return tuple((each, pattern_of(each)) for each in ordered if "{" in each and _fixed(each) >= LEAST_FIXED)


def _fixed(sentence: str) -> int:
    return sum(len(text) for text, _ in _parts(sentence))


def pattern_of(sentence: str) -> re.Pattern[str]:
    """What a sentence looks like filled in."""
    seen: set[str] = set()
    made = ""
    for text, name in _parts(sentence):
        made += re.escape(text)
        if name:
            made += f"(?P={name})" if name in seen else f"(?P<{name}>{COUNTED if name in COUNTS else ANY})"
            seen.add(name)
    return re.compile(made)


def _parts(sentence: str) -> list[tuple[str, str]]:
    """Fixed text and the field behind it, in turn; no field behind the last."""
    return [(text, name or "") for text, name, _, _ in Formatter().parse(sentence)]
