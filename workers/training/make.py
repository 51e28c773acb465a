"""One command to one model: data, training, measurement on held-out patients, weights, card."""

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from node.errors import SettingsError
from workers.networks import weights
from workers.networks.classifier import Classifier
from workers.networks.nodenet import NodeNet
from workers.networks.segmenter import Segmenter
from workers.phantom.seeds import TRAINING_SEEDS, VALIDATION_SEEDS
from workers.training.backgrounds import phantom_background, real_background
from workers.training.card import Card, Figures, with_figures, write_card
from workers.training.classifier import train_classifier
from workers.training.compose import Bank
from workers.training.composition import fit_composition, kinds, seen_by_the_chain
from workers.training.detector import train_detector
from workers.training.loop import Run
from workers.training.measure_classifier import measure_classifier
from workers.training.measure_composition import measure_composition
from workers.training.measure_detector import measure_detector
from workers.training.measure_segmenter import measure_segmenter
from workers.training.progress import Advance, Report, progress
from workers.training.real import LIDC_LICENCE, REAL_LUNGS, read_nodules, sha256_of_files
from workers.training.segmenter import train_segmenter

VERSION = "0.2.0"
"""Of the weights that are made. Raise it before retraining what was shipped: results name weights by it. Weights of one
version are told apart by their SHA-256, which is part of every result's identity, but no reader looks there."""
BATCH = {"detector": 4, "segmenter": 12, "classifier": 24}
RATE = {"detector": 2e-3, "segmenter": 2e-3, "classifier": 1e-3}
"""Highest learning rates. The classifier begins with weights that know something already."""
CARDS = Path(weights.__file__).parent / "cards"
THREADS = 2


@dataclass(frozen=True)
class Order:
    """What the operator asked for."""

    model: str
    real: Path | None
    steps: int | None
    minutes: float | None
    seed: int
    out: Path
    device: str
    install: bool
    measure: bool = False
    """Only measure the installed weights, and write their card anew."""

    @property
    def command(self) -> str:
        """The command that makes the same again."""
        length = f" --steps {self.steps}" if self.steps else f" --minutes {self.minutes:g}" if self.minutes else ""
        real = " --real DATA" if self.real else ""
        return f"nodus train {self.model}{real}{length} --seed {self.seed}"


@dataclass(frozen=True)
class Data:
    """What is trained on, what is measured on, and where it came from."""

    training: Bank
    validation: Bank
    manifest: tuple[tuple[str, str, str], ...]
    """Source, SHA-256, licence."""


@dataclass(frozen=True)
class Made:
    """A network, what it was made of and how well it does."""

    network: nn.Module
    figures: Figures
    manifest: tuple[tuple[str, str, str], ...]
    minutes: float


def make(order: Order, report: Report) -> None:
    """Train, measure, write `out`/NAME.safetensors and `out`/NAME.md; with `install` also where they are loaded from.

    Meanwhile `out`/loss.csv and `out`/loss.png show the loss of each epoch.

    Raises SettingsError where neither steps nor minutes, or both, are given, or real data is not there.
    """
    torch.set_num_threads(min(THREADS, os.cpu_count() or 1))
    order.out.mkdir(parents=True, exist_ok=True)
    if order.measure:
        _measure_again(order, report)
        return
    made = _fitted(order, report) if order.model == "composition" else _trained(order, report)
    path = order.out / f"{order.model}-{VERSION}.safetensors"
    digest = weights.save(made.network, path)
    card = Card(order.model, VERSION, digest, order.command, commit(), made.minutes, made.manifest, made.figures)
    write_card(card, order.out / f"{order.model}.md")
    report(f"wrote {path} ({digest[:12]})")
    if order.install:
        _install(order.model, path)


def _measure_again(order: Order, report: Report) -> None:
    """The figures of the installed weights, written into their card."""
    if order.real is None or order.model == "composition":
        raise SettingsError("Give --real to measure again; the composition is measured whenever it is fitted.")
    bank = gather(order.real, order.out / "cache", report).validation
    network = weights.load(order.model).to(memory_format=torch.channels_last_3d)
    figures = _measured(network, order.out, bank, report)
    path = CARDS / f"{order.model}.md"
    by = f"`nodus train {order.model} --real DATA --measure` at commit `{commit()}`"
    path.write_text(with_figures(path.read_text(), figures, by))
    report(f"wrote {path}")


def _trained(order: Order, report: Report) -> Made:
    """A network by steps of an optimiser."""
    check_length(order)
    with progress(report) as (say, advance):
        run = run_of(order, advance)
        data = gather(order.real, order.out / "cache", say)
        network = learned(order, run, data.training, say)
        figures = _measured(network, order.out, data.validation, say)
    state = torch.load(run.out / f"{order.model}.checkpoint.pt", weights_only=True)
    return Made(network, figures, data.manifest, state["seconds"] / 60)


def check_length(order: Order) -> None:
    """Raises SettingsError where neither steps nor minutes are given, or both."""
    if (order.steps is None) == (order.minutes is None):
        raise SettingsError("Give either --steps or --minutes.")


def _fitted(order: Order, report: Report) -> Made:
    """The Composition: there is nothing to draw and no step to count."""
    if order.real is None:
        raise SettingsError("The composition is learned from real nodules alone: give --real.")
    if order.steps is not None or order.minutes is not None:
        raise SettingsError("The composition is fitted to its optimum: it takes neither --steps nor --minutes.")
    begun = time.monotonic()
    training, validation = read_nodules(order.real)
    nodules = [*training, *validation]
    seen = seen_by_the_chain(nodules, order.seed, report)
    figures = measure_composition(nodules, seen, report)
    network = fit_composition(seen, kinds(nodules))
    return Made(network, figures, (_nodules_manifest(order.real),), (time.monotonic() - begun) / 60)


def run_of(order: Order, advance: Advance) -> Run:
    """How an order is to be run."""
    device = "cuda" if order.device == "auto" and torch.cuda.is_available() else order.device
    return Run(
        out=order.out,
        seed=order.seed,
        steps=order.steps,
        minutes=order.minutes,
        batch=BATCH[order.model],
        rate=RATE[order.model],
        workers=min(THREADS, os.cpu_count() or 1),
        device="cpu" if device == "auto" else device,
        advance=advance,
    )


def gather(real: Path | None, cache: Path, report: Report, fold: int | None = None) -> Data:
    """Phantoms and, where there is a folder of them, real nodules and lungs, split by patient: see `read_nodules`."""
    phantoms, kept = (
        [phantom_background(seed, cache) for seed in seeds] for seeds in (TRAINING_SEEDS, VALIDATION_SEEDS)
    )
    manifest = [(f"phantoms of seeds {TRAINING_SEEDS[0]}-{TRAINING_SEEDS[-1]}", "from their seeds", "own")]
    if real is None:
        return Data(Bank([], phantoms, []), Bank([], kept, []), tuple(manifest))
    training, validation = read_nodules(real, fold)
    manifest.append(_nodules_manifest(real))
    lungs = {}
    for one in REAL_LUNGS:
        lungs[one] = real_background(one, real, cache)
        digest = sha256_of_files(path for path in (real / one.folder).iterdir() if path.is_file())
        manifest.append((f"{one.folder}, {one.side} lung, {one.purpose}", digest, one.licence))
    report(f"{len(training)} real nodules for training, {len(validation)} of other patients for validation")
    split = [[lungs[one] for one in REAL_LUNGS if one.purpose == name] for name in ("training", "validation")]
    return Data(Bank(training, phantoms, split[0]), Bank(validation, kept, split[1]), tuple(manifest))


def _nodules_manifest(real: Path) -> tuple[str, str, str]:
    return "nodules/lidc-nodules-dev.*", sha256_of_files((real / "nodules").glob("lidc*")), LIDC_LICENCE


def learned(order: Order, run: Run, bank: Bank, report: Report) -> nn.Module:
    """The network of an order, trained."""
    if order.model == "detector":
        return train_detector(bank, run, report)
    if order.model == "segmenter":
        return train_segmenter(bank, run, report)
    return train_classifier(bank, _detector(order.out), run, report)


def _measured(network: nn.Module, out: Path, bank: Bank, report: Report) -> Figures:
    """Of a network in memory on held-out data; a classifier looks at what the detector of `out` found."""
    if isinstance(network, NodeNet):
        return measure_detector(network, bank, report)
    if isinstance(network, Segmenter):
        return measure_segmenter(network, bank, report)
    assert isinstance(network, Classifier)
    return measure_classifier(_detector(out), network, bank, report)


def _detector(out: Path) -> NodeNet:
    """The detector whose errors the classifier shall correct: from this run's folder, else the installed one."""
    path = out / f"detector-{VERSION}.safetensors"
    network = weights.read("detector", path) if path.is_file() else weights.load("detector")
    assert isinstance(network, NodeNet)
    return network.to(memory_format=torch.channels_last_3d)


def _install(model: str, path: Path) -> None:
    weights.FOLDER.mkdir(exist_ok=True)
    CARDS.mkdir(exist_ok=True)
    shutil.copyfile(path, weights.FOLDER / path.name)  # readable by whoever runs the worker, unlike the original
    shutil.copy(path.with_name(f"{model}.md"), CARDS / f"{model}.md")
    weights.record(model, VERSION, weights.FOLDER / path.name)


def commit() -> str:
    """The commit that this runs from, or "unknown"."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
