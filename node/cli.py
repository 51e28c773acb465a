"""Commands an operator types; each one calls a single function below."""

import json
import sys
from collections.abc import Callable
from functools import wraps
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click

from node import admin, logs, run
from node.domain.peers import Standing
from node.errors import NodusError
from node.settings import Settings, load

AI_COMMANDS = ("analyse", "phantom", "train")


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


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--debug", is_flag=True, expose_value=False, help="Show stack traces; may stand anywhere.")
@click.version_option(package_name="nodus")
def cli() -> None:
    """Nodus: a DICOM node that reads chest CT with AI and answers in the PACS's own language."""


def main() -> None:
    """Entry point: errors are one sentence, exit code 1 (2 for a wrong command line)."""
    debug = "--debug" in sys.argv
    arguments = [each for each in sys.argv[1:] if each != "--debug"]
    try:
        code = cli.main(arguments, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except NodusError as error:
        if debug:
            raise
        click.echo(f"nodus: {error}", err=True)
        sys.exit(1)


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
        view: admin.View = function(**given)
        click.echo(json.dumps(view.data, default=str, indent=2) if as_json else view.text())
        if not view.well:
            raise click.exceptions.Exit(1)

    return wrapped


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
    settings = load(config, ae_title=aet, destinations=pacs, **given)
    logs.configure(settings.log_level)
    run.up(settings, click.echo)


@cli.command()
@shown
@with_settings
def status(settings: Settings) -> admin.View:
    """What waits, what failed, what is left of the disk."""
    return admin.status(settings)


@cli.command()
@click.argument("study", required=False)
@shown
@with_settings
def studies(settings: Settings, study: str | None) -> admin.View:
    """Studies, newest first; with a Study Instance UID everything about one."""
    return admin.study(settings, study) if study else admin.studies(settings)


@cli.command()
@click.option("--state", default="", help="Only jobs in this state.")
@shown
@with_settings
def jobs(settings: Settings, state: str) -> admin.View:
    """Jobs, newest first."""
    return admin.jobs(settings, state)


@cli.command()
@click.argument("job", type=int)
@shown
@with_settings
def retry(settings: Settings, job: int) -> admin.View:
    """Do a dead job again: its analysis, or its notice that there was none."""
    return admin.retry(settings, job)


@cli.group(cls=ListedByDefault)
def senders() -> None:
    """Who may send, and who asked to."""


@senders.command("list")
@shown
@with_settings
def senders_list(settings: Settings) -> admin.View:
    """Every sender, and every caller that was refused."""
    return admin.senders(settings)


@senders.command("allow")
@click.argument("caller", metavar="AET@NETWORK")
@shown
@with_settings
def senders_allow(settings: Settings, caller: str) -> admin.View:
    """Let a caller in; `*` is any AE title, NETWORK an address or CIDR."""
    return admin.decide(settings, caller, Standing.ALLOWED)


@senders.command("deny")
@click.argument("caller", metavar="AET@NETWORK")
@shown
@with_settings
def senders_deny(settings: Settings, caller: str) -> admin.View:
    """Keep a caller out."""
    return admin.decide(settings, caller, Standing.DENIED)


@cli.group(cls=ListedByDefault)
def destinations() -> None:
    """Where results go."""


@destinations.command("list")
@shown
@with_settings
def destinations_list(settings: Settings) -> admin.View:
    """Every destination and what waits for it."""
    return admin.destinations(settings)


@destinations.command("echo")
@shown
@with_settings
def destinations_echo(settings: Settings) -> admin.View:
    """C-ECHO to every destination."""
    return admin.echo(settings)


@cli.group()
def audit() -> None:
    """The audit trail."""


@audit.command("list")
@click.option("--study", default="", help="Only rows of this Study Instance UID.")
@click.option("--kind", default="", help="Only rows of this kind.")
@click.option("--last", type=int, default=50, show_default=True, help="How many of the newest rows.")
@shown
@with_settings
def audit_list(settings: Settings, study: str, kind: str, last: int) -> admin.View:
    """The newest rows, oldest first."""
    return admin.audit_list(settings, study, kind, last)


@audit.command("verify")
@shown
@with_settings
def audit_verify(settings: Settings) -> admin.View:
    """Check the whole chain against its head and its anchors."""
    return admin.audit_verify(settings)


@audit.command("export")
@click.option("--json", is_flag=True, expose_value=False, help="Accepted as everywhere: every line is JSON anyway.")
@with_settings
def audit_export(settings: Settings) -> None:
    """Every row as a line of JSON."""
    for line in admin.audit_export(settings):
        click.echo(line)
