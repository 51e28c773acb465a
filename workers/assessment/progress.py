"""How far a long measurement is: a bar on a terminal, a line a scan elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Told = Callable[[str], None]
"""Called with what was finished."""


@contextmanager
def progress(total: int) -> Iterator[Told]:
    """Tell on standard error how many of `total` scans are done."""
    if sys.stderr.isatty():
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("", total=total)
            yield lambda what: bar.update(task, advance=1, description=what)
        return
    done = 0

    def tell(what: str) -> None:
        nonlocal done
        done += 1
        click.echo(f"{done}/{total} {what}", err=True)

    yield tell
