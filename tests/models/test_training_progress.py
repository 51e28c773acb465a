"""How far a training is can be seen: lines, a bar on a terminal, and a curve that goes on after a kill."""

import csv
import os
import pty
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from tests.peers import require_library
from workers.training.loop import Run, Training
from workers.training.progress import progress

SAMPLES = TensorDataset(torch.randn(20, 1, 1, 1, 1, generator=torch.Generator().manual_seed(0)))
PNG = b"\x89PNG\r\n\x1a\n"


class Line(nn.Module):
    """The smallest network."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


def squares(network: nn.Module, batch: list[Tensor]) -> dict[str, Tensor]:
    """Two losses."""
    square = ((network(batch[0]) - 2 * batch[0]) ** 2).mean()
    return {"square": square, "half": square / 2}


def begun(out: Path) -> Training:
    """A training of 15 steps, or what a killed one left of it."""
    out.mkdir(exist_ok=True)
    return Training(Line(), Run(out, 1, 15, None, batch=4, epoch=5, workers=0, warm_up=2), "line")


def epoch(training: Training) -> None:
    training.epoch(SAMPLES, squares, lambda line: None)


def curve(out: Path) -> list[tuple[str, str, str]]:
    """Step and losses of every epoch."""
    with (out / "loss.csv").open() as file:
        return [(row["step"], row["square"], row["half"]) for row in csv.DictReader(file)]


def test_each_epoch_has_a_line_in_the_curve_and_a_picture_of_it(tmp_path: Path) -> None:
    require_library("matplotlib", "evaluation")
    training, pictures = begun(tmp_path), set()
    for number in range(1, 4):
        epoch(training)
        assert [row[0] for row in curve(tmp_path)] == [str(5 * n) for n in range(1, number + 1)]
        pictures.add((tmp_path / "loss.png").read_bytes())
    assert len(pictures) == 3
    assert all(each.startswith(PNG) for each in pictures)
    losses = [float(row[1]) for row in curve(tmp_path)]
    assert losses[-1] < losses[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["line.checkpoint.pt", "loss.csv", "loss.png"]


def test_the_curve_goes_on_after_a_kill_as_if_there_had_been_none(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    training = begun(whole)
    for _ in range(3):
        epoch(training)
        epoch(begun(killed))
    assert curve(killed) == curve(whole)


def test_a_kill_between_checkpoint_and_curve_costs_no_epoch_of_it(tmp_path: Path) -> None:
    epoch(begun(tmp_path))
    before = curve(tmp_path)
    (tmp_path / "loss.csv").write_text("step,square,half\n")
    begun(tmp_path)
    assert curve(tmp_path) == before


def test_a_checkpoint_of_an_older_version_goes_on_with_a_curve_of_its_own(tmp_path: Path) -> None:
    training = begun(tmp_path)
    epoch(training)
    state = torch.load(training.path, weights_only=True)
    del state["epochs"]
    torch.save(state, training.path)
    epoch(begun(tmp_path))
    assert [row[0] for row in curve(tmp_path)] == ["10"]


def test_without_matplotlib_there_is_the_table_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    epoch(begun(tmp_path))
    assert len(curve(tmp_path)) == 1
    assert not (tmp_path / "loss.png").exists()


def test_a_terminal_shows_how_far_it_is_and_lines_go_where_they_went(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as seen, os.fdopen(theirs, "w") as terminal:
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress(lines.append) as (report, advance):
            report("an epoch")
            advance(0.42, "detector step 42")
            advance(1.7, "detector step 170")
        os.set_blocking(seen.fileno(), False)
        shown = (seen.read(1 << 16) or b"").decode()
    assert "100%" in shown and "detector step 170" in shown
    assert lines == ["an epoch"]


def test_elsewhere_there_are_lines_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(print) as (report, advance):
        report("an epoch")
        advance(0.42, "detector step 42")
    assert capsys.readouterr() == ("an epoch\n", "")


def test_every_step_is_told(tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    run = Run(tmp_path, 1, 10, None, batch=4, epoch=5, workers=0, advance=lambda *of: told.append(of))
    epoch(Training(Line(), run, "line"))
    assert [share for share, _ in told] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert told[-1][1].startswith("line step 5 square ")
