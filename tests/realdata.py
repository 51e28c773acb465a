"""Real scans and odd DICOM beside the checkout; tests that need them skip with a reason where they are absent."""

from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SCANS = {
    "cptac": "ct/cptac-c3n-00247",
    "weasis": "ct/weasis-thorax",
    "lidc-0001": "ct/lidc-idri-0001",
    "lidc-0003": "ct/lidc-idri-0003",
    "lung-dx": "ct/lung-dx-a0001/2.000000-5mm-40805",
}
"""Name to folder of one series."""
NOT_IMAGES = (".csv", ".xml")


def folder(relative: str) -> Path:
    """Return a folder of the data; skip where it is absent."""
    path = DATA / relative
    if not path.is_dir():
        pytest.skip(f"real data is absent: {path}")
    return path


def scan(name: str) -> list[Path]:
    """The images of one of SCANS."""
    return [path for path in sorted(folder(SCANS[name]).rglob("*")) if path.is_file() and path.suffix not in NOT_IMAGES]
