"""analyse, evaluate, models, phantom, train: joins the `nodus` command by the entry-point group `nodus.commands`."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.domain.outcome import Outcome
from node.errors import SettingsError
from node.settings import Settings, load

if TYPE_CHECKING:
    from workers.own_models import Listed

FOLDER = click.Path(file_okay=False, path_type=Path)
MODELS = ("detector", "segmenter", "classifier", "composition")
EARLIER = "Folder with an earlier CT of the same patient, to compare the nodules with."
QUIET_THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
"""Threads that wait asleep: the network and the makers of its samples share few cores. Read once, by torch's import."""


@click.group()
def commands() -> None:
    """Commands of the analysis, for `node.cli`."""


def with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--data` and `--config` like those of the node, and the settings as its first argument."""

    @click.option("--data", type=click.Path(path_type=Path), envvar="NODUS_DATA", help="Data directory.")
    @click.option("--config", type=click.Path(path_type=Path), envvar="NODUS_CONFIG", help="Settings file.")
    @wraps(command)
    def wrapped(data: Path | None, config: Path | None, **given: Any) -> Any:
        return command(load(config, data=data), **given)

    return wrapped


@commands.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=FOLDER, required=True, help="Folder for SR, SEG, findings.json and pictures.")
@click.option("--earlier", type=click.Path(exists=True, file_okay=False, path_type=Path), help=EARLIER)
@click.option("--json", "as_json", is_flag=True, help="Print what findings.json holds.")
@with_settings
def analyse(settings: Settings, folder: Path, out: Path, earlier: Path | None, as_json: bool) -> None:
    """Read the best CT series below FOLDER, without the network, with the detector that `nodus models use` chose.

    Exit code 1 when nothing could be read, or a result broke a rule.
    """
    from node import logs
    from workers.models import chosen
    from workers.offline import Order
    from workers.offline import analyse as run
    from workers.results import Style

    logs.configure("WARNING")
    style = Style(settings.language, settings.report_outlines)
    order = Order(chosen(settings.data), settings.guidelines.rules(), style, earlier)
    analysis = run(folder, out, _stage, order)
    click.echo((out / "findings.json").read_text() if as_json else analysis.text())
    if analysis.conclusion.outcome is Outcome.NOT_ANALYSED or analysis.broken:
        raise click.exceptions.Exit(1)


def _stage(name: str, percent: int) -> None:
    """One line on a terminal, overwritten; a line a stage elsewhere."""
    terminal = sys.stderr.isatty()
    click.echo(f"{percent:3} % {name:20}", err=True, nl=not terminal)
    if terminal:
        click.echo("\r", err=True, nl=False)


@commands.command()
@click.option("--seed", type=int, required=True, help="Decides everything: equal seeds give equal files.")
@click.option("--out", type=FOLDER, help="Folder for dicom/, truth.csv and truth.json.")
@click.option("--gallery", type=click.Path(dir_okay=False, path_type=Path), help="Instead: a picture of many, PNG.")
@click.option("--varied", "vary", is_flag=True, help="Scanner, dose, slices and patient from the seed, too.")
@click.option("--tilted", is_flag=True, help="With --varied: gantries may be tilted, which Nodus refuses to read.")
@click.option("--nodules", type=click.IntRange(0, 60), help="Default: 6.")
@click.option("--decoys", type=click.IntRange(0, 60), help="Scars and other things that are no nodules; default: 6.")
@click.option("--matrix", type=click.IntRange(64, 1024), help="Rows and columns; default: 384.")
@click.option("--field", "field_mm", type=click.FloatRange(200, 700), help="Of view, mm; default: follows the lungs.")
@click.option("--step", "step_mm", type=click.FloatRange(0.4, 10), help="mm; default: 1.25.")
@click.option("--thickness", "thickness_mm", type=click.FloatRange(0.4, 10), help="Of a slice, mm; default: the step.")
@click.option("--tilt", "tilt_deg", type=click.FloatRange(-30, 30), help="Of the gantry, degrees; default: 0.")
@click.option("--noise", "noise_hu", type=click.FloatRange(0, 100), help="SD in HU; default: 18.")
@click.option("--sharpness", type=click.FloatRange(0, 1), help="0 smooth to 1 lung kernel; default: 0.4.")
@click.option("--contrast", "contrast_hu", type=click.FloatRange(20, 500), help="Of blood, HU; default: by the seed.")
def phantom(out: Path | None, gallery: Path | None, vary: bool, tilted: bool, **options: Any) -> None:
    """Write a synthetic chest CT with known nodules as DICOM, and its truth. Options win over --varied."""
    from workers.phantom import Spec, chest, varied
    from workers.phantom.series import write_series

    given = {name: value for name, value in options.items() if value is not None}
    if "step_mm" in given:
        given.setdefault("thickness_mm", given["step_mm"])
    if (out is None) == (gallery is None):
        raise SettingsError("Give either --out, a folder for one phantom, or --gallery, a file for a picture of many.")
    if gallery is not None:
        _show_many(gallery, {"tilted": tilted, **given})
        return
    assert out is not None
    made = chest(varied(tilted=tilted, **given) if vary else Spec(**given))
    paths = write_series(made, out)
    click.echo(f"{len(paths)} slices with {len(made.nodules)} nodules in {out / 'dicom'}; truth in {out / 'truth.csv'}")


def _show_many(file: Path, given: dict[str, Any]) -> None:
    """A picture of the phantoms of the seeds from a first one on."""
    from workers.phantom import chest, varied
    from workers.phantom.gallery import PHANTOMS, Gallery

    gallery, first = Gallery(), given.pop("seed")
    for seed in range(first, first + PHANTOMS):
        gallery.add(chest(varied(seed, **{"nodules": 6, "matrix": 384, **given})))
        _stage(f"phantom {seed}", 100 * (seed - first + 1) // PHANTOMS)
    gallery.picture().save(file, format="PNG")
    click.echo(f"{PHANTOMS} phantoms and their nodules in {file}")


@commands.command()
@click.argument("model", type=click.Choice(MODELS))
@click.option("--real", type=FOLDER, help="Folder of real data; phantoms alone without it.")
@click.option("--steps", type=click.IntRange(1), help="Optimiser steps.")
@click.option("--minutes", type=click.FloatRange(0.1), help="Training time instead of steps.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--out", type=FOLDER, default=Path("runs"), show_default=True, help="Checkpoints, weights and card.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
@click.option("--install", is_flag=True, help="Put weights and card where the analysis loads them.")
@click.option("--measure", is_flag=True, help="Train nothing: measure the installed weights, and renew their card.")
@click.option("--folds", is_flag=True, help="Train five for measuring alone, each on patients it never saw.")
def train(folds: bool, **order: Any) -> None:
    """Make one model's weights and card; continues where an interrupted run stopped."""
    for name, value in QUIET_THREADS.items():
        os.environ.setdefault(name, value)
    from workers.training.folds import make_folds
    from workers.training.make import Order, make

    (make_folds if folds else make)(Order(**order), click.echo)


@commands.command()
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--truth", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Nodules of FOLDER, csv.")
@click.option("--phantoms", type=click.IntRange(1), help="How many phantoms, from --seed on.")
@click.option("--luna16", type=FOLDER, help="Folder of LUNA16: subset*/ and both annotations.")
@click.option("--smallest", type=click.FloatRange(0), default=0.0, help="Nodules below, in mm, count for nothing.")
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


@commands.group()
def models() -> None:
    """Which networks are installed, and which one detects. Bring your own: deploy/MODELS.md."""


def _show(listed: "list[Listed]", as_json: bool) -> None:
    """As a table or as JSON; exit code 1 where one of them has a problem."""
    if as_json:
        click.echo(json.dumps([asdict(each) for each in listed], indent=2))
    for each in [] if as_json else listed:
        named = f"{each.name:20} {each.task:10} {each.kind:6} {each.version:12} {each.sha256}"
        state = "in use" if each.in_use else "shadow" if each.in_shadow else ""
        click.echo(f"{named} {state:6} {each.problem}".rstrip())
    if any(each.problem for each in listed):
        raise click.exceptions.Exit(1)


AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@models.command("list")
@AS_JSON
@with_settings
def models_list(settings: Settings, as_json: bool) -> None:
    """Name, task, kind, version, SHA-256 and use of every model."""
    from workers.own_models import listing

    _show(listing(settings), as_json)


@models.command("add")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="PATH")
@click.option("--name", required=True, help="How results and commands call it.")
@AS_JSON
@with_settings
def models_add(settings: Settings, folder: Path, name: str, as_json: bool) -> None:
    """Copy a MONAI bundle, or a folder with an ONNX file and model.toml, and pin its SHA-256 sums."""
    from workers.own_models import add

    _show([add(settings, folder, name)], as_json)


@models.command("verify")
@AS_JSON
@with_settings
def models_verify(settings: Settings, as_json: bool) -> None:
    """Compare every file with its pinned SHA-256."""
    from workers.own_models import verified

    _show(list(verified(settings)), as_json)


@models.command("use")
@click.argument("name")
@click.option("--shadow/--no-shadow", default=None, help="Beside the one in use, for comparison alone; or no longer.")
@AS_JSON
@with_settings
def models_use(settings: Settings, name: str, shadow: bool | None, as_json: bool) -> None:
    """Let NAME detect from the next study on; `shipped` is ours. With --shadow nothing that it reads is ever sent."""
    from workers.own_models import try_beside, try_no_longer, use

    does = {None: use, True: try_beside, False: try_no_longer}[shadow]
    _show([does(settings, name)], as_json)


@models.command("remove")
@click.argument("name")
@AS_JSON
@with_settings
def models_remove(settings: Settings, name: str, as_json: bool) -> None:
    """Delete a model that is neither in use nor in shadow."""
    from workers.own_models import remove_unused

    _show([remove_unused(settings, name)], as_json)


@models.command("compare")
@click.argument("study", required=False, default="", metavar="[STUDY]")
@AS_JSON
@with_settings
def models_compare(settings: Settings, study: str, as_json: bool) -> None:
    """Readings beside those in shadow: nodules of each, at the same place, and of one alone. With a Study Instance UID
    also which.
    """
    from workers.comparing import text
    from workers.own_models import compared

    found = compared(settings, study)
    click.echo(json.dumps(found, indent=2) if as_json else text(found, each_finding=bool(study)))
