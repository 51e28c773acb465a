"""`nodus retain`, `nodus purge`, `nodus backup` and `nodus restore`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from node.admin import keeping
from node.admin.view import View
from node.cli.group import cli
from node.cli.options import shown, with_settings
from node.settings import Settings

FOLDER = click.Path(path_type=Path)


class MadeByDefault(click.Group):
    """`nodus backup DIR` makes one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """What is not the name of a command belongs to `make`."""
        named = args and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else ["make", *args])


def _watched(names: list[str]) -> Iterator[str]:
    """A progress bar on a terminal, nothing elsewhere."""
    with click.progressbar(names, file=sys.stderr, hidden=not sys.stderr.isatty(), label="files") as bar:
        yield from bar


@cli.command()
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@shown
@with_settings
def retain(settings: Settings, dry_run: bool) -> View:
    """Remove now what the settings let go; the running node does so each minute."""
    return keeping.retain(settings, dry_run)


@cli.command()
@click.argument("study")
@click.option("--decided", is_flag=True, help="Also with a conflict, a dead job or a refused result: you looked at it.")
@shown
@with_settings
def purge(settings: Settings, study: str, decided: bool) -> View:
    """Remove the files of one study (its Study Instance UID); what is known of it stays."""
    return keeping.purge(settings, study, decided)


@cli.group(cls=MadeByDefault)
def backup() -> None:
    """`nodus backup DIR` backs up the node, while it runs; again into the same DIR copies only what is new."""


@backup.command("make", hidden=True)
@click.argument("folder", type=FOLDER, metavar="DIR")
@shown
@with_settings
def backup_make(settings: Settings, folder: Path) -> View:
    """Back up the database, the audit key and anchors, and every image and result."""
    return keeping.back_up(settings, folder, _watched)


@backup.command("verify")
@click.argument("folder", type=FOLDER, metavar="DIR")
@shown
def backup_verify(folder: Path) -> View:
    """Read a backup again and compare it with its SHA-256 sums."""
    return keeping.verify_backup(folder, _watched)


@cli.command()
@click.argument("folder", type=FOLDER, metavar="DIR")
@shown
@with_settings
def restore(settings: Settings, folder: Path) -> View:
    """Put a backup back into an empty data directory (and an empty database)."""
    return keeping.restore(settings, folder, _watched)
