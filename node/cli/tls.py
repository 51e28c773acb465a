"""`nodus tls`."""

from pathlib import Path

import click

from node.admin import tls as certificates
from node.admin.view import View
from node.cli.group import cli
from node.cli.options import shown, with_settings
from node.settings import Settings


@cli.group()
def tls() -> None:
    """Certificates."""


@tls.command("init")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="Name or address of this node.  [localhost]")
@click.option("--peer", "peers", multiple=True, metavar="NAME", help="A certificate for a scanner or PACS, too.")
@shown
def tls_init(folder: Path, hosts: tuple[str, ...], peers: tuple[str, ...]) -> View:
    """Make a private authority and certificates for a test site."""
    return certificates.init(folder, hosts, peers)


@tls.command("show")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path))
@shown
@with_settings
def tls_show(settings: Settings, files: tuple[Path, ...]) -> View:
    """What certificates say, those of the settings by default; exit code 1 where one ends within 30 days."""
    return certificates.show(settings, files)
