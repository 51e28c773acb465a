"""Values as their VR allows (PS3.5 6.2): length and characters. What the source itself says is kept as it is."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VM
from pydicom.valuerep import VALIDATORS

from workers.results.check.rules import Object
from workers.results.request import ResultRequest
from workers.volume.planes import PARSE_ERRORS

TEXTS = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UR", "UT"})
LINES = frozenset({"LT", "ST", "UT"})
"""These may hold more than one line."""
LINE_CONTROLS = "\t\n\f\r"
FUNCTIONAL_GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")


def not_allowed(of: Object) -> Iterator[str]:
    """Elements with a value that their VR does not allow and that is not the source's."""
    suspicious = [(each.path, text) for each in of.elements for text in _bad(each.element)]
    if suspicious:
        of_source = _said_by(of.request)
        yield from (path[-1] for path, text in suspicious if text not in of_source)


def _bad(element: DataElement) -> Iterator[str]:
    """The values that break their VR, as text."""
    texts = [str(value) for value in _values(element)]
    if len(texts) > 1 and element.VR in (*TEXTS, "PN") and _is_single(element.tag):
        yield "\\".join(texts)
    if element.VR == "PN":
        yield from (name for name in texts if not _is_name(name))
    elif element.VR in TEXTS:
        yield from (text for text in texts if not _is_allowed(element.VR, text))


def _values(element: DataElement) -> list[Any]:
    if element.is_empty:
        return []
    return list(element.value) if element.VM > 1 else [element.value]


def _is_name(name: str) -> bool:
    """At most three groups of at most 64 characters, of five parts (PS3.5 6.2.1)."""
    groups = name.split("=")
    fits = all(len(group) <= 64 and group.count("^") <= 4 for group in groups)
    return fits and len(groups) <= 3 and name.isprintable()


@cache
def _is_single(tag: int) -> bool:
    """Whether an attribute of the standard has one value: a backslash in a text makes two."""
    return dictionary_has_tag(tag) and dictionary_VM(tag) == "1"


@cache
def _is_allowed(vr: str, text: str) -> bool:
    """Cached: the same UIDs and codes come by the hundred."""
    ends = text.rstrip(LINE_CONTROLS) if vr in LINES else text
    plain = ends.translate(dict.fromkeys(map(ord, LINE_CONTROLS))) if vr in LINES else ends
    if any(ord(each) < 0x20 or ord(each) == 0x7F for each in plain):
        return False
    if vr not in LINES and vr not in ("UR", "UC") and "\\" in text:
        return False
    validator: Any = VALIDATORS.get(vr)
    return validator is None or bool(validator(vr, text)[0])


def _said_by(request: ResultRequest) -> set[str]:
    """Texts of the source: whatever they break, they are copied as they are."""
    said = {str(header.get("SOPInstanceUID", "")) for header in request.headers}
    said |= {text for each in request.predecessors.values() for text in vars(each).values()}
    return said | set(texts_in(request.headers[0]))


def texts_in(dataset: Dataset) -> Iterator[str]:
    """Every value of a header that can be read, as text; functional groups aside."""
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
        except PARSE_ERRORS:
            continue
        if element.keyword in FUNCTIONAL_GROUPS:
            continue
        if element.VR == "SQ":
            for item in element.value:
                yield from texts_in(item)
        else:
            texts = [str(value) for value in _values(element)]
            yield from (*texts, "\\".join(texts))
