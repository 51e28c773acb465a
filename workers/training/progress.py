"""How far a training is: a bar under its lines on a terminal, lines alone elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Report = Callable[[str], None]
"""Takes one line about the progress."""
Advance = Callable[[float, str], None]
"""Takes the share that is done, 0 to 1, and what was done last."""


def unwatched(share: float, what: str) -> None:
    """Nobody sees how far it is."""


@contextmanager
def progress(report: Report) -> Iterator[tuple[Report, Advance]]:
    """Who takes lines, and who is told how far it is, until the end of the block."""
    if not sys.stderr.isatty():
        yield report, unwatched
        return
    console = Console(stderr=True)
    columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
               TextColumn("{task.description}"))  # fmt: skip
    with Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task("", total=1.0)

        def advance(share: float, what: str) -> None:
            bar.update(task, completed=min(share, 1.0), description=what)

        def above(line: str) -> None:
            console.print(line, markup=False, highlight=False)

        yield above if sys.stdout.isatty() else report, advance
