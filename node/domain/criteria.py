"""What a rule asks of one DICOM attribute: a pattern, a bound, a span, a list of them. Compared, never run.

"CT"  "*lung*"  "?"      the value as a pattern, in any case: * is any text, ? any character
"!= SCOUT*"              no value is like this
""                       the attribute is absent or empty
"<= 3"  "> 0.5"  "1..3"  numbers, and dates (20240131 or 2024-01-31); both ends of a span count
["CHEST", "THORAX"]      one of them holds
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from operator import ge, gt, le, lt


class Kind(StrEnum):
    """How the values of an attribute are compared."""

    TEXT = "text"
    NUMBER = "a number"
    DATE = "a date"


ORDERS: dict[str, Callable[[float, float], bool]] = {"<=": le, ">=": ge, "<": lt, ">": gt}
"""The longer signs first: one begins like another."""
NOT = "!="
SPAN = ".."


@dataclass(frozen=True)
class Criterion:
    """What is asked of one attribute."""

    keyword: str
    kind: Kind
    accepted: tuple[str, ...]
    """One of them must hold; checked by `criterion`."""
    told: bool = False
    """Whether its values may be shown: they are codes or numbers, and never name a patient."""

    def holds(self, values: Sequence[str]) -> bool:
        """Whether the values of an attribute, none where it is absent, are what is asked for."""
        return any(_holds(each, self.kind, values) for each in self.accepted)

    def __str__(self) -> str:
        return f"{self.keyword} = {' or '.join(repr(each) for each in self.accepted)}"

    def missed(self, values: Sequence[str]) -> str:
        """Why these values are not what is asked for."""
        if not any(values):
            return f"{self.keyword} is absent, not {' or '.join(map(repr, self.accepted))}"
        shown = f"is {chr(92).join(values)}, not" if self.told else "does not match"
        return f"{self.keyword} {shown} {' or '.join(map(repr, self.accepted))}"


def criterion(keyword: str, kind: Kind, asked: Sequence[object], *, told: bool = False) -> Criterion:
    """What is asked of an attribute, as the settings write it. Raises ValueError with a sentence."""
    accepted = tuple(str(each).strip() for each in asked)
    if not accepted:
        raise ValueError(f"{keyword} has an empty list: name what it may be")
    for each in accepted:
        _check(keyword, kind, each)
    return Criterion(keyword, kind, accepted, told)


def _check(keyword: str, kind: Kind, asked: str) -> None:
    sign, rest = _signed(asked)
    bounds = [rest] if sign else _span(asked) if kind is not Kind.TEXT else []
    if sign and kind is Kind.TEXT:
        raise ValueError(f"{keyword} is text and has no order: {asked!r} cannot be asked of it")
    for bound in bounds:
        if _ordered(bound, kind) is None:
            raise ValueError(f"{asked!r} is none for {keyword}: it is {kind}")


def _signed(asked: str) -> tuple[str, str]:
    sign = next((sign for sign in ORDERS if asked.startswith(sign)), "")
    return sign, asked.removeprefix(sign).strip()


def _span(asked: str) -> list[str]:
    first, dots, last = asked.partition(SPAN)
    return [first.strip(), last.strip()] if dots else []


def _ordered(text: str, kind: Kind) -> float | None:
    """A value in its order; None for one that has no place in it."""
    if kind is Kind.DATE:
        digits = text.replace("-", "")
        return float(digits) if re.fullmatch(r"[0-9]{8}", digits) else None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _holds(asked: str, kind: Kind, values: Sequence[str]) -> bool:
    if asked.startswith(NOT):
        return not _holds(asked.removeprefix(NOT).strip(), kind, values)
    there = [each for each in values if each]
    if not asked:
        return not there
    return any(_is_like(asked, kind, each) for each in there)


def _is_like(asked: str, kind: Kind, value: str) -> bool:
    sign, rest = _signed(asked)
    span = _span(asked) if kind is not Kind.TEXT else []
    found = _ordered(value, kind) if kind is not Kind.TEXT else None
    if sign or span:
        bounds = [_ordered(each, kind) for each in (span or [rest])]
        if found is None or None in bounds:
            return False
        low, high = bounds[0] or 0.0, bounds[-1] or 0.0
        return low <= found <= high if span else ORDERS[sign](found, low)
    if found is not None and (same := _ordered(asked, kind)) is not None:
        return found == same
    return fnmatchcase(value.casefold(), _plain(asked.casefold()))


def _plain(pattern: str) -> str:
    """DICOM knows no sets of characters: a bracket is a bracket (PS3.4 C.2.2.2.4)."""
    return pattern.replace("[", "[[]")
