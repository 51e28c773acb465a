"""What a rule is, and a result read again beside what it was made from."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from pydicom import DataElement, Dataset, dcmread

from node.domain.delivery import ResultKind
from workers.results.request import EncodedResult, ResultRequest
from workers.volume.planes import PARSE_ERRORS, Plane, planes_of, source_of

MOST_PLACES = 3
"""Of a broken rule are named; the object itself has the rest."""


class Element(NamedTuple):
    """A data element and the way to it."""

    path: tuple[str, ...]
    """Keywords from the root; the tag where an element has none."""
    parent: Dataset
    element: DataElement


@dataclass(frozen=True)
class Object:
    """One encoded result, read again."""

    encoded: EncodedResult
    request: ResultRequest

    @cached_property
    def dataset(self) -> Dataset:
        """The whole file. Raises one of PARSE_ERRORS."""
        return dcmread(BytesIO(self.encoded.data))

    @cached_property
    def elements(self) -> tuple[Element, ...]:
        """Every element at every depth, decoded. Raises one of PARSE_ERRORS."""
        return tuple(_elements(self.dataset, ()))

    @cached_property
    def planes(self) -> list[Plane]:
        """One per slice of the volume: where it lies, as its own image says."""
        found = {source_of(plane): plane for each in self.request.headers for plane in planes_of(Path(), each)}
        return [found[source] for source in self.request.volume.slices] if self.request.volume else []


def _elements(dataset: Dataset, path: tuple[str, ...]) -> Iterator[Element]:
    for element in dataset:
        here = (*path, element.keyword or str(element.tag))
        yield Element(here, dataset, element)
        if element.VR == "SQ":
            for item in element.value:
                yield from _elements(item, here)


@dataclass(frozen=True)
class Rule:
    """What must be so, whatever else an object holds."""

    name: str
    """Short and stable: runbooks and scripts rest on it."""
    says: str
    """One sentence."""
    find: Callable[[Object], Iterable[str]]
    """The places where it is not so: keywords, labels of nodules, numbers; never a value of the patient's."""
    kinds: frozenset[ResultKind] = frozenset(ResultKind)
    is_first: bool = False
    """The others make no sense where it is broken."""

    def places(self, of: Object) -> list[str]:
        """Where it is broken. What cannot be asked is broken, too."""
        try:
            return list(dict.fromkeys(self.find(of)))
        except PARSE_ERRORS as error:
            return [f"cannot be told: {type(error).__name__}"]


@dataclass(frozen=True)
class Broken:
    """A rule that an object broke."""

    rule: str
    says: str
    places: tuple[str, ...]

    def __str__(self) -> str:
        named, more = ", ".join(self.places[:MOST_PLACES]), len(self.places) - MOST_PLACES
        return f"{self.rule}: {self.says} ({named}{f' and {more} more' if more > 0 else ''})"


def broken(of: Object, rules: Iterable[Rule]) -> tuple[Broken, ...]:
    """The rules that an object breaks, in their order."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of values; the rules judge them
        for rule in rules:
            if of.encoded.kind in rule.kinds and (places := rule.places(of)):
                found.append(Broken(rule.name, rule.says, tuple(places)))
                if rule.is_first:
                    break
    return tuple(found)
