"""`nodus conflicts`."""

import click

from node.admin import conflicts as admin
from node.admin.view import View
from node.cli.group import cli
from node.cli.options import ListedByDefault, shown, with_settings
from node.domain.study import CURRENT, NEWEST
from node.settings import Settings


@cli.group(cls=ListedByDefault)
def conflicts() -> None:
    """Images that came in several versions, and which of them count."""


@conflicts.command("list")
@shown
@with_settings
def conflicts_list(settings: Settings) -> View:
    """Every image that waits for a decision, with its versions."""
    return admin.conflicts(settings)


@conflicts.command("settle")
@click.argument("study")
@click.option("--keep", required=True, metavar=f"{CURRENT}|{NEWEST}|DIGEST", help="Which versions count.")
@shown
@with_settings
def conflicts_settle(settings: Settings, study: str, keep: str) -> View:
    """Decide: the versions that count now, the newest, or the one version that a digest begins."""
    return admin.settle(settings, study, keep)
