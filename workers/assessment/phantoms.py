"""Phantoms of seeds that took no part in training, read from DICOM as a scanner's images are."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from node.errors import SettingsError
from node.headers import read_header
from workers.assessment.folder import read_scan
from workers.assessment.scan import Nodule, Scan, Source
from workers.evaluation.matching import Truth
from workers.phantom import Phantom, Spec, chest, varied
from workers.phantom.seeds import took_part
from workers.phantom.series import write_series
from workers.volume import Mask

NODULES = 8
MATRIX = 384
STEPS_MM = (0.8, 1.0, 1.25, 1.5, 2.0, 2.5)


def mixed(seed: int) -> Spec:
    """A phantom of any kernel, dose, field of view and contrast, with thin slices; the seed decides."""
    step = float(np.random.default_rng([seed, 22]).choice(STEPS_MM))
    return varied(seed, nodules=NODULES, matrix=MATRIX, step_mm=step, thickness_mm=step)


def phantom_source(count: int, seed: int, spec: Callable[[int], Spec] = mixed) -> Source:
    """`count` phantoms from `seed` on. Raises SettingsError where one of them took part in training."""
    seeds = range(seed, seed + count)
    known = [one for one in seeds if took_part(one)]
    if known:
        raise SettingsError(f"The phantom of seed {known[0]} took part in training: choose another --seed.")
    on = f"phantoms of seeds {seeds[0]} to {seeds[-1]}, made whole and read from DICOM"
    return Source(on, count, (_scan(spec(one)) for one in seeds))


def _scan(spec: Spec) -> Scan:
    phantom = chest(spec)
    with TemporaryDirectory(prefix="nodus-phantom-") as folder:
        files = {path: read_header(path) for path in write_series(phantom, Path(folder))}
        return read_scan(f"phantom {spec.seed}", files, nodules_of(phantom))


def nodules_of(phantom: Phantom) -> tuple[Nodule, ...]:
    """The truth of a phantom, masks included."""
    return tuple(
        Nodule(Truth(one.center_lps_mm, one.diameter_mm), one.type, one.volume_mm3, Mask(one.mask, one.offset_zyx))
        for one in phantom.nodules
    )
