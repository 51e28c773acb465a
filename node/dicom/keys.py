"""Matching of an identifier with a whole data set, sequences included (PS3.4 C.2.2.2.6), and what is answered."""

from pydicom import DataElement, Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.multival import MultiValue

from node.domain.matching import matches

NOT_KEYS = frozenset({"SpecificCharacterSet", "TimezoneOffsetFromUTC", "SOPClassUID", "TransactionUID"})
"""Answered as they are, never matched."""


def has_keys(identifier: Dataset, known: Dataset) -> bool:
    """Whether an identifier asks for anything that we have: without a key nothing matches (PS3.4 CC.2.8.3.1)."""
    return any(element.tag in known and element.keyword not in NOT_KEYS for element in identifier)


def plain_keys(identifier: Dataset) -> dict[str, str]:
    """Keyword to value of keys that are no sequences, several values joined by a backslash."""
    return {element.keyword: text_of(element) for element in identifier if element.VR != "SQ" and element.keyword}


def selects(identifier: Dataset, found: Dataset) -> bool:
    """Whether a data set matches every key. Keys that it does not have select nothing away: they are not supported."""
    return all(
        _matches(key, found[key.tag])
        for key in identifier
        if key.tag in found and keyword_for_tag(key.tag) not in NOT_KEYS
    )


def _matches(key: DataElement, value: DataElement) -> bool:
    if value.VR != "SQ":
        return bool(matches(value.VR, text_of(key), _values(value)))
    item = key.value[0] if key.VR == "SQ" and key.value else None
    if item is None or not _constrains(item):
        return True
    return any(selects(item, each) for each in value.value)


def _constrains(item: Dataset) -> bool:
    return any(
        (bool(each.value) and _constrains(each.value[0])) if each.VR == "SQ" else bool(text_of(each)) for each in item
    )


def answer(identifier: Dataset, found: Dataset) -> Dataset:
    """What was asked for, of a data set that matches; empty where it has nothing."""
    response = Dataset()
    for key in identifier:
        if key.tag.element == 0:  # a group length counts bytes of the question
            continue
        value = found.get(key.tag)
        response.add(DataElement(key.tag, key.VR, [] if key.VR == "SQ" else None) if value is None else value)
        if value is not None and value.VR == "SQ" and key.VR == "SQ" and key.value and len(key.value[0]):
            items = [answer(key.value[0], each) for each in value.value]
            response[key.tag] = DataElement(key.tag, "SQ", items)
    return response


def is_unsupported(identifier: Dataset, known: Dataset) -> bool:
    """Whether something was asked for that we never have."""
    return any(key.tag not in known and key.tag.element and key.keyword not in NOT_KEYS for key in identifier)


def text_of(element: DataElement) -> str:
    """A value as matching takes it."""
    value = element.value
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip("\0 ")
    if isinstance(value, (list, tuple, MultiValue)):
        return "\\".join(str(part).strip() for part in value)
    return str(value).strip()


def _values(element: DataElement) -> str | tuple[str, ...]:
    if isinstance(element.value, (list, MultiValue)):
        return tuple(str(part) for part in element.value)
    return text_of(element)
