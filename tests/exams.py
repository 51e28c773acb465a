"""Two exams of one chest: the same lungs and vessels, other nodules, another place on the table."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydicom import Dataset

from node.domain.finding import Finding, KeyImage, Measurements, NoduleType, Point, Side
from tests.builders import Scan, ct_series
from tests.chests import ORIGIN, SPACING, Ball, Chest, chest
from workers.volume import Volume

Xyz = tuple[float, float, float]
THEN, NOW = "20230203", "20240203"
DAYS = 365
SHIFT: Xyz = (14.0, -22.0, 60.0)
"""How far the patient lay elsewhere then."""
STABLE, GROWS, GONE, COMES = (-72.0, 0.0, 30.0), (72.0, 10.0, -20.0), (-60.0, 30.0, -40.0), (75.0, -30.0, 40.0)
"""Places of nodules in the later exam, LPS mm."""
KEY = KeyImage("1", "2", None, 1, 0, (), ((0.0, 0.0), (1.0, 1.0)), ((0.0, 0.0), (1.0, 1.0)))


def vessels(seed: int = 3) -> tuple[Ball, ...]:
    """Dots all over the lungs, which tell one place from another."""
    rng = np.random.default_rng(seed)
    found = []
    for side in (-1, 1):
        for _ in range(400):
            x, y, z = rng.uniform(-1, 1, 3)
            if x * x + y * y + z * z < 0.8:
                found.append(Ball((side * 72 + 55 * x, 76 * y, 105 * z), float(rng.uniform(2.0, 3.0)), -100.0))
    return tuple(found)


VESSELS = vessels()


@dataclass(frozen=True)
class Exam:
    """One of the two."""

    study: str
    date: str
    nodules: tuple[tuple[Xyz, float], ...]
    """Place in the later exam, and radius in mm."""
    moved: Xyz = (0.0, 0.0, 0.0)
    noise_hu: float = 15.0
    vessels: bool = True

    @property
    def volume(self) -> Volume:
        """As a scanner would have it, at 3 x 2 x 2 mm."""
        balls = tuple(Ball(at, radius) for at, radius in self.nodules)
        made = chest(Chest(balls=(*(VESSELS * self.vessels), *balls), noise_hu=self.noise_hu))[0]
        affine = made.affine.copy()
        affine[:3, 3] += self.moved
        return replace(made, affine=affine)

    def datasets(self) -> list[Dataset]:
        """Images of 3 x 1 x 1 mm: pixels of 2 mm are no CT that is read."""
        fine = self.volume.hu.repeat(2, axis=1).repeat(2, axis=2)
        x, y, z = (start + by for start, by in zip(ORIGIN, self.moved, strict=True))
        spacing = (SPACING[0], SPACING[1] / 2, SPACING[2] / 2)
        scan = Scan(spacing_zyx_mm=spacing, origin_lps_mm=(x - 0.5, y - 0.5, z), study=self.study)
        images = ct_series(fine, scan)
        for image in images:
            image.StudyDate = self.date
        return images

    def findings(self) -> tuple[Finding, ...]:
        """What a perfect reader finds."""
        return tuple(
            finding(number, _plus(at, self.moved), 2 * radius) for number, (at, radius) in enumerate(self.nodules, 1)
        )


def finding(ordinal: int, at: Point, mm: float, type_: NoduleType = NoduleType.SOLID) -> Finding:
    """A round nodule."""
    side = Side.RIGHT if at[0] < 0 else Side.LEFT
    return Finding(ordinal, at, 0.9, type_, side, Measurements(mm, mm, mm, None, 20.0), KEY)


def _plus(at: Xyz, by: Sequence[float]) -> Xyz:
    x, y, z = (one + other for one, other in zip(at, by, strict=True))
    return x, y, z


EARLIER = Exam("earlier", THEN, ((STABLE, 5.0), (GROWS, 5.0), (GONE, 5.0)), SHIFT)
LATER = Exam("later", NOW, ((GROWS, 6.5), (STABLE, 5.2), (COMES, 5.0)), noise_hu=20.0)
