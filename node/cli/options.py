"""What commands share: their settings, how what they found is printed, and the groups they stand in."""

import json
from collections.abc import Callable
from functools import wraps
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click

from node.admin.view import View
from node.settings import load

AI_COMMANDS = ("analyse", "evaluate", "models", "phantom", "train")


class Commands(click.Group):
    """The node's commands, joined by those of installed extras."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every name."""
        return sorted({*super().list_commands(ctx), *_extras()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command, or a sentence that says which extra brings it."""
        found = super().get_command(ctx, cmd_name) or _extras().get(cmd_name)
        if found is None and cmd_name in AI_COMMANDS:
            raise click.ClickException(f"`nodus {cmd_name}` needs the AI extra: install nodus[ai].")
        return found


class ListedByDefault(click.Group):
    """A group that lists when no command of it is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Options alone are those of `list`."""
        named = args and (not args[0].startswith("-") or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else ["list", *args])


def _extras() -> dict[str, click.Command]:
    commands: dict[str, click.Command] = {}
    for point in entry_points(group="nodus.commands"):
        try:
            group: click.Group = point.load()
        except ImportError:
            continue  # the extra is not installed: get_command says so
        commands.update(group.commands)
    return commands


def with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--data` and `--config`, and the settings as its first argument."""

    @click.option("--data", type=click.Path(path_type=Path), envvar="NODUS_DATA", help="Data directory.")
    @click.option(
        "--config", type=click.Path(path_type=Path), envvar="NODUS_CONFIG", help="Settings file (nodus.toml)."
    )
    @wraps(command)
    def wrapped(data: Path | None, config: Path | None, **given: Any) -> Any:
        return command(load(config, data=data), **given)

    return wrapped


def shown(function: Callable[..., Any]) -> Callable[..., Any]:
    """Print what a command returns, as a table or with --json; exit code 1 when it says that not all is well."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @wraps(function)
    def wrapped(as_json: bool, **given: Any) -> None:
        view: View = function(**given)
        click.echo(json.dumps(view.data, default=str, indent=2) if as_json else view.text())
        if not view.well:
            raise click.exceptions.Exit(1)

    return wrapped
