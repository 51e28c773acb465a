"""How well nodules are outlined and measured: those that were found, and all of them."""

from collections.abc import Sequence

import numpy as np

from workers.assessment.compare import Result
from workers.assessment.figure import Figure, is_found, mean_figure
from workers.evaluation.agreement import agreement
from workers.evaluation.intervals import bootstrap_mean


def segmentation_figures(results: Sequence[Result], seed: int) -> tuple[Figure, ...]:
    """Dice, surface distance and volume error; nothing where the truth has neither masks nor volumes."""
    return (*_outlines(results, seed), *_volumes(results))


def _outlines(results: Sequence[Result], seed: int) -> list[Figure]:
    outlined = [nodule for one in results for nodule in one.nodules if nodule.outlined]
    if not outlined:
        return []
    found = [nodule for nodule in outlined if is_found(nodule)]
    overlaps = [nodule.dice for nodule in found if nodule.dice is not None]
    distances = [nodule.hd95_mm for nodule in found if nodule.hd95_mm is not None]
    whole = [*overlaps, *[0.0] * (len(outlined) - len(overlaps))]
    between = bootstrap_mean(overlaps, seed) if overlaps else None
    return [
        mean_figure("Dice, mean, found nodules", overlaps, between),
        _median("Dice, median, found nodules", overlaps),
        _median("HD95, median, mm, found nodules", distances),
        mean_figure("Dice, mean, end to end (missed = 0)", whole, bootstrap_mean(whole, seed)),
    ]


def _volumes(results: Sequence[Result]) -> list[Figure]:
    nodules = [nodule for one in results for nodule in one.nodules if is_found(nodule)]
    errors = [one.volume_error_percent for one in nodules if one.volume_error_percent is not None]
    if not errors:
        return []
    told = agreement(errors)
    limits = None if np.isnan(told.low) else (told.low, told.high)
    return [
        Figure("volume error, bias and limits of agreement, %", told.bias, limits, told.n),
        _median("volume error, median absolute, %", [abs(error) for error in errors]),
    ]


def _median(name: str, values: Sequence[float]) -> Figure:
    return Figure(name, float(np.median(values)) if values else None, None, len(values))
