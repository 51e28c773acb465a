"""dcmqi as an independent reader of our SEG and SR."""

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.peers import require
from workers.volume import Volume


def segments(seg: Path, folder: Path, volume: Volume) -> list[NDArray[np.float64]]:
    """Centres of the voxels of each segment, LPS mm (n, 3), as segimage2itkimage reads them."""
    found = []
    for path in _masks(seg, folder):
        voxels, origin, _ = _nrrd(path)
        corner = np.rint(volume.to_zyx(origin[None])[0]).astype(int)
        found.append(volume.to_lps_mm(np.argwhere(voxels) + corner.astype(float)))
    return found


def places(seg: Path, folder: Path) -> list[NDArray[np.float64]]:
    """The same without any volume of ours: by origin and directions as dcmqi wrote them."""
    return [np.argwhere(voxels)[:, ::-1] @ steps + origin for voxels, origin, steps in map(_nrrd, _masks(seg, folder))]


def _masks(seg: Path, folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    _run("segimage2itkimage", "--inputDICOM", seg, "--outputDirectory", folder, "--outputType", "nrrd", "--prefix", "s")
    return sorted(folder.glob("s-*.nrrd"), key=lambda each: int(each.stem.partition("-")[2]))


def measurement_groups(report: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """Tracking Identifier to group, of the groups that refer to a segment, as tid1500reader reads them."""
    metadata = folder / f"{report.stem}.json"
    _run("tid1500reader", "--inputDICOM", report, "--outputMetadata", metadata)
    groups = json.loads(metadata.read_text())["Measurements"]
    return {group["TrackingIdentifier"]: group for group in groups if "ReferencedSegment" in group}


def values(group: dict[str, Any]) -> dict[str, float]:
    """The numbers of a group, by the meaning of their concept."""
    return {item["quantity"]["CodeMeaning"]: float(item["value"]) for item in group["measurementItems"]}


def _nrrd(path: Path) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """Voxels (z, y, x), origin (x, y, z) and the steps along x, y and z (3, 3), LPS mm, of a gzipped NRRD."""
    header, _, body = path.read_bytes().partition(b"\n\n")
    fields = dict(line.split(": ", 1) for line in header.decode().splitlines() if ": " in line)
    sizes = [int(size) for size in fields["sizes"].split()]
    kind = {"short": "<i2", "unsigned char": "u1", "uchar": "u1"}[fields["type"]]
    voxels = np.frombuffer(gzip.decompress(body), kind).reshape(sizes[::-1])
    origin = np.array([float(value) for value in fields["space origin"].strip("()").split(",")])
    steps = [[float(value) for value in each.strip("()").split(",")] for each in fields["space directions"].split()]
    assert fields["space"] == "left-posterior-superior"
    return voxels > 0, origin, np.array(steps)


def _run(program: str, *arguments: str | Path) -> None:
    ended = subprocess.run(
        [require(program, "dcmqi"), *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
