"""Lung tissue without vessels and fissures: gradient to the back, texture, now and then emphysema, glass, scars."""

import numpy as np

from workers.phantom.anatomy import Fields
from workers.phantom.grid import Grid, Image, smooth_noise, upsample

SPACING_MM = 2.0
"""What varies here is smooth, so it is made on a grid of its own."""


def parenchyma(fields: Fields, coarse: Grid, grid: Grid, rng: np.random.Generator) -> Image:
    """HU on `grid`; `fields` live on `coarse`."""
    _, y, _ = grid.mesh_mm()
    depth = upsample(fields.lungs, coarse, grid)
    base = rng.uniform(-890, -820) + rng.uniform(10, 45) * (y / 100)
    hu = base + rng.uniform(8, 18) * smooth_noise(grid, 14, rng) + rng.uniform(5, 14) * smooth_noise(grid, 5, rng)
    if rng.random() < 0.3:
        ragged = smooth_noise(grid, rng.uniform(9, 26), rng) + 0.4 * smooth_noise(grid, 7, rng)
        holes = np.clip(ragged - rng.uniform(0.6, 1.4), 0, 0.8) / 0.8
        hu += holes * (-965 - hu)
    if rng.random() < 0.5:
        behind = np.clip(y / 60, 0, 1) * np.exp(-np.maximum(depth, 0) / rng.uniform(2, 7))
        hu += behind * rng.uniform(60, 330) * np.clip(0.5 + 0.5 * smooth_noise(grid, 25, rng), 0, 1)
    if rng.random() < 0.3:
        ragged = smooth_noise(grid, 45, rng) + 0.35 * smooth_noise(grid, 9, rng)
        glass = np.clip(ragged - rng.uniform(1.2, 2.0), 0, 1)
        hu += glass * rng.uniform(80, 260) * np.clip(1 + 0.3 * smooth_noise(grid, 6, rng), 0, 2)
    return np.asarray(hu, dtype=np.float32)
