"""Real nodules and real lungs from folders beside the checkout, split by patient."""

import csv
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from node.errors import SettingsError

KEPT_FOR_TESTS = frozenset({"LIDC-IDRI-0001", "LIDC-IDRI-0003"})
"""Patients whose whole scans are test scans."""
HELD_OUT_PERCENT = 15
FOLDS = 5
LIDC_LICENCE = "LIDC-IDRI, CC BY 3.0, doi:10.7937/K9/TCIA.2015.LO9QL9SX"


@dataclass(frozen=True)
class RealNodule:
    """The slices of one nodule with its surroundings."""

    name: str
    patient: str
    hu: NDArray[np.int16]
    """(z, 96, 96), z ascending; the slices on which a reader outlined it, no more."""
    mask: NDArray[np.bool_]
    """At least half of its readers."""
    touched: NDArray[np.bool_]
    """Any reader."""
    spacing_zyx_mm: tuple[float, float, float]
    diameter_mm: float
    """Of the ball of the mask's volume."""
    texture: int
    """1 ground glass ... 3 part-solid ... 5 solid."""
    calcification: int
    """1-5 kinds of calcification, 6 absent."""
    malignancy: int
    """1 highly unlikely ... 3 undecided ... 5 highly suspicious, as readers rate it; not pathology."""

    @property
    def center_zyx(self) -> NDArray[np.float64]:
        """Centroid of the mask, voxels."""
        return np.asarray(np.argwhere(self.mask).mean(axis=0), dtype=np.float64)

    @property
    def type(self) -> str:
        """Composition in the words of `NoduleType`, without calcification."""
        return "ground-glass" if self.texture <= 2 else "part-solid" if self.texture == 3 else "solid"


def held_out(patient: str) -> bool:
    """Whether a patient belongs to the validation part; depends on the name alone."""
    return int(hashlib.sha256(patient.encode()).hexdigest(), 16) % 100 < HELD_OUT_PERCENT


def fold_of(patient: str) -> int:
    """Which fold a patient belongs to; depends on the name alone."""
    return int(hashlib.sha256(f"fold {patient}".encode()).hexdigest(), 16) % FOLDS


def read_nodules(folder: Path, fold: int | None = None) -> tuple[list[RealNodule], list[RealNodule]]:
    """The LIDC nodules under `folder` (nodules/lidc-nodules-dev.npz and .csv) for training and for validation.

    Validation is the part that is held out, or one of the folds. Raises SettingsError where the files are not there.
    """
    table, arrays = folder / "nodules" / "lidc-nodules-dev.csv", folder / "nodules" / "lidc-nodules-dev.npz"
    if not table.is_file() or not arrays.is_file():
        raise SettingsError("The folder of real data holds no nodules/lidc-nodules-dev.npz and .csv.")
    with table.open() as lines:
        rows = list(csv.DictReader(lines))
    with np.load(arrays) as file:
        hu, readers, offset, spacing = (file[key] for key in ("hu", "readers", "offset", "spacing_zyx_mm"))
    every = [
        _nodule(row, hu[a:b], readers[a:b], spacing[i])
        for i, (row, a, b) in enumerate(zip(rows, offset[:-1], offset[1:], strict=True))
        if row["patient"] not in KEPT_FOR_TESTS
    ]
    training: list[RealNodule] = []
    validation: list[RealNodule] = []
    for one in every:
        out = held_out(one.patient) if fold is None else fold_of(one.patient) == fold
        (validation if out else training).append(one)
    return training, validation


def _nodule(
    row: dict[str, str], hu: NDArray[np.int16], readers: NDArray[np.uint8], spacing: NDArray[np.float32]
) -> RealNodule:
    outlines = np.unpackbits(readers[..., None], axis=-1)
    votes = outlines.sum(axis=-1)
    mask = votes >= max(1, outlines.any(axis=(0, 1, 2)).sum() / 2)
    volume = float(mask.sum()) * float(np.prod(spacing))
    return RealNodule(
        name=row["id"],
        patient=row["patient"],
        hu=hu,
        mask=mask,
        touched=votes > 0,
        spacing_zyx_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        diameter_mm=(6 * volume / np.pi) ** (1 / 3),
        texture=int(row["texture"]),
        calcification=int(row["calcification"]),
        malignancy=int(row["malignancy"]),
    )


@dataclass(frozen=True)
class RealLungs:
    """A real scan whose one side holds no nodule that was seen."""

    name: str
    folder: str
    """Under the folder of real data."""
    side: str
    """The side that may be used, "right" or "left"."""
    purpose: str
    """"training" or "validation"."""
    licence: str
    share: float = 1.0
    """How often it is used, relative to the others of its purpose."""


WEASIS, LUNG_DX = "Weasis demo archive, CC BY 4.0", "TCIA Lung-PET-CT-Dx, CC BY 4.0"
REAL_LUNGS = (
    RealLungs("weasis-right", "ct/weasis-thorax", "right", "training", WEASIS, 3.0),
    RealLungs("weasis-left", "ct/weasis-thorax", "left", "validation", WEASIS),
    RealLungs("lung-dx-b", "ct/lung-dx-a0001/3.000000-5mm-41315", "right", "training", LUNG_DX),
    RealLungs("lung-dx-l", "ct/lung-dx-a0001/2.000000-5mm-40805", "right", "training", LUNG_DX),
)
"""The large mass of lung-dx lies in the left lung, so only its right one is used."""


def sha256_of_files(paths: Iterable[Path]) -> str:
    """One SHA-256 over the names and contents of files, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda one: one.name):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
