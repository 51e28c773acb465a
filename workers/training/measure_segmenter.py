"""How well a segmenter outlines held-out nodules."""

import numpy as np
import torch

from workers.evaluation.intervals import bootstrap_mean
from workers.evaluation.overlap import dice
from workers.networks.segmenter import Segmenter
from workers.segment import predict
from workers.training.card import Figure, Figures
from workers.training.compose import Bank
from workers.training.progress import Report
from workers.training.segmenter import patch_of

SEED = 7
LOOKS = 2
"""Different jitters of centre and diameter for each nodule."""


def measure_segmenter(network: Segmenter, bank: Bank, report: Report) -> Figures:
    """Dice and relative volume against the majority of readers, centre and diameter jittered as a detector errs."""
    overlaps, ratios, small = [], [], []
    for number, nodule in enumerate(bank.nodules):
        for look in range(LOOKS):
            patch = patch_of(bank, (nodule, nodule.diameter_mm), True, np.random.default_rng([SEED, number, look]))
            truth = patch.share > 0.5
            mask = predict(network, torch.from_numpy(patch.hu)[None])[0].numpy() > 0.5
            overlaps.append(dice(mask, truth))
            ratios.append(mask.sum() / max(truth.sum(), 1))
            small.append(nodule.diameter_mm < 8)
    n, on = len(overlaps), "held-out LIDC nodules in their own slices, in other lungs beyond; majority of readers"
    scores, few = np.array(overlaps), np.array(small)
    figures = [
        Figure("Dice, mean", float(scores.mean()), bootstrap_mean(scores, SEED), n, on),
        Figure("Dice, median", float(np.median(scores)), None, n, on),
        Figure("share with Dice above 0.7", float((scores > 0.7).mean()), None, n, on),
        Figure(
            "Dice, mean, under 8 mm", float(scores[few].mean()), bootstrap_mean(scores[few], SEED), int(few.sum()), on
        ),
        Figure("Dice, mean, 8 mm and more", float(scores[~few].mean()), None, int((~few).sum()), on),
        Figure("volume relative to truth, median", float(np.median(ratios)), None, n, on),
    ]
    for one in figures:
        report(f"{one.name} {one.value:.3f} (n {one.n})")
    return tuple(figures)
