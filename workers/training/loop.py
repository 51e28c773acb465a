"""One training loop for all networks: seeded batches, averaged weights, a checkpoint that survives a kill."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from workers.training import curve
from workers.training.progress import Advance, Report, unwatched


@dataclass(frozen=True)
class Run:
    """How long, how fast, from which seed, where to."""

    out: Path
    seed: int
    steps: int | None
    """Optimiser steps; None: by time."""
    minutes: float | None
    batch: int
    rate: float = 2e-3
    """Highest learning rate."""
    epoch: int = 250
    """Steps between checkpoints."""
    workers: int = 2
    device: str = "cpu"
    warm_up: int = 60
    average: float = 0.998
    """Decay of the running average of the weights, which is what is kept."""
    advance: Advance = unwatched
    """Told after each step."""


class Training:
    """A network, its average, its optimiser, and how far they have come."""

    def __init__(self, network: nn.Module, run: Run, name: str) -> None:
        self.run, self.name = run, name
        self.network = network.to(run.device).to(memory_format=torch.channels_last_3d)
        decay = [p for p in network.parameters() if p.ndim > 1]
        rest = [p for p in network.parameters() if p.ndim <= 1]
        groups = [{"params": decay, "weight_decay": 1e-2}, {"params": rest, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=run.rate)
        self.average = {key: value.detach().clone() for key, value in network.state_dict().items()}
        self.step, self.seconds = 0, 0.0
        self.epochs: list[curve.Epoch] = []
        if self.path.is_file():
            self._restore()
            curve.keep(self.epochs, name, run.out)  # the kill may have come between the two

    @property
    def path(self) -> Path:
        """The checkpoint."""
        return self.run.out / f"{self.name}.checkpoint.pt"

    @property
    def progress(self) -> float:
        """0 at the start, 1 when done."""
        if self.run.steps is not None:
            return self.step / self.run.steps
        return self.seconds / (60 * (self.run.minutes or 1))

    def averaged(self) -> nn.Module:
        """Put the averaged weights into the network, in evaluation mode; `resume` takes them out again."""
        self._own = {key: value.detach().clone() for key, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        return self.network.eval()

    def resume(self) -> None:
        """Go back from the averaged weights to those being trained."""
        self.network.load_state_dict(self._own)
        self.network.train()

    def epoch(self, samples: Dataset[Any], loss: Callable[[nn.Module, Any], dict[str, Tensor]], report: Report) -> None:
        """Train one epoch on `samples`, write a checkpoint, and the curve that is in it."""
        self.network.train()
        sums: dict[str, float] = {}
        started, count = time.monotonic(), 0
        for batch in self._batches(samples):
            losses = self._step(batch, loss)
            count += 1
            sums = {key: sums.get(key, 0.0) + value for key, value in losses.items()}
            self.seconds += time.monotonic() - started
            started = time.monotonic()
            self.run.advance(self.progress, f"{self.name} step {self.step} {_shown(losses)}")
            if self.progress >= 1:
                break
        means, minutes = {key: value / max(count, 1) for key, value in sums.items()}, self.seconds / 60
        self.epochs.append({"step": self.step, "minutes": round(minutes, 2), **means})
        self._save()
        curve.keep(self.epochs, self.name, self.run.out)
        done = f"{100 * min(self.progress, 1):.0f}% {minutes:.1f} min"
        report(f"{self.name} step {self.step} {done} {_shown(means)}")

    def _batches(self, samples: Dataset[Any]) -> Iterator[Any]:
        loader = DataLoader(samples, batch_size=self.run.batch, num_workers=self.run.workers, drop_last=True)
        return iter(loader)

    def _step(self, batch: Any, loss: Callable[[nn.Module, Any], dict[str, Tensor]]) -> dict[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = self.run.rate * self._rate()
        kind = "cuda" if self.run.device.startswith("cuda") else "cpu"
        with torch.autocast(kind, dtype=torch.bfloat16):
            losses = loss(self.network, [part.to(self.run.device) for part in batch])
        total = torch.stack(list(losses.values())).sum()
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.step += 1
        self._follow()
        return {key: float(value.detach()) for key, value in losses.items()}

    def _rate(self) -> float:
        """Warm-up, then a cosine down to one hundredth."""
        warm = min(1.0, (self.step + 1) / self.run.warm_up)
        return warm * (0.01 + 0.99 * 0.5 * (1 + float(torch.cos(torch.tensor(min(self.progress, 1.0) * torch.pi)))))

    def _follow(self) -> None:
        decay = min(self.run.average, (1 + self.step) / (10 + self.step))
        for key, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[key].lerp_(value.detach(), 1 - decay)
            else:
                self.average[key].copy_(value)

    def _save(self) -> None:
        self.run.out.mkdir(parents=True, exist_ok=True)
        state = {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "epochs": self.epochs,
        }
        aside = self.path.with_suffix(".new")
        torch.save(state, aside)
        aside.replace(self.path)

    def _restore(self) -> None:
        state = torch.load(self.path, map_location=self.run.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        self.epochs = state.get("epochs", [])


def _shown(losses: Mapping[str, float]) -> str:
    return " ".join(f"{key} {value:.4f}" for key, value in losses.items())
