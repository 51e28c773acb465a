"""Patient and study: those of the images, and nothing else."""

from collections.abc import Iterator
from typing import Any

from pydicom import DataElement, Dataset

from workers.results.check.rules import Object
from workers.results.document import COPIED
from workers.volume.planes import PARSE_ERRORS

OWN = frozenset({"SpecificCharacterSet"})
"""How texts are written, not what they say."""
MAY_BE_LEFT_OUT = frozenset({"TimezoneOffsetFromUTC"})
"""An impossible one is not copied."""
UNICODE = "ISO_IR 192"


def other_patient_or_study(of: Object) -> Iterator[str]:
    """Attributes that the source has not, or has otherwise."""
    source, written = of.request.headers[0], of.dataset
    for keyword in COPIED:
        if keyword in OWN:
            continue
        found, expected = _plain(written, keyword), _plain(source, keyword)
        if found != expected and not (keyword in MAY_BE_LEFT_OUT and not found):
            yield keyword
    for keyword in ("StudyInstanceUID", "PatientID"):
        if any(_plain(header, keyword) != _plain(written, keyword) for header in of.request.headers):
            yield keyword


def other_character_set(of: Object) -> Iterator[str]:
    """Neither that of the source nor the one that holds everything."""
    written = of.dataset.get("SpecificCharacterSet")
    if written != UNICODE and str(written or "") != str(of.request.headers[0].get("SpecificCharacterSet") or ""):
        yield "SpecificCharacterSet"


def _plain(dataset: Dataset, keyword: str) -> Any:
    """What an attribute says, however it is written; empty where it is missing or cannot be read."""
    try:
        return _said(dataset[keyword]) if keyword in dataset else ()
    except PARSE_ERRORS:
        return ()


def _said(element: DataElement) -> Any:
    if element.VR == "SQ":
        return tuple(
            tuple((nested.tag, _said(nested)) for nested in item if _is_told(nested)) for item in element.value
        )
    if element.is_empty:
        return ()
    values = list(element.value) if element.VM > 1 else [element.value]
    if element.VR == "PN":
        return tuple("=".join(group.rstrip("^ ") for group in str(name).split("=")).rstrip("=") for name in values)
    return tuple(str(value).strip(" \0") for value in values)


def _is_told(nested: DataElement) -> bool:
    return not nested.tag.is_private and nested.tag.element != 0 and nested.keyword not in OWN
