"""Matching of one key of a C-FIND with a value, by its VR (PS3.4 C.2.2.2)."""

import fnmatch
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

Scalar = str | int | float | None
Value = Scalar | Sequence[str] | Sequence["Mapping[str, Value]"]
"""A value, several values, or the items of a sequence, by keyword."""

NO_WILD_CARDS = frozenset({"DA", "TM", "DT", "UI", "IS", "DS", "US", "UL", "SS", "SL", "FL", "FD", "SQ"})
RANGES = frozenset({"DA", "TM", "DT"})


@dataclass(frozen=True)
class Key:
    """What is asked of one attribute."""

    vr: str
    value: str = ""
    """Several values are joined by a backslash; empty matches everything."""
    inside: "Mapping[str, Key]" = field(default_factory=dict)
    """Of a sequence: keys of its item; none matches every item, and asks for all of it."""

    @property
    def selects(self) -> bool:
        """Whether anything is left out by it."""
        return bool(self.value) or any(key.selects for key in self.inside.values())


def selects(keys: Mapping[str, Key], row: "Mapping[str, Value]") -> bool:
    """Whether one entity, or one item of a sequence, matches every key."""
    return all(_matches_key(key, row.get(name)) for name, key in keys.items())


def _matches_key(key: Key, value: Value) -> bool:
    """A sequence matches where one of its items does (PS3.4 C.2.2.2.6)."""
    if key.vr != "SQ":
        return matches(key.vr, key.value, value)
    items = value if isinstance(value, (list, tuple)) else ()
    return not key.selects or any(selects(key.inside, item) for item in items if isinstance(item, Mapping))


def matches(vr: str, key: str, value: Value) -> bool:
    """Whether a value matches one key. An empty key matches everything; an empty value only an empty or `*` key."""
    if key == "" or (key.strip("*") == "" and vr not in NO_WILD_CARDS):
        return True
    if value is None or value == "" or value == ():
        return False
    if not isinstance(value, (str, int, float)):
        return any(matches(vr, key, each) for each in value if isinstance(each, str))
    return _MATCHERS.get(vr, _matches_text)(key, str(value))


def _matches_uid(key: str, value: str) -> bool:
    return value in key.split("\\")


def _matches_number(key: str, value: str) -> bool:
    """As numbers: 03 and 3.0 are 3."""
    try:
        return any(float(each) == float(value) for each in key.split("\\"))
    except ValueError:
        return False


def bounds(key: str) -> tuple[str, str]:
    """Both ends of a range of DA or TM, either empty where it is open; a single value is both."""
    low, dash, high = (part.strip() for part in key.replace(":", "").replace(".", "").partition("-"))
    return (low, high) if dash else (low, low)


def _matches_range(key: str, value: str) -> bool:
    """Single value or range of DA or TM (PS3.4 C.2.2.2.5); a shorter bound covers all that begins with it."""
    plain, (low, high) = value.replace(":", "").replace(".", ""), bounds(key)
    if "-" not in key:
        return plain.startswith(low)
    return plain.ljust(len(low), "0") >= low and (not high or plain[: len(high)] <= high)


_MOMENT = re.compile(r"(\d{4,14})(\.\d{1,6})?([+-]\d{4})?")


_ALWAYS = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def _matches_moment(key: str, value: str) -> bool:
    """Single value or range of DT: offsets from UTC count, and without one UTC is meant."""
    split = _range_of_moments(key)
    moment = _moments(value)
    if split is None or moment is None:
        return False
    low, high = (_moments(bound) if bound else _ALWAYS for bound in split)
    return low is not None and high is not None and moment[1] > low[0] and moment[0] < high[1]


def _range_of_moments(key: str) -> tuple[str, str] | None:
    """A hyphen begins an offset where four digits up to 1400 follow it and a moment stands before (PS3.5 6.2)."""
    if (whole := _MOMENT.fullmatch(key)) and (not (whole[3] or "").startswith("-") or whole[3] <= "-1200"):
        return key, key
    for place in (at for at, sign in enumerate(key) if sign == "-"):
        low, high = key[:place], key[place + 1 :]
        if all(not bound or _MOMENT.fullmatch(bound) for bound in (low, high)) and (low or high):
            return low, high
    return None


def _moments(text: str) -> tuple[datetime, datetime] | None:
    """The first moment that a DT means, and the first one after; None where it is none."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    digits, fraction, offset = found[1], found[2] or "", found[3] or "+0000"
    lacking = "00000101000000"[len(digits) :]
    try:
        zone = timezone((-1 if offset[0] == "-" else 1) * timedelta(hours=int(offset[1:3]), minutes=int(offset[3:])))
        begin = datetime.strptime(digits + lacking, "%Y%m%d%H%M%S").replace(tzinfo=zone).astimezone(UTC)
        begin += timedelta(seconds=float("0" + fraction))
        return begin, begin + _length(digits, fraction, begin)
    except (ValueError, OverflowError):
        return None


def _length(digits: str, fraction: str, begin: datetime) -> timedelta:
    if fraction:
        return timedelta(seconds=10.0 ** (1 - len(fraction)))
    days = {4: 366 if begin.year % 4 == 0 else 365, 6: 31, 8: 1}
    if len(digits) in days:
        return timedelta(days=days[len(digits)])
    return {10: timedelta(hours=1), 12: timedelta(minutes=1)}.get(len(digits), timedelta(seconds=1))


def matches_together(date: str, time: str, row_date: str, row_time: str) -> bool:
    """A date and a time key as one range of moments (PS3.4 C.2.2.2.5.4), as extended negotiation can ask for."""
    (first_day, last_day), (first_time, last_time) = bounds(date), bounds(time)
    if not row_date:
        return False
    moment = row_date.replace(".", "") + row_time.replace(":", "").replace(".", "")
    low, high = first_day + (first_time if first_day else ""), last_day + (last_time if last_day else "")
    return moment.ljust(len(low), "0") >= low and (not high or moment[: len(high)] <= high)


def _matches_text(key: str, value: str) -> bool:
    """Single value or wild card, case-sensitive."""
    return any(_wild(each).fullmatch(value) for each in key.split("\\"))


def _matches_name(key: str, value: str) -> bool:
    """Person name: neither case nor accents count. A key of one component group may match any group; of one of
    several groups, each that is given must match its own."""
    wanted, known = folded(key).split("="), folded(value).split("=")
    patterns = [_wild(group.rstrip("^")) for group in wanted]
    if len(patterns) == 1:
        return any(patterns[0].fullmatch(group.rstrip("^")) for group in known)
    known += [""] * (len(wanted) - len(known))
    pairs = zip(wanted, patterns, known, strict=False)
    return all(pattern.fullmatch(group.rstrip("^")) for asked, pattern, group in pairs if asked)


def folded(text: str) -> str:
    """Text without case and accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


@lru_cache(maxsize=256)
def _wild(pattern: str) -> re.Pattern[str]:
    """Runs of `*` are one: each would be tried at every place."""
    escaped = re.sub(r"\*+", "*", pattern.strip()).replace("[", "[[]")
    return re.compile(fnmatch.translate(escaped), re.DOTALL)


_MATCHERS = {
    "UI": _matches_uid,
    "DA": _matches_range,
    "TM": _matches_range,
    "DT": _matches_moment,
    "PN": _matches_name,
    **dict.fromkeys(("IS", "DS", "US", "UL", "SS", "SL", "FL", "FD"), _matches_number),
}
