"""analyse, phantom, train, evaluate: joins the `nodus` command by the entry-point group `nodus.commands`."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from node.domain.outcome import Outcome

FOLDER = click.Path(file_okay=False, path_type=Path)
MODELS = ("detector", "segmenter", "classifier")
QUIET_THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
"""Threads that wait asleep: the network and the makers of its samples share few cores. Read once, by torch's import."""


@click.group()
def commands() -> None:
    """Commands of the analysis, for `node.cli`."""


@commands.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=FOLDER, required=True, help="Folder for SR, SEG, findings.json and pictures.")
@click.option("--json", "as_json", is_flag=True, help="Print what findings.json holds.")
def analyse(folder: Path, out: Path, as_json: bool) -> None:
    """Read the best CT series below FOLDER, without the network. Exit code 1 when nothing could be read."""
    from node import logs
    from workers.offline import analyse as run

    logs.configure("WARNING")
    analysis = run(folder, out, _stage)
    click.echo((out / "findings.json").read_text() if as_json else analysis.text())
    if analysis.conclusion.outcome is Outcome.NOT_ANALYSED:
        raise click.exceptions.Exit(1)


def _stage(name: str, percent: int) -> None:
    """One line on a terminal, overwritten; a line a stage elsewhere."""
    terminal = sys.stderr.isatty()
    click.echo(f"{percent:3} % {name:20}", err=True, nl=not terminal)
    if terminal:
        click.echo("\r", err=True, nl=False)


@commands.command()
@click.option("--seed", type=int, required=True, help="Decides everything: equal seeds give equal files.")
@click.option("--out", type=FOLDER, required=True, help="Folder for dicom/, truth.csv and truth.json.")
@click.option("--nodules", type=click.IntRange(0, 60), default=6, show_default=True)
@click.option("--matrix", type=click.IntRange(64, 1024), default=384, show_default=True, help="Rows and columns.")
@click.option("--step", "step_mm", type=click.FloatRange(0.4, 10), default=1.25, show_default=True, help="mm.")
@click.option("--thickness", "thickness_mm", type=click.FloatRange(0.4, 10), help="Of a slice, mm; default: the step.")
@click.option("--noise", "noise_hu", type=click.FloatRange(0, 100), default=18.0, show_default=True, help="SD in HU.")
@click.option("--sharpness", type=click.FloatRange(0, 1), default=0.4, help="0 smooth to 1 lung kernel.")
def phantom(out: Path, thickness_mm: float | None, **spec: Any) -> None:
    """Write a synthetic chest CT with known nodules as DICOM, and its truth."""
    from workers.phantom import Spec, chest
    from workers.phantom.series import write_series

    made = chest(Spec(thickness_mm=thickness_mm or spec["step_mm"], **spec))
    paths = write_series(made, out)
    click.echo(f"{len(paths)} slices with {len(made.nodules)} nodules in {out / 'dicom'}; truth in {out / 'truth.csv'}")


@commands.command()
@click.argument("model", type=click.Choice(MODELS))
@click.option("--real", type=FOLDER, help="Folder of real data; phantoms alone without it.")
@click.option("--steps", type=click.IntRange(1), help="Optimiser steps.")
@click.option("--minutes", type=click.FloatRange(0.1), help="Training time instead of steps.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--out", type=FOLDER, default=Path("runs"), show_default=True, help="Checkpoints, weights and card.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
@click.option("--install", is_flag=True, help="Put weights and card where the analysis loads them.")
def train(**order: Any) -> None:
    """Make one model's weights and card; continues where an interrupted run stopped."""
    for name, value in QUIET_THREADS.items():
        os.environ.setdefault(name, value)
    from workers.training.make import Order, make

    make(Order(**order), click.echo)


@commands.command()
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--truth", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Nodules of FOLDER, csv.")
@click.option("--phantoms", type=click.IntRange(1), help="How many phantoms, from --seed on.")
@click.option("--luna16", type=FOLDER, help="Folder of LUNA16: subset*/ and both annotations.")
@click.option("--seed", type=int, default=3000, show_default=True, help="Of phantoms and of intervals.")
@click.option("--out", type=FOLDER, default=Path("evaluation"), show_default=True, help="Metrics, plots, card section.")
@click.option("--json", "as_json", is_flag=True, help="Print what metrics.json holds.")
def evaluate(as_json: bool, **order: Any) -> None:
    """Measure the models on whole scans whose nodules are known: FOLDER with --truth, --phantoms or --luna16."""
    from node import logs
    from workers.assessment.run import Order
    from workers.assessment.run import evaluate as run

    logs.configure("WARNING")
    report = run(Order(**order))
    click.echo(report.json() if as_json else report.text())
