"""Real lungs, moved, turned, stretched and breathed by a known map: places in them are found again."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tests.realdata import scan
from workers.lungs import segment_lungs
from workers.priors.alignment import align
from workers.priors.compare import is_good
from workers.priors.nearby import Exam, Spot, find_again
from workers.volume import Volume, load_volume

pytestmark = pytest.mark.realdata

Points = NDArray[np.float64]
MOVED, BREATH_MM, PLACES = np.array([15.0, -25.0, 60.0]), 20.0, 12
STRETCHED = Rotation.from_euler("xyz", (-3, 2, 5), degrees=True).as_matrix() @ np.diag([1.02, 1.04, 0.95])


def here_of(there: Points, low: Points, high: Points) -> Points:
    """Where a point of the earlier exam is in the later one, LPS mm: the farther down, the more it was breathed."""
    middle = (low + high) / 2
    points: Points = (there - middle - MOVED) @ STRETCHED.T + middle
    down = np.clip((high[2] - points[:, 2]) / (high[2] - low[2]), 0, 1)
    breath = np.stack([3 * np.cos(points[:, 2] / 45), 5 * np.sin(np.pi * down), BREATH_MM * down**2], axis=1)
    return points + breath


def there_of(here: Points, low: Points, high: Points) -> Points:
    """The way back."""
    found = here.copy()
    for _ in range(60):
        found = found - (here_of(found, low, high) - here) @ np.linalg.inv(STRETCHED).T
    return found


def earlier_of(volume: Volume, low: Points, high: Points) -> Volume:
    """The exam as it was then: on other voxels, with other noise."""
    spacing = (2.5, 1.5, 1.5)
    count = np.ceil((high - low)[::-1] / spacing).astype(int)
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]] = spacing
    affine[:, 3] = (*(low + MOVED), 1.0)
    hu, rng = np.empty(count, np.int16), np.random.default_rng(4)
    for z in range(count[0]):
        grid = np.stack(np.meshgrid([z], *map(np.arange, count[1:]), indexing="ij"), axis=-1).reshape(-1, 3)
        zyx = volume.to_zyx(here_of(grid @ affine[:3, :3].T + affine[:3, 3], low, high))
        first = int(np.clip(zyx[:, 0].min() - 1, 0, len(volume.hu) - 1))
        slab = volume.hu[first : max(first + 2, int(zyx[:, 0].max()) + 3)].astype(np.float32)
        values = ndimage.map_coordinates(slab, (zyx - (first, 0, 0)).T, order=1, cval=-1000.0)
        hu[z] = np.clip(values + rng.normal(0, 25, len(values)), -1024, 3000).reshape(count[1:])
    return Volume(hu, spacing, affine, ())


def test_places_in_real_lungs_are_found_again_after_a_breath() -> None:
    volume = load_volume(scan("lidc-0001"))
    corners = volume.to_lps_mm(np.array([[0.0, 0.0, 0.0], np.array(volume.hu.shape) - 1.0]))
    low, high = corners.min(axis=0), corners.max(axis=0)
    there = earlier_of(volume, low, high)
    here, then = Exam(volume, segment_lungs(volume)), Exam(there, segment_lungs(there))
    alignment = align(here.lungs, then.lungs)
    assert is_good(alignment)
    inner = np.argwhere(ndimage.binary_erosion(here.lungs.labels > 0, iterations=3))
    chosen = inner[np.random.default_rng(2).choice(len(inner), PLACES, replace=False)]
    points = chosen @ here.lungs.affine[:3, :3].T + here.lungs.affine[:3, 3]
    truth = there_of(points, low, high)
    assert np.abs(here_of(truth, low, high) - points).max() < 0.1
    rough = np.linalg.norm(alignment.there(points) - truth, axis=1)
    found = [find_again(Spot(point), here, then, alignment) for point in points]
    errors = np.linalg.norm([place.lps_mm for place in found] - truth, axis=1)
    assert np.median(rough) < 6
    assert np.median(errors) < 1
    assert np.sort(errors)[-2] < 4  # one may be mistaken
