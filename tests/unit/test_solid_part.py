"""The solid part of a nodule is measured where it is told from a vessel, and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest

from tests.bench.solid_part import KINDS, nodule
from tests.builders import as_volume
from workers.measure import measure
from workers.solid_part import LEAST_MM, WITHIN_MM, largest_solid_piece, solid_part
from workers.volume import Mask, Volume

THIN = (1.25, 0.7, 0.7)
GLASS, VESSEL = KINDS[0], KINDS[2]


def drawn(core_mm: float, seed: int = 1, spacing: tuple[float, float, float] = THIN) -> tuple[Volume, Mask]:
    """Ground glass with a solid core, as a scanner shows it."""
    hu, inside = nodule(core_mm, spacing, GLASS, np.random.default_rng(seed))
    return as_volume(hu.astype(np.int16), spacing), Mask(inside, (0, 0, 0))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("core_mm", [8.0, 10.0])
def test_a_core_is_measured_as_closely_as_is_said(core_mm: float, seed: int) -> None:
    volume, mask = drawn(core_mm, seed)
    found = solid_part(volume, mask)
    assert found is not None
    assert found.within_mm == WITHIN_MM
    assert abs(found.mean_diameter_mm - core_mm) <= WITHIN_MM
    assert found.short_axis_mm <= found.mean_diameter_mm <= found.long_axis_mm
    assert found.long_axis_mm <= measure(volume, mask).measurements.long_axis_mm


@pytest.mark.parametrize("core_mm", [0.0, 3.0])
def test_a_core_that_might_be_a_vessel_is_not_measured(core_mm: float) -> None:
    assert solid_part(*drawn(core_mm)) is None


def test_a_vessel_through_ground_glass_is_no_solid_part() -> None:
    hu, inside = nodule(0.0, THIN, VESSEL, np.random.default_rng(1))
    volume, mask = as_volume(hu.astype(np.int16), THIN), Mask(inside, (0, 0, 0))
    unopened = largest_solid_piece(volume, mask, 0.0)
    assert unopened is not None
    assert measure(volume, unopened).measurements.mean_diameter_mm > LEAST_MM - 2
    assert solid_part(volume, mask) is None


def test_what_goes_on_outside_the_nodule_is_no_solid_part() -> None:
    volume, mask = drawn(10.0)
    assert solid_part(volume, mask) is not None
    wall = volume.hu.copy()
    wall[:, :, wall.shape[2] // 2 :] = 40  # pleura and wall behind half of the nodule, outside it, too
    assert solid_part(replace(volume, hu=wall), mask) is None


def test_slices_far_apart_leave_it_unmeasured() -> None:
    volume, mask = drawn(10.0)
    thick = replace(volume, spacing_zyx_mm=(3.0, 0.7, 0.7))
    assert solid_part(thick, mask) is None


def test_of_several_pieces_the_largest_is_measured_and_the_outline_is_where_it_lies() -> None:
    hu = np.full((24, 40, 40), -600, np.int16)
    hu[4:9, 4:10, 4:10] = 20  # 5 x 4.2 x 4.2 mm
    hu[12:20, 18:34, 18:34] = 20  # 8 x 11.2 x 11.2 mm
    volume = as_volume(hu, (1.0, 0.7, 0.7))
    whole = Mask(np.ones((20, 36, 36), bool), (2, 2, 2))
    found = solid_part(volume, whole)
    assert found is not None
    assert 12 <= found.key_image.slice_index < 20
    columns, rows = np.array(found.key_image.outline).T
    assert columns.min() >= 18 and columns.max() <= 34
    assert rows.min() >= 18 and rows.max() <= 34
    piece = largest_solid_piece(volume, whole)
    assert piece is not None
    assert not (piece.voxels & (hu[2:22, 2:38, 2:38] < -300)).any()
