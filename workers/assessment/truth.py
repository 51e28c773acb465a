"""Tables of known nodules: those of LUNA16, of `nodus phantom`, and clustered marks of the LIDC-IDRI readers."""

import csv
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from node.domain.finding import NoduleType, Point
from node.errors import SettingsError
from workers.assessment.scan import Nodule
from workers.evaluation.matching import Truth

READERS = 3
"""LUNA16: a nodule counts where at least three of the four readers accepted it."""
UNKNOWN_DIAMETER_MM = 10.0
"""Of irrelevant findings without a size; as in the official script."""

Nodules = Mapping[str, tuple[Nodule, ...]]
"""By Series Instance UID. A series of a row without a place holds no nodule."""


@dataclass(frozen=True)
class _Layout:
    """Where a table keeps what we need: LPS mm."""

    series: str
    center: tuple[str, str, str]
    diameter: str


LUNA16 = _Layout("seriesuid", ("coordX", "coordY", "coordZ"), "diameter_mm")
LIDC = _Layout("series", ("worldX", "worldY", "worldZ"), "diam_mm_approx")


def read_truth(path: Path) -> Nodules:
    """Nodules of a table. Raises SettingsError with one sentence where it cannot be used."""
    return _read(path, _nodule)


def read_irrelevant(path: Path) -> Nodules:
    """Findings whose hits are neither right nor wrong (annotations_excluded.csv); a size below 0 means not known."""
    return _read(path, _irrelevant)


def _read(path: Path, nodule: Callable[["_Row"], Nodule]) -> Nodules:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            layout = _layout(path, table.fieldnames or ())
            rows = [_Row(path, table.line_num, layout, row) for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"{path} cannot be read as a csv file ({type(error).__name__}).") from error
    found: dict[str, list[Nodule]] = defaultdict(list)
    for row in rows:
        found[row.text(layout.series)].extend([] if row.is_bare else [nodule(row)])
    return {series: tuple(nodules) for series, nodules in found.items()}


def _layout(path: Path, columns: Sequence[str]) -> _Layout:
    layout = LIDC if LIDC.series in columns and LUNA16.series not in columns else LUNA16
    missing = [name for name in (layout.series, *layout.center, layout.diameter) if name not in columns]
    if missing:
        raise SettingsError(f"{path} has no column {missing[0]}.")
    return layout


@dataclass(frozen=True)
class _Row:
    path: Path
    line: int
    layout: _Layout
    cells: Mapping[str, str | None]

    @property
    def is_bare(self) -> bool:
        """Only the series is named: a scan without nodules."""
        return not any(self.cells.get(name) for name in (*self.layout.center, self.layout.diameter))

    def text(self, column: str) -> str:
        """A cell that must hold something."""
        value = (self.cells.get(column) or "").strip()
        if not value:
            raise self.wrong(f"{column} is empty")
        return value

    def number(self, column: str) -> float:
        """A finite number."""
        try:
            value = float(self.text(column))
        except ValueError:
            value = float("nan")
        if not np.isfinite(value):
            raise self.wrong(f"{column} is not a number")
        return value

    def optional(self, column: str) -> float | None:
        """A number, where the table has the column and the cell holds something."""
        return self.number(column) if self.cells.get(column) else None

    @property
    def center_lps_mm(self) -> Point:
        x, y, z = (self.number(column) for column in self.layout.center)
        return x, y, z

    def wrong(self, what: str) -> SettingsError:
        """An error that says where it is."""
        return SettingsError(f"{self.path}, line {self.line}: {what}.")


def _nodule(row: _Row) -> Nodule:
    diameter = row.number(row.layout.diameter)
    if diameter <= 0:
        raise row.wrong(f"{row.layout.diameter} is {diameter:g}, which no nodule has")
    readers = row.optional("readers")
    counts = readers is None or readers >= READERS
    return Nodule(Truth(row.center_lps_mm, diameter, counts), _type(row), row.optional("volume_mm3"))


def _irrelevant(row: _Row) -> Nodule:
    diameter = row.number(row.layout.diameter)
    return Nodule(Truth(row.center_lps_mm, diameter if diameter > 0 else UNKNOWN_DIAMETER_MM, counts=False))


def _type(row: _Row) -> NoduleType | None:
    """The type by name, else by the readers' mean texture (1 ground glass, 3 part-solid, 5 solid), else unknown."""
    texture = row.optional("texture")
    if texture is not None:
        kinds = ((2.5, NoduleType.GROUND_GLASS), (3.5, NoduleType.PART_SOLID))
        return next((kind for limit, kind in kinds if texture < limit), NoduleType.SOLID)
    name = row.cells.get("type")
    if name and name not in set(NoduleType):
        raise row.wrong(f"type is none of {', '.join(NoduleType)}")
    return NoduleType(name) if name else None
