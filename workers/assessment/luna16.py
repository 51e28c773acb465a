"""LUNA16 as it is downloaded: subsets of .mhd and .raw, annotations.csv, annotations_excluded.csv."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import CTImageStorage

from node.domain.eligibility import Eligibility, Level
from node.domain.uids import derived_uid
from node.errors import BadInput, SettingsError
from workers.assessment.extra import extra
from workers.assessment.groups import THICKNESS_MM, band, noise_group
from workers.assessment.scan import EVERY_SCORE, Nodule, Scan, Source, attempt
from workers.assessment.truth import read_irrelevant, read_truth
from workers.pipeline import Reading, Stopwatch, read_series
from workers.volume import Series, SliceSource, Volume
from workers.volume.pixels import AIR_HU

SCANS, NODULES = 888, 1186
"""Of the whole set; a number on fewer is not the official one."""
ANNOTATIONS, EXCLUDED = "annotations.csv", "annotations_excluded.csv"
AS_CHOSEN = Eligibility(Level.FULL, (), ())
"""There are no headers to judge by: the organisers chose the scans, all of slices of 2.5 mm or less."""


def luna16_source(folder: Path) -> Source:
    """Every scan in the subsets that are there. Raises SettingsError where the set or SimpleITK is missing."""
    itk = extra("SimpleITK")
    images = {path.stem: path for path in sorted(folder.glob("subset*/*.mhd"))}
    if not images:
        raise SettingsError(f"There is no subset*/*.mhd below {folder}: name the folder that holds LUNA16's subsets.")
    for name in (ANNOTATIONS, EXCLUDED):
        if not (folder / name).is_file():
            raise SettingsError(f"{folder} has no {name}: put it beside the subsets.")
    nodules, others = read_truth(folder / ANNOTATIONS), read_irrelevant(folder / EXCLUDED)
    known = {uid: (*nodules.get(uid, ()), *others.get(uid, ())) for uid in images}
    counted = sum(len(nodules.get(uid, ())) for uid in images)
    official = (len(images), counted) == (SCANS, NODULES)
    notes = (f"{len(images)} of {SCANS} scans with {counted} of {NODULES} nodules: not the official number.",)
    on = "LUNA16" if official else f"{len(images)} of the {SCANS} scans of LUNA16"
    return Source(on, len(images), _scans(itk, images, known), () if official else notes)


def _scans(itk: Any, images: Mapping[str, Path], nodules: Mapping[str, tuple[Nodule, ...]]) -> Iterator[Scan]:
    for uid, path in images.items():
        reading, refusal = attempt(partial(_read, itk, path))
        yield Scan(uid, nodules[uid], _groups(reading) if reading else {}, reading, refusal)


def _groups(reading: Reading) -> dict[str, str]:
    return {"slice thickness": band(reading.volume.spacing_zyx_mm[0], THICKNESS_MM, "mm")} | noise_group(reading.volume)


def _read(itk: Any, path: Path) -> Reading:
    series = Series(load_mhd(itk, path), ())
    return read_series(series, AS_CHOSEN, Stopwatch(lambda stage, percent: None), EVERY_SCORE)


def load_mhd(itk: Any, path: Path) -> Volume:
    """One scan as the pipeline takes it; ITK's world is LPS mm, like that of DICOM. Raises BadInput."""
    try:
        image = itk.ReadImage(str(path))
    except RuntimeError as error:
        raise BadInput("The scan's .mhd and .raw cannot be read.") from error
    hu = np.clip(itk.GetArrayFromImage(image), AIR_HU, 32767).astype(np.int16)
    if hu.ndim != 3:
        raise BadInput("The scan's .mhd does not hold a volume.")
    affine = np.eye(4)
    affine[:3, :3] = (np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing())[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return _feet_first(hu, affine, path.stem)


def _feet_first(hu: NDArray[np.int16], affine: NDArray[np.float64], uid: str) -> Volume:
    """The volume with z rising toward the head."""
    if affine[2, 0] < 0:
        affine[:3, 3] += affine[:3, 0] * (len(hu) - 1)
        affine[:3, 0] *= -1
        hu = np.ascontiguousarray(hu[::-1])
    depth, height, width = (float(length) for length in np.linalg.norm(affine[:3, :3], axis=0))
    made_up = (derived_uid("nodus", "luna16", uid, str(z)) for z in range(len(hu)))
    slices = tuple(SliceSource(name, CTImageStorage, None, z + 1) for z, name in enumerate(made_up))
    return Volume(hu, (depth, height, width), affine, slices)
