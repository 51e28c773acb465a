"""Metrics for people and programs: a table, metrics.json, and a section of a model card."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

from workers.assessment.figure import SHIPPED_SCORE, Figure
from workers.assessment.metrics import Metrics
from workers.assessment.scan import EVERY_SCORE
from workers.assessment.strata import Cell
from workers.evaluation.subgroups import LEAST_N, Share
from workers.networks.operating import OperatingPoint
from workers.pipeline import Models

WIDTH = 140
WARNING = "Research, not validated on clinical data. Results on phantoms are results on phantoms."

SECOND_LOOKS = (
    f"So that the curve is not cut, places with a detector score of {EVERY_SCORE.candidate_score:g} and more had"
    f" a second look; the node gives one from {OperatingPoint().candidate_score:g} on, and reports"
    f" {OperatingPoint().most_findings} nodules at most."
)


@dataclass(frozen=True)
class Report:
    """What was measured, on what, with what."""

    metrics: Metrics
    on: str
    command: str
    models: Models
    notes: tuple[str, ...]

    def text(self) -> str:
        """As a person reads it on a terminal."""
        out = StringIO()
        console = Console(file=out, width=WIDTH, highlight=False, markup=False, emoji=False)
        console.print(self._heading())
        console.print(_table(("what", "value", "95 % interval", "n"), map(_row, self._figures())))
        console.print(_table(_CELL_COLUMNS, map(_cell_row, self.metrics.subgroups)))
        for note in self._remarks():
            console.print(note)
        return out.getvalue().rstrip("\n")

    def json(self) -> str:
        """Everything; what could not be measured is null."""
        document = {
            "on": self.on,
            "command": self.command,
            "models": asdict(self.models),
            "notes": self._remarks(),
            "finding_score": SHIPPED_SCORE,
            **asdict(self.metrics),
        }
        return json.dumps(_plain(document), indent=2, allow_nan=False) + "\n"

    def markdown(self) -> str:
        """A section for a model card."""
        lines = [
            *(f"## Whole scans: {self.on}", "", f"**{WARNING}**", "", f"`{self.command}`: {self._heading()}", ""),
            *("| what | value | 95 % interval | n |", "|---|---|---|---|"),
            *(f"| {' | '.join(_row(figure))} |" for figure in self._figures()),
            *("", f"| {' | '.join(_CELL_COLUMNS)} |", "|---|---|---|---|---|"),
            *(f"| {' | '.join(_cell_row(cell))} |" for cell in self.metrics.subgroups),
            *("", "![FROC](froc.png) ![Reliability](reliability.png)"),
            *(line for note in self._remarks() for line in ("", note)),
        ]
        return "\n".join(lines) + "\n"

    def _heading(self) -> str:
        found = self.metrics
        return (
            f"{found.scans} scans ({found.scans_without_nodules} without nodules), {found.nodules} nodules;"
            f" {self.models.model.version}."
        )

    def _figures(self) -> Iterator[Figure]:
        yield from self.metrics.detection
        yield from self.metrics.segmentation
        yield from self.metrics.classification

    def _remarks(self) -> list[str]:
        refused = self.metrics.refused
        told = [f"Not analysed, all nodules missed: {name}: {why}" for name, why in refused.items()]
        return [*self.notes, *told, SECOND_LOOKS, f"Groups of fewer than {LEAST_N} nodules are not told."]


_CELL_COLUMNS = ("group", "which", "n", f"sensitivity at score {SHIPPED_SCORE:g}", "at 1 false positive per scan")


def _row(figure: Figure) -> tuple[str, str, str, str]:
    value = "" if figure.value is None else f"{figure.value:.3f}"
    return figure.name, value, _interval(figure.interval), str(figure.n)


def _cell_row(cell: Cell) -> tuple[str, ...]:
    shares = (_share(one) for one in (cell.at_shipped_score, cell.at_one_false_positive))
    return cell.kind, cell.group, str(cell.at_shipped_score.n), *shares


def _share(share: Share) -> str:
    return f"n < {LEAST_N}" if share.value is None else f"{share.value:.3f} ({_interval(share.interval)})"


def _interval(interval: tuple[float, float] | None) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""


def _table(columns: Sequence[str], rows: Iterator[tuple[str, ...]]) -> Table:
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    return table


def _plain(value: Any) -> Any:
    """What JSON knows: numbers that are none become null."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
