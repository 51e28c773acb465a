"""`nodus rules`."""

from pathlib import Path

import click

from node.admin import rules as admin
from node.admin.view import View
from node.cli.group import cli
from node.cli.options import ListedByDefault, shown, with_settings
from node.settings import Settings


@cli.group(cls=ListedByDefault)
def rules() -> None:
    """What is done with which study."""


@rules.command("list")
@shown
@with_settings
def rules_list(settings: Settings) -> View:
    """Every rule of the settings, in the order in which they are asked; ends with one sentence where one is wrong."""
    return admin.listing(settings)


@rules.command("test")
@click.argument("place", metavar="FILE|FOLDER", type=click.Path(exists=True, path_type=Path))
@click.option("--sender", default="", metavar="AET@HOST", help="Who would send it.")
@click.option("--called", default="", metavar="AET", help="Which AE title of ours would be called.  [ours]")
@shown
@with_settings
def rules_test(settings: Settings, place: Path, sender: str, called: str) -> View:
    """Which rule fires for each study in a file or folder, and why each of the others does not. Needs no node."""
    return admin.test(settings, place, sender, called)
