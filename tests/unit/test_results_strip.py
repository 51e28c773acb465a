"""workers/results/strip.py: what a picture strip shows of a nodule, and what it does not show."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.builders import Scan
from tests.readings import Reading, not_analysed, reading, result_request
from workers.results.strip import CAPTION, GAP, OUTLINE, TILE, png, strips_of
from workers.volume import Series

Pixels = NDArray[np.uint8]
TILES = ("axial", "axial outlined", "coronal", "coronal outlined", "sagittal", "sagittal outlined")


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    return reading(tmp_path_factory.mktemp("one"), 1)


def tiles(found: Reading, label: str = "N1") -> dict[str, Pixels]:
    strip = np.asarray(strips_of(result_request(found))[label])
    assert strip.shape == (TILE + CAPTION, 6 * (TILE + GAP) - GAP, 3)
    lefts = range(0, strip.shape[1], TILE + GAP)
    return {name: strip[:TILE, left : left + TILE] for left, name in zip(lefts, TILES, strict=True)}


def coloured(tile: Pixels) -> NDArray[np.intp]:
    """Rows and columns of the outline."""
    return np.argwhere((tile == OUTLINE).all(axis=2))


def test_each_view_is_centred_on_the_nodule_and_its_outline_goes_around_it(one: Reading) -> None:
    shown, diameter_mm = tiles(one), one.findings[0].measurements.mean_diameter_mm
    for name in ("axial", "coronal", "sagittal"):
        plain, outlined = shown[name], shown[f"{name} outlined"]
        assert len(coloured(plain)) == 0
        line = coloured(outlined)
        assert np.abs(line.mean(axis=0) - TILE / 2).max() < 4, name
        assert np.ptp(line, axis=0) * 40 / TILE == pytest.approx([diameter_mm] * 2, abs=2.0), name
        inside = plain[TILE // 2 - 5 : TILE // 2 + 5, TILE // 2 - 5 : TILE // 2 + 5].mean()
        assert inside > plain[TILE // 2 - 5 : TILE // 2 + 5, 30:50].mean() + 60, name


def bright_beside(found: Reading, axis: int, millimetres: float) -> Reading:
    """The same nodule, with something as bright as metal this far from its centre along x, y or z (LPS)."""
    volume = found.series.volume
    place = np.array([found.findings[0].center_lps_mm])
    place[0, axis] += millimetres
    z, y, x = np.rint(volume.to_zyx(place)[0]).astype(int)
    hu = volume.hu.copy()
    hu[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] = 3000
    return replace(found, series=Series(replace(volume, hu=hu), found.series.headers))


@pytest.mark.parametrize(("view", "axis", "row", "column"), [
    ("axial", 0, 0, 1), ("axial", 1, 1, 0), ("coronal", 0, 0, 1), ("coronal", 2, -1, 0), ("sagittal", 1, 0, 1),
    ("sagittal", 2, -1, 0),
])  # fmt: skip
@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (0.96, 0.28, 0, -0.28, 0.96, 0)])
def test_left_posterior_and_head_lie_where_radiologists_look_for_them(
    orientation: tuple[float, ...], view: str, axis: int, row: int, column: int, tmp_path: Path
) -> None:
    found = reading(tmp_path, 1, Scan(orientation=orientation))
    with_marker = bright_beside(found, axis, 8.0)
    changed = np.argwhere((tiles(with_marker)[view].astype(int) - tiles(found)[view]).sum(axis=2) > 150)
    offset_mm = (changed.mean(axis=0) - TILE / 2) * 40 / TILE
    assert offset_mm == pytest.approx([8.0 * row, 8.0 * column], abs=1.2)


def test_a_strip_is_the_same_for_whoever_the_patient_is_and_the_same_bytes_again(one: Reading, tmp_path: Path) -> None:
    other = reading(tmp_path, 1, Scan(name="Somebody^Else", study="2"))
    first, second, again = (png(strips_of(result_request(found))["N1"]) for found in (one, other, one))
    assert first == second == again


def test_a_strip_says_that_a_reading_is_in_shadow_and_what_was_found(one: Reading) -> None:
    caption = [np.asarray(strips_of(request)["N1"])[TILE:] for request in (
        result_request(one), result_request(one, shadow=True))]  # fmt: skip
    assert (caption[0] != caption[1]).any()
    bigger = replace(one.findings[0], measurements=replace(one.findings[0].measurements, mean_diameter_mm=11.1))
    assert (np.asarray(strips_of(result_request(replace(one, findings=(bigger,))))["N1"])[TILE:] != caption[0]).any()


def test_a_large_nodule_fits_into_its_tiles(one: Reading) -> None:
    large = replace(one.findings[0], measurements=replace(one.findings[0].measurements, long_axis_mm=33.0))
    line = coloured(tiles(replace(one, findings=(large,)))["axial outlined"])
    smaller = coloured(tiles(one)["axial outlined"])
    assert np.ptp(line) == pytest.approx(np.ptp(smaller) * 40 / 70, abs=4)


def test_what_was_not_read_has_no_strips(one: Reading) -> None:
    assert strips_of(not_analysed(one)) == {}
