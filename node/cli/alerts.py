"""`nodus alerts`."""

import click

from node.admin import alerts as alert_admin
from node.admin.view import View
from node.cli.group import cli
from node.cli.options import ListedByDefault, shown, with_settings
from node.settings import Settings


@cli.group(cls=ListedByDefault)
def alerts() -> None:
    """What needs a person."""


@alerts.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that ended, newest first.")
@shown
@with_settings
def alerts_list(settings: Settings, everything: bool) -> View:
    """Open alerts. Exit code 0 when there is none."""
    return alert_admin.alerts(settings, everything)


@alerts.command("acknowledge")
@click.argument("alert", type=int)
@shown
@with_settings
def alerts_acknowledge(settings: Settings, alert: int) -> View:
    """Somebody takes care of it: it is not counted any more."""
    return alert_admin.acknowledge(settings, alert)
