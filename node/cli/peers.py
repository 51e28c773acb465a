"""`nodus senders` and `nodus destinations`."""

import click

from node.admin import peers
from node.admin.view import View
from node.cli.group import cli
from node.cli.options import ListedByDefault, shown, with_settings
from node.domain.peers import Standing
from node.settings import Settings


@cli.group(cls=ListedByDefault)
def senders() -> None:
    """Who may send, and who asked to."""


@senders.command("list")
@shown
@with_settings
def senders_list(settings: Settings) -> View:
    """Every sender, and every caller that was refused."""
    return peers.senders(settings)


@senders.command("allow")
@click.argument("caller", metavar="AET@NETWORK")
@shown
@with_settings
def senders_allow(settings: Settings, caller: str) -> View:
    """Let a caller in; `*` is any AE title, NETWORK an address or CIDR."""
    return peers.decide(settings, caller, Standing.ALLOWED)


@senders.command("deny")
@click.argument("caller", metavar="AET@NETWORK")
@shown
@with_settings
def senders_deny(settings: Settings, caller: str) -> View:
    """Keep a caller out."""
    return peers.decide(settings, caller, Standing.DENIED)


@cli.group(cls=ListedByDefault)
def destinations() -> None:
    """Where results go."""


@destinations.command("list")
@shown
@with_settings
def destinations_list(settings: Settings) -> View:
    """Every destination and what waits for it."""
    return peers.destinations(settings)


@destinations.command("echo")
@shown
@with_settings
def destinations_echo(settings: Settings) -> View:
    """C-ECHO to every destination; one that answers is sent to again."""
    return peers.echo(settings)


@destinations.command("pause")
@click.argument("aet", metavar="AET")
@shown
@with_settings
def destinations_pause(settings: Settings, aet: str) -> View:
    """Send nothing to a destination until it is resumed."""
    return peers.pause(settings, aet)


@destinations.command("resume")
@click.argument("aet", metavar="AET")
@shown
@with_settings
def destinations_resume(settings: Settings, aet: str) -> View:
    """Send to a destination again, and what waits for it at once."""
    return peers.resume(settings, aet)


@destinations.command("forget")
@click.argument("aet", metavar="AET")
@shown
@with_settings
def destinations_forget(settings: Settings, aet: str) -> View:
    """Give up what waits for a destination that the settings name no more."""
    return peers.forget(settings, aet)
