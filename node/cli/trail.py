"""`nodus audit`."""

import click

from node.admin import trail
from node.admin.view import View
from node.cli.group import cli
from node.cli.options import shown, with_settings
from node.settings import Settings


@cli.group()
def audit() -> None:
    """The audit trail."""


@audit.command("list")
@click.option("--study", default="", help="Only rows of this Study Instance UID.")
@click.option("--kind", default="", help="Only rows of this kind.")
@click.option("--last", type=int, default=50, show_default=True, help="How many of the newest rows.")
@shown
@with_settings
def audit_list(settings: Settings, study: str, kind: str, last: int) -> View:
    """The newest rows, oldest first."""
    return trail.audit_list(settings, study, kind, last)


@audit.command("verify")
@shown
@with_settings
def audit_verify(settings: Settings) -> View:
    """Check the whole chain against its head and its anchors."""
    return trail.audit_verify(settings)


@audit.command("export")
@click.option("--json", is_flag=True, expose_value=False, help="Accepted as everywhere: every line is JSON anyway.")
@with_settings
def audit_export(settings: Settings) -> None:
    """Every row as a line of JSON."""
    for line in trail.audit_export(settings):
        click.echo(line)


@audit.command("repository")
@shown
@with_settings
def audit_repository(settings: Settings) -> View:
    """How far the audit repository has the trail, and what it answered last."""
    return trail.audit_repository(settings)
