"""What a command found: a table for a person, JSON for a script, and whether all is well."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

Row = Mapping[str, Any]


@dataclass(frozen=True)
class View:
    """What a command found."""

    data: Any
    """For --json."""
    columns: Sequence[str] = ()
    rows: Sequence[Row] = field(default_factory=list)
    """For the table."""
    note: str = ""
    """A sentence under the table."""
    well: bool = True
    """Exit code 0."""

    def text(self) -> str:
        """As a person reads it."""
        out = StringIO()
        width = shutil.get_terminal_size((160, 40)).columns
        console = Console(file=out, width=width, highlight=False, markup=False, emoji=False)
        if self.columns:
            table = Table(*(name.replace("_", " ") for name in self.columns), box=None, pad_edge=False)
            for row in self.rows:
                table.add_row(*(cell(row.get(name)) for name in self.columns))
            console.print(table)
        if self.note:
            console.print(self.note)
        return _harmless(out.getvalue().rstrip("\n"))


def _harmless(text: str) -> str:
    """Names that a caller gave itself are printed, and must not steer the terminal."""
    return "".join(each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in text)


def cell(value: Any) -> str:
    """One value as a person reads it."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone():%Y-%m-%d %H:%M:%S}"
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    return str(value)
