"""`nodus up`, and what an operator asks of it each day."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from node import logs, run
from node.admin import state
from node.admin.view import View
from node.cli.group import cli
from node.cli.options import shown, with_settings
from node.flow.routing import book_of
from node.settings import Settings, load


def _destination(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> list[dict[str, Any]] | None:
    """Read AET@HOST:PORT."""
    destinations = []
    for value in values:
        ae_title, _at, place = value.partition("@")
        host, _colon, port = place.rpartition(":")
        if not (ae_title and host and port.isdigit()):
            raise click.BadParameter(f"{value!r} is not AET@HOST:PORT.")
        destinations.append({"ae_title": ae_title, "host": host.strip("[]"), "port": int(port)})
    return destinations or None


@cli.command()
@click.option("--data", type=click.Path(path_type=Path), help="Data directory.  [nodus-data]")
@click.option("--host", help="Address to listen on.  [127.0.0.1]")
@click.option("--port", type=int, help="DICOM port; 0 picks a free one.  [11112]")
@click.option("--aet", help="Our AE title.  [NODUS]")
@click.option("--web-port", type=int, help="Web port; 0 picks a free one.  [8080]")
@click.option("--pacs", multiple=True, callback=_destination, metavar="AET@HOST:PORT", help="A PACS that gets results.")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (nodus.toml).")
def up(config: Path | None, aet: str | None, pacs: list[dict[str, Any]] | None, **given: Any) -> None:
    """Run the whole node. Prints READY and its ports when it serves; SIGTERM ends it."""
    read = partial(load, config, ae_title=aet, destinations=pacs, **given)
    settings = read()
    logs.configure(settings.log_level)
    book_of(settings)  # who wrote a rule that is wrong is told before anything is opened
    run.up(settings, click.echo, read)


@cli.command()
@shown
@with_settings
def status(settings: Settings) -> View:
    """What waits, what failed, what is left of the disk."""
    return state.status(settings)


@cli.command()
@click.argument("study", required=False)
@shown
@with_settings
def studies(settings: Settings, study: str | None) -> View:
    """Studies, newest first; with a Study Instance UID everything about one."""
    return state.study(settings, study) if study else state.studies(settings)
