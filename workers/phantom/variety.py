"""A whole spec from one seed: scanners, doses, kernels, slices and patients as they differ."""

from typing import Any

import numpy as np

from workers.phantom.anatomy import Build
from workers.phantom.chest import Spec

THICKNESS_MM = (0.6, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
STEP_SHARES = (1.0, 1.0, 0.8, 0.7, 0.5)
"""Slices follow each other or overlap."""
MATRICES, MATRIX_WEIGHTS = (384, 512, 768), (0.45, 0.5, 0.05)
DOSE_HU = (7.0, 32.0)
"""Noise of a soft kernel at 1.25 mm, from full to low dose."""
NOISE_LIMITS_HU = (4.0, 85.0)
WIDEST_FIELD_MM = 450.0
SMALLEST_PIXEL_MM = 0.45
CONTRAST = 0.45
"""Share of chests with contrast."""
TILTED, MOST_TILT_DEG = 0.3, 20.0


def varied(seed: int, *, tilted: bool = False, **fields: Any) -> Spec:
    """The random spec of a seed; `fields` of a Spec that are given win over what is drawn.

    What comes is readable by the rules of `node/domain/eligibility.py`, unless `tilted` lets gantries be tilted or a
    field asks for something else. A field that is given changes no other.
    """
    rng = np.random.default_rng([seed, 21])
    thickness = float(rng.choice(THICKNESS_MM))
    step = max(0.6, round(thickness * float(rng.choice(STEP_SHARES)), 2))
    sharpness = round(float(rng.uniform(0, 1)), 2)
    dose = float(np.exp(rng.uniform(*np.log(DOSE_HU))))
    matrix = int(rng.choice(MATRICES, p=MATRIX_WEIGHTS))
    contrast = rng.uniform(100, 320) if rng.random() < CONTRAST else rng.uniform(32, 55)
    angle = rng.uniform(-MOST_TILT_DEG, MOST_TILT_DEG) * (rng.random() < TILTED)
    lungs = 2 * (Build.random(seed).half_width + 8)
    field = min(lungs * rng.uniform(1.0, 1.35), max(WIDEST_FIELD_MM, lungs))
    drawn: dict[str, Any] = {
        "nodules": int(rng.integers(0, 11)),
        "matrix": matrix if field / matrix >= SMALLEST_PIXEL_MM else MATRICES[0],
        "step_mm": step,
        "thickness_mm": thickness,
        "sharpness": sharpness,
        "noise_hu": round(float(np.clip(dose * _louder(thickness, sharpness), *NOISE_LIMITS_HU)), 1),
        "smallest_mm": 3.0,
        "largest_mm": 30.0,
        "leaves": int(rng.integers(1800, 3400)),
        "field_mm": round(float(field), 1),
        "tilt_deg": round(float(angle), 1) if tilted else 0.0,
        "decoys": int(rng.integers(0, 15)),
        "contrast_hu": round(float(contrast), 1),
    }
    return Spec(seed, **(drawn | fields))


def _louder(thickness_mm: float, sharpness: float) -> float:
    """Noise relative to a soft kernel at 1.25 mm: thin slices have fewer photons, sharp kernels wider spectra."""
    return float(np.sqrt(1.25 / thickness_mm)) * (1 + 1.6 * sharpness**2)
