"""How well a segmenter outlines held-out nodules."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from workers.evaluation.intervals import bootstrap_mean
from workers.evaluation.overlap import dice
from workers.networks.segmenter import Segmenter
from workers.segment import INSIDE, predict
from workers.training.card import Figure, Figures
from workers.training.compose import Bank
from workers.training.progress import Report
from workers.training.segmenter import patch_of

SEED = 7
LOOKS = 2
"""Different jitters of centre and diameter for each nodule."""
SMALL_MM = 8.0
ON = "held-out LIDC nodules in their own slices, in other lungs beyond; majority of readers"


@dataclass(frozen=True)
class Outline:
    """One outline beside the readers'."""

    dice: float
    volume_ratio: float
    diameter_mm: float
    type: str


def measure_segmenter(network: Segmenter, bank: Bank, report: Report) -> Figures:
    """Dice and relative volume against the majority of readers, centre and diameter jittered as a detector errs."""
    figures = figures_of(outlines(network, bank))
    for one in figures:
        report(f"{one.name} {one.value:.3f} (n {one.n})")
    return figures


def outlines(network: Segmenter, bank: Bank) -> list[Outline]:
    """Every nodule of a bank, outlined as often as `LOOKS` says."""
    rows = []
    for number, nodule in enumerate(bank.nodules):
        for look in range(LOOKS):
            patch = patch_of(bank, (nodule, nodule.diameter_mm), True, np.random.default_rng([SEED, number, look]))
            truth = patch.share > 0.5
            mask = predict(network, torch.from_numpy(patch.hu)[None])[0].numpy() > INSIDE
            ratio = float(mask.sum() / max(truth.sum(), 1))
            rows.append(Outline(dice(mask, truth), ratio, nodule.diameter_mm, nodule.type))
    return rows


def figures_of(rows: Sequence[Outline]) -> Figures:
    """Dice of all, by size and by type; volume of all."""
    every, n = np.array([row.dice for row in rows]), len(rows)
    groups = {
        "": rows,
        f", under {SMALL_MM:g} mm": [row for row in rows if row.diameter_mm < SMALL_MM],
        f", {SMALL_MM:g} mm and more": [row for row in rows if row.diameter_mm >= SMALL_MM],
        **{f", {kind}": [row for row in rows if row.type == kind] for kind in sorted({row.type for row in rows})},
    }
    return (
        *(_mean(f"Dice, mean{name}", some) for name, some in groups.items() if some),
        Figure("Dice, median", float(np.median(every)), None, n, ON),
        Figure("share with Dice above 0.7", float((every > 0.7).mean()), None, n, ON),
        Figure("volume relative to truth, median", float(np.median([row.volume_ratio for row in rows])), None, n, ON),
    )


def _mean(name: str, rows: Sequence[Outline]) -> Figure:
    scores = np.array([row.dice for row in rows])
    return Figure(name, float(scores.mean()), bootstrap_mean(scores, SEED), len(scores), ON)
