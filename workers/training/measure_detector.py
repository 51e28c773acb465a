"""What a detector finds among held-out nodules, before any second look."""

from collections.abc import Sequence

import numpy as np

from workers.evaluation.froc import LUNA16_RATES, cpm, cpm_interval, froc, sensitivity_at
from workers.evaluation.intervals import wilson
from workers.evaluation.matching import Matched, Scored, match
from workers.networks.nodenet import NodeNet
from workers.training.card import Figure, Figures
from workers.training.compose import Bank
from workers.training.crowded import Chest, crowded, peaks_in
from workers.training.progress import Report

SEED = 7


def measure_detector(network: NodeNet, bank: Bank, report: Report) -> Figures:
    """FROC on the held-out nodules in held-out lungs, real ones and phantoms."""
    figures: list[Figure] = []
    for backgrounds, where in ((bank.lungs, "a held-out real lung"), (bank.phantoms, "held-out phantoms")):
        shares = np.array_split(np.arange(len(bank.nodules)), max(len(backgrounds), 1))
        scans = [
            matched(network, chest)
            for background, share in zip(backgrounds, shares, strict=True)
            for chest in crowded([bank.nodules[k] for k in share], background, SEED)
        ]
        if scans:
            figures.extend(froc_figures(scans, f"held-out LIDC nodules put into {where}"))
    for one in figures:
        report(f"{one.name} {one.value:.3f} (n {one.n}) on {one.on}")
    return tuple(figures)


def froc_figures(scans: Sequence[Matched], on: str) -> list[Figure]:
    """Sensitivities at the rates of LUNA16 and their mean, with intervals."""
    curve, nodules = froc(scans), sum(len(scan.hits) for scan in scans)
    figures = []
    for rate in LUNA16_RATES:
        share = sensitivity_at(curve, rate)
        interval = wilson(round(share * nodules), nodules)
        figures.append(Figure(f"sensitivity at {rate:g} false positives per volume", share, interval, nodules, on))
    figures.append(Figure("CPM", cpm(curve), cpm_interval(scans, SEED), nodules, on))
    return figures


def matched(network: NodeNet, chest: Chest) -> Matched:
    """Match the detector's peaks in one chest."""
    return match(chest.truths, [Scored((x, y, z), score) for z, y, x, _, score in peaks_in(network, chest)])
