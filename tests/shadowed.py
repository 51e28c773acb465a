"""A chest with two nodules of which our detector finds both, and the one that is brought along only the brighter."""

from functools import cache

import numpy as np

from tests.builders import Scan, ct_series
from tests.chests import ORIGIN, SPACING, Ball, Chest, chest
from tests.sender import Payload, payload_of

BRIGHT = Ball((-72.0, 0.0, 30.0), 5.0, 290.0)
DIM = Ball((72.0, 10.0, -20.0), 5.0, 60.0)
FINER = 2
"""Pixels that one of the chest becomes: its own are larger than those that are read."""


@cache
def payloads(series_description: str = "Thorax") -> tuple[Payload, ...]:
    """Its images as they go over the wire; the study has the name of its series."""
    hu = chest(Chest(balls=(BRIGHT, DIM), noise_hu=15.0))[0].hu
    fine = np.repeat(np.repeat(hu, FINER, axis=1), FINER, axis=2)
    depth, height, width = SPACING
    spacing = (depth, height / FINER, width / FINER)
    x, y, z = ORIGIN
    scan = Scan(spacing, (x - spacing[2] / 2, y - spacing[1] / 2, z), study=series_description)
    datasets = ct_series(fine, scan)
    for dataset in datasets:
        dataset.SeriesDescription = series_description
    return tuple(payload_of(dataset) for dataset in datasets)
