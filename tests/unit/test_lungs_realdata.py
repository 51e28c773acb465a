"""The lungs of real scans: every nodule that four readers marked is inside, on its side."""

import csv

import numpy as np
import pytest

from node.domain.finding import Side
from tests.realdata import DATA, folder, scan
from workers.lungs import segment_lungs
from workers.quality import check_quality
from workers.volume import load_volume

pytestmark = pytest.mark.realdata


@pytest.mark.parametrize("name", ["lidc-0001", "lidc-0003"])
def test_every_nodule_of_the_readers_is_inside(name: str) -> None:
    folder("ct")
    lungs = segment_lungs(load_volume(scan(name)))
    with (DATA / "ct/lidc-nodules.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["patient"].endswith(name[-4:])]
    assert rows
    for row in rows:
        center = np.array([float(row[f"world{axis}"]) for axis in "XYZ"])
        reach = 0.4 * float(row["diam_mm_approx"])
        corners = center + reach * np.array(np.meshgrid([-1, 0, 1], [-1, 0, 1], [-1, 0, 1])).reshape(3, -1).T / 3**0.5
        assert lungs.contains(corners).all()
        assert lungs.side_of((center[0], center[1], center[2])) is (Side.LEFT if center[0] > 0 else Side.RIGHT)


@pytest.mark.parametrize(
    ("name", "litres"), [("cptac", 4.5), ("weasis", 4.2), ("lidc-0001", 3.7), ("lidc-0003", 5.8), ("lung-dx", 5.4)]
)
def test_real_chests_have_the_volume_of_lungs_and_pass_the_quality_gate(name: str, litres: float) -> None:
    volume = load_volume(scan(name))
    lungs = segment_lungs(volume)
    assert lungs.air_volume_l == pytest.approx(litres, rel=0.05)
    assert check_quality(volume, lungs) == ()


def test_the_mass_of_the_spiculated_scan_is_in_the_right_lung() -> None:
    lungs = segment_lungs(load_volume(scan("cptac")))
    assert lungs.side_of((-83, -192, -192)) is Side.RIGHT
    assert lungs.contains(np.array([[-83.0, -192.0, -192.0]])).all()
