"""Commands an operator types; each one calls a single function below."""

import sys

import click

from node.cli import alerts, conflicts, daily, jobs, keeping, options, peers, results, rules, tls, trail, users
from node.cli.group import cli
from node.errors import NodusError

__all__ = [
    "alerts",
    "cli",
    "conflicts",
    "daily",
    "jobs",
    "keeping",
    "main",
    "options",
    "peers",
    "results",
    "rules",
    "tls",
    "trail",
    "users",
]


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
