"""A voxel of the images is found at the same place of the patient in the segmentation, however the images lie.

The place in the images is worked out here from their own headers (PS3.3 C.7.6.2.1.1), that in the segmentation by
the same formula and by dcmqi; nothing of it goes through our volume.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from node.domain.finding import Finding
from tests import dcmqi
from tests.builders import LUNG_HU, Scan, ct_series, enhanced_ct, write_series
from tests.readings import Reading, reading, result_request
from workers.results import broken_rules, encode_seg
from workers.volume import Mask, Series, load_series

MARKS = {900: (5, 9, 31), 1300: (17, 40, 12), 1700: (18, 3, 2)}
"""HU of a voxel to its place (z, y, x): on no axis of symmetry, the last two on neighbouring slices."""
SHAPE = (28, 44, 52)
TOLERANCE_MM = 0.01

Order = Callable[[list[Dataset]], list[Dataset]]


@dataclass(frozen=True)
class Lie:
    """How a scan lies in space, and how its images come."""

    scan: Scan
    multi_frame: bool = False
    order: Order = list
    is_grid: bool = True
    """Its slices lie straight above each other: dcmqi makes one volume of them."""


def turned(degrees: float, around: tuple[float, float, float]) -> dict[str, tuple[float, ...]]:
    """Axial slices turned around an axis; they are stacked along their normal."""
    axis = np.array(around) / np.linalg.norm(around)
    cross = np.cross(np.eye(3), axis)
    angle = np.radians(degrees)
    turn = np.eye(3) - np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    rows, columns, normal = turn.T
    return {"orientation": (*map(float, rows), *map(float, columns)), "step_direction": tuple(map(float, normal))}


def shuffled(images: list[Dataset]) -> list[Dataset]:
    return random.Random(3).sample(images, len(images))


def numbered_backwards(images: list[Dataset]) -> list[Dataset]:
    for number, image in enumerate(reversed(images), 1):
        image.InstanceNumber = str(number)
    return images[::-1]


TILT = np.radians(0.4)
OBLIQUE = Scan(**turned(9, (0.3, 1, 0.2)))
LIES = {
    "axial": Lie(Scan()),
    "oblong pixels": Lie(Scan(spacing_zyx_mm=(1.25, 0.6, 0.9))),
    "turned in its plane": Lie(Scan(orientation=(0.96, 0.28, 0, -0.28, 0.96, 0))),
    "oblique": Lie(OBLIQUE),
    "prone": Lie(Scan(orientation=(-1, 0, 0, 0, -1, 0))),
    "seen from the head": Lie(Scan(orientation=(-1, 0, 0, 0, 1, 0))),
    "from head to feet": Lie(Scan(step_direction=(0, 0, -1)), order=numbered_backwards),
    "files in any order": Lie(OBLIQUE, order=shuffled),
    "as much gantry tilt as is accepted": Lie(
        Scan(step_direction=(0, float(np.sin(TILT)), float(np.cos(TILT)))), is_grid=False
    ),
    "enhanced": Lie(Scan(), multi_frame=True),
    "enhanced, oblique, from head to feet": Lie(
        replace(OBLIQUE, step_direction=tuple(-each for each in OBLIQUE.step_direction)), multi_frame=True
    ),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Finding:
    """A finding whose sizes do not matter here."""
    return reading(tmp_path_factory.mktemp("any"), 1).findings[0]


def written(lie: Lie, folder: Path) -> list[Path]:
    hu = np.full(SHAPE, LUNG_HU, np.int16)
    for value, place in MARKS.items():
        hu[place] = value
    images = [enhanced_ct(hu, lie.scan)] if lie.multi_frame else lie.order(ct_series(hu, lie.scan))
    return write_series(images, folder)


def marked(series: Series, template: Finding) -> Reading:
    """One finding a mark, outlined as its one voxel."""
    places = [np.argwhere(series.volume.hu == value)[0] for value in MARKS]
    masks = tuple(Mask(np.ones((1, 1, 1), bool), (int(z), int(y), int(x))) for z, y, x in places)
    findings = tuple(
        replace(template, ordinal=number, center_lps_mm=tuple(map(float, series.volume.to_lps_mm(place[None])[0])))
        for number, place in enumerate(places, 1)
    )
    return Reading(series, findings, masks)


def place_of(row: int, column: int, groups: list[Dataset]) -> NDArray[np.float64]:
    """Centre of a pixel in LPS mm by Image Plane attributes (PS3.3 C.7.6.2.1.1)."""

    def numbers(keyword: str) -> NDArray[np.float64]:
        return np.array(next(each[keyword].value for each in groups if keyword in each), float)

    orientation, spacing = numbers("ImageOrientationPatient"), numbers("PixelSpacing")
    along_row, along_column = orientation[:3] * spacing[1] * column, orientation[3:] * spacing[0] * row
    return np.asarray(numbers("ImagePositionPatient") + along_row + along_column)


def frames_of(image: Dataset) -> Iterator[tuple[NDArray[np.int64], list[Dataset], Dataset]]:
    """Pixels, where the geometry stands, and the frame's own groups."""
    pixels = image.pixel_array
    if "PerFrameFunctionalGroupsSequence" not in image:
        yield pixels, [image], image
        return
    shared = image.SharedFunctionalGroupsSequence[0]
    for frame, own in zip(pixels, image.PerFrameFunctionalGroupsSequence, strict=True):
        yield frame, [item for group in (own, shared) for each in group for item in each.value], own


def places_in_images(paths: list[Path]) -> list[NDArray[np.float64]]:
    """LPS mm of each mark, from the files."""
    found = {}
    for path in paths:
        for pixels, groups, _ in frames_of(dcmread(path)):
            for row, column in np.argwhere(pixels > 1024):
                intercept = next(each.RescaleIntercept for each in groups if "RescaleIntercept" in each)
                found[int(pixels[row, column]) + int(intercept)] = place_of(row, column, groups)
    return [found[value] for value in MARKS]


def places_in_segmentation(segmentation: Dataset) -> list[NDArray[np.float64]]:
    """LPS mm of the one voxel of each segment."""
    found = {}
    for pixels, groups, own in frames_of(segmentation):
        ((row, column),) = np.argwhere(pixels)
        number = own.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        assert number not in found
        found[number] = place_of(row, column, groups)
    return [found[number] for number in sorted(found)]


@pytest.mark.parametrize("name", LIES)
def test_a_voxel_is_where_it_was_in_images_that_are(name: str, template: Finding, tmp_path: Path) -> None:
    lie = LIES[name]
    paths = written(lie, tmp_path / "ct")
    wanted = places_in_images(paths)
    assert len({tuple(np.round(place, 1)) for place in wanted}) == len(MARKS)
    request = result_request(marked(load_series(paths, min_slices=2), template))
    seg = encode_seg(request)
    assert broken_rules(seg, request) == ()
    found = places_in_segmentation(dcmread(BytesIO(seg.data)))
    assert np.abs(np.array(found) - wanted).max() < TOLERANCE_MM
    if lie.is_grid:
        path = tmp_path / "seg.dcm"
        path.write_bytes(seg.data)
        read_back = dcmqi.places(path, tmp_path / "masks")
        assert [len(each) for each in read_back] == [1] * len(MARKS)
        assert np.abs(np.concatenate(read_back) - wanted).max() < TOLERANCE_MM
