"""`python -m tests.endurance kills` and `... soak`: what takes too long for every day."""

import sys
import tempfile
from pathlib import Path

import click

from tests.endurance.exams import make_chest
from tests.endurance.kills import campaign
from tests.endurance.site import Setup

BOTH = tuple(map(str, Setup))
setups = click.option("--setup", "chosen", type=click.Choice(BOTH), multiple=True, default=BOTH, help="Default: both.")


@click.group()
def main() -> None:
    """Endurance of a node. Exit code 1 when something was lost, doubled or stuck."""


def say(line: str) -> None:
    """One line of progress, at once."""
    click.echo(line)
    sys.stdout.flush()


@main.command()
@click.option("--rounds", default=500, show_default=True, help="Kills in each setup.")
@click.option("--seed", default=1, show_default=True)
@setups
def kills(rounds: int, seed: int, chosen: tuple[str, ...]) -> None:
    """SIGKILL at random moments of reception, registration, analysis, release and delivery."""
    with tempfile.TemporaryDirectory() as folder:
        chest = make_chest(Path(folder))
        reports = [campaign(Setup(each), rounds, seed, chest, say) for each in chosen]
    for report in reports:
        for line in report.lines():
            say(line)
    sys.exit(any(report.wrongs for report in reports))


if __name__ == "__main__":
    main()
