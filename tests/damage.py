"""Encoded results that are damaged on purpose, in one way at a time."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

from pydicom import Dataset, dcmread, dcmwrite
from pydicom.sr.coding import Code

from workers.results import EncodedResult

Change = Callable[[Dataset], object]


def changed(result: EncodedResult, change: Change) -> EncodedResult:
    """The same result with its data set changed and written anew; the file meta stays as the change leaves it."""
    with warnings.catch_warnings(), BytesIO() as buffer:
        warnings.simplefilter("ignore")  # pydicom warns of what is broken here
        dataset = dcmread(BytesIO(result.data))
        change(dataset)
        dcmwrite(buffer, dataset)
        return replace(result, data=buffer.getvalue())


def below(item: Dataset, meaning: str) -> list[Dataset]:
    """Content items at any depth with this concept name, in document order."""
    found = []
    for each in item.get("ContentSequence", []):
        if each.get("ConceptNameCodeSequence") and each.ConceptNameCodeSequence[0].CodeMeaning == meaning:
            found.append(each)
        found += below(each, meaning)
    return found


def without(item: Dataset, meaning: str) -> None:
    """Remove the content items right below with this concept name."""
    named = below(item, meaning)
    item.ContentSequence = [each for each in item.ContentSequence if each not in named]


def coded(code: Code) -> Dataset:
    """One item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def content_item(value_type: str, name: Code, value: str | Code) -> Dataset:
    """A content item below another, with a text, a code or a percentage for its value."""
    item = Dataset()
    item.RelationshipType, item.ValueType, item.ConceptNameCodeSequence = "CONTAINS", value_type, [coded(name)]
    if isinstance(value, Code):
        item.ConceptCodeSequence = [coded(value)]
    elif value_type == "NUM":
        measured = Dataset()
        measured.NumericValue, measured.MeasurementUnitsCodeSequence = value, [coded(Code("%", "UCUM", "Percent"))]
        item.MeasuredValueSequence = [measured]
    else:
        item.TextValue = value
    return item
