"""`python -m tests.endurance kills` and `... soak`: what takes too long for every day."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from tests.endurance import kills, soak
from tests.endurance.exams import make_chest
from tests.endurance.site import Setup

BOTH = tuple(map(str, Setup))
setups = click.option("--setup", "chosen", type=click.Choice(BOTH), multiple=True, default=BOTH, help="Default: both.")


@click.group()
def main() -> None:
    """Endurance of a node. Exit code 1 when something was lost, doubled or stuck, or in a full run did not hold."""


def say(line: str) -> None:
    """One line of progress, at once."""
    click.echo(line)
    sys.stdout.flush()


@main.command("kills")
@click.option("--rounds", default=500, show_default=True, help="Kills in each setup.")
@click.option("--seed", default=1, show_default=True)
@setups
def kill(rounds: int, seed: int, chosen: tuple[str, ...]) -> None:
    """SIGKILL at random moments of reception, registration, analysis, release and delivery."""
    with tempfile.TemporaryDirectory() as folder:
        chest = make_chest(Path(folder))
        reports = [kills.campaign(Setup(each), rounds, seed, chest, say) for each in chosen]
    conclude(reports)


@main.command("soak")
@click.option("--studies", default=2000, show_default=True)
@click.option("--readings", default=50, show_default=True, help="Studies with a chest CT that is analysed.")
@click.option("--seed", default=1, show_default=True)
@setups
def endure(studies: int, readings: int, seed: int, chosen: tuple[str, ...]) -> None:
    """Many small studies from eight senders, with a PACS that comes and goes."""
    with tempfile.TemporaryDirectory() as folder:
        chest = make_chest(Path(folder))
        reports = [soak.soak(soak.Report(Setup(each), seed, studies, readings), chest, say) for each in chosen]
    conclude(reports)


def conclude(reports: Sequence[kills.Report | soak.Report]) -> None:
    """Say everything, and fail when something is wrong."""
    for report in reports:
        for line in report.lines():
            say(line)
    sys.exit(any(report.wrongs for report in reports))


if __name__ == "__main__":
    main()
