"""Header of an image to the exam that clinical rules ask for: its purpose by a site's words, age and sex."""

import warnings
from collections.abc import Collection, Iterator
from datetime import date

from pydicom import Dataset

from node.domain.exam import Exam, ExamRules
from node.headers.values import years
from workers.volume.planes import PARSE_ERRORS

WHERE = ("RequestedProcedureDescription", "StudyDescription", "ProtocolName")
"""Texts in which the words of the settings are looked for, in this order."""
MOST_YEARS = 120
"""A birth date that makes a patient older is a placeholder."""


def exam_of(header: Dataset, rules: ExamRules, senders: Collection[str] = ()) -> Exam | None:
    """The exam that an image belongs to; None where its purpose is not known. `senders`: AE titles that brought it."""
    texts = {keyword: " / ".join(_texts(header, keyword)) for keyword in WHERE}
    found = rules.purpose_of(texts, senders)
    if found is None:
        return None
    sex = {"F": True, "M": False}.get(_text(header, "PatientSex").strip().upper())
    return Exam(*found, age_years=age_of(header), female=sex)


def age_of(header: Dataset) -> int | None:
    """Age at the study in whole years: as the images say, else by the birth date."""
    stated = years(_text(header, "PatientAge").strip())
    if stated is not None:
        return stated
    born, studied = (_date(_text(header, keyword)) for keyword in ("PatientBirthDate", "StudyDate"))
    if born is None or studied is None:
        return None
    age = studied.year - born.year - ((studied.month, studied.day) < (born.month, born.day))
    return age if 0 <= age <= MOST_YEARS else None


def _texts(header: Dataset, keyword: str) -> Iterator[str]:
    """Of the image, and of the orders behind it (Request Attributes Sequence)."""
    yield _text(header, keyword)
    try:
        orders = list(header.get("RequestAttributesSequence") or [])
    except PARSE_ERRORS:
        return
    yield from (_text(order, keyword) for order in orders)


def _text(header: Dataset, keyword: str) -> str:
    """Empty where it is absent or cannot be read."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return str(header.get(keyword) or "")
    except PARSE_ERRORS:
        return ""


def _date(text: str) -> date | None:
    """A DA value (PS3.5 Table 6.2-1)."""
    try:
        return date.fromisoformat(text.strip()) if len(text.strip()) == 8 else None
    except ValueError:
        return None
