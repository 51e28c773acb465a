"""Lungs to put nodules into: phantoms and real scans on a 1 mm grid, built once and kept on disk."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from workers.lungs import segment_lungs
from workers.networks.patches import Line, sample, upright
from workers.phantom.anatomy import Build
from workers.phantom.grid import Grid
from workers.phantom.scene import bounds_zyx_mm, scene
from workers.training.real import RealLungs
from workers.volume import load_volume

SPACING_MM = 1.0
GENERATION = 2
"""Of the phantoms: backgrounds on disk of an earlier one are others."""
CLEAR_MM = 4
"""Nodules are centred at least this far from decoys."""


@dataclass(frozen=True)
class Background:
    """One chest without nodules."""

    name: str
    hu: NDArray[np.int16]
    """(z, y, x) at 1 mm, axes along LPS; memory-mapped."""
    sharp: bool
    """A phantom before blur and noise."""
    points: NDArray[np.int16]
    """(n, 3) lung voxels that may be used."""
    depth_mm: NDArray[np.float32]
    """(n,) distance of each point to the pleura; NaN at decoys, where no nodule goes."""
    vessels: NDArray[np.int16]
    """(m, 3) points on vessels inside the lung."""
    allowed_x: tuple[int, int]
    """Columns whose background may be learned from."""
    share: float
    """How often it is used, relative to others."""


def open_background(folder: Path, share: float = 1.0) -> Background:
    """A background that was built before."""
    meta = json.loads((folder / "meta.json").read_text())
    hu = np.load(folder / "hu.npy", mmap_mode="r")
    points, depth, vessels = (np.load(folder / f"{key}.npy") for key in ("points", "depth", "vessels"))
    allowed = (int(meta["allowed_x"][0]), int(meta["allowed_x"][1]))
    return Background(meta["name"], hu, bool(meta["sharp"]), points, depth, vessels, allowed, share)


def phantom_background(seed: int, cache: Path) -> Background:
    """The phantom chest of a seed, without nodules, blur and noise."""
    folder = cache / f"phantom-{GENERATION}-{seed}"
    if not (folder / "meta.json").is_file():
        build = Build.random(seed)
        low, high = bounds_zyx_mm(build)
        low[1], high[1] = -build.half_depth - 22, build.half_depth + 30
        world = scene(build, Grid.around(low, high, (SPACING_MM,) * 3))
        caliber = (world.vessels.end_radius > 0.6) & (world.vessels.end_radius < 2.5)
        vessels = np.rint(world.grid.index(world.vessels.end_zyx[caliber]))
        inside = world.lung_share > 0.5
        decoyed = ndimage.maximum_filter(world.decoyed, round(2 * CLEAR_MM / SPACING_MM) + 1)
        at = np.clip(vessels.astype(int), 0, np.array(inside.shape) - 1)
        vessels = vessels[~decoyed[tuple(at.T)]]
        _store(folder, world.hu, inside, vessels, {"name": folder.name, "sharp": True}, decoyed)
    return open_background(folder)


def real_background(lungs: RealLungs, data: Path, cache: Path) -> Background:
    """One side of a real scan."""
    folder = cache / lungs.name
    if not (folder / "meta.json").is_file():
        volume = load_volume(sorted(p for p in (data / lungs.folder).iterdir() if p.is_file()))
        ct = upright(volume.hu, volume.affine)
        counts = np.floor((np.array(ct.hu.shape) - 1) * ct.spacing_zyx_mm / SPACING_MM).astype(int) + 1
        lines = [Line(0.0, SPACING_MM / s, int(n)) for s, n in zip(ct.spacing_zyx_mm, counts, strict=True)]
        hu = sample(ct.hu, (lines[0], lines[1], lines[2])).numpy()
        found = segment_lungs(volume)
        index = np.stack(np.meshgrid(*(np.arange(n) for n in hu.shape), indexing="ij"), axis=-1).reshape(-1, 3)
        inside = np.concatenate(
            [found.contains(ct.lps_mm(part * SPACING_MM / ct.spacing_zyx_mm)) for part in np.array_split(index, 64)]
        ).reshape(hu.shape)
        middle = round(float(np.argwhere(inside)[:, 2].mean()))
        allowed = (0, middle - 8) if lungs.side == "right" else (middle + 8, hu.shape[2])
        inside[:, :, : allowed[0]] = False
        inside[:, :, allowed[1] :] = False
        vessels = np.argwhere((hu > -400) & ndimage.binary_erosion(inside, iterations=6))
        vessels = vessels[:: max(1, len(vessels) // 4000)]
        _store(folder, hu, inside, vessels, {"name": lungs.name, "sharp": False, "allowed_x": allowed})
    return open_background(folder, lungs.share)


def _store(
    folder: Path,
    hu: NDArray[np.float32],
    inside: NDArray[np.bool_],
    vessels: NDArray[Any],
    meta: dict[str, object],
    decoyed: NDArray[np.bool_] | None = None,
) -> None:
    """Write one background; the small file comes last and says that the others are whole."""
    folder.mkdir(parents=True, exist_ok=True)
    depth = ndimage.distance_transform_edt(inside).astype(np.float32)
    if decoyed is not None:
        depth[decoyed] = np.nan
    points = np.argwhere(inside)
    points = points[:: max(1, len(points) // 60_000)]
    np.save(folder / "hu.npy", np.clip(np.rint(hu), -1024, 3071).astype(np.int16))
    np.save(folder / "points.npy", points.astype(np.int16))
    np.save(folder / "depth.npy", depth[tuple(points.T)])
    np.save(folder / "vessels.npy", vessels.astype(np.int16))
    (folder / "meta.json").write_text(json.dumps({"allowed_x": [0, hu.shape[2]], **meta}))
