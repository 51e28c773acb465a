"""`nodus users`."""

import click

from node.admin import users as known
from node.admin.view import View
from node.cli.group import cli
from node.cli.options import ListedByDefault, shown, with_settings
from node.settings import Settings


@cli.group(cls=ListedByDefault)
def users() -> None:
    """Who may administer by DICOM."""


@users.command("list")
@shown
@with_settings
def users_list(settings: Settings) -> View:
    """Every user."""
    return known.listed(settings)


@users.command("set")
@click.argument("name")
@click.option("--no-passcode", is_flag=True, help="By token or certificate only.")
@shown
@with_settings
def users_set(settings: Settings, name: str, no_passcode: bool) -> View:
    """Make a user, or give one a new passcode, which is asked for."""
    secret = None if no_passcode else click.prompt("Passcode", hide_input=True, confirmation_prompt=True)
    return known.put(settings, name, secret)


@users.command("remove")
@click.argument("name")
@shown
@with_settings
def users_remove(settings: Settings, name: str) -> View:
    """Forget a user."""
    return known.remove(settings, name)
