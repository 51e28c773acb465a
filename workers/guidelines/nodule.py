"""What clinical rules ask of a nodule, and its sizes rounded as they want them."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from node.domain.finding import Finding, NoduleType
from node.domain.prior import NoduleChange
from workers.guidelines.course import Course, courses_of

ENDLESS = Decimal("Infinity")
MASS_MM = 30
"""What is larger is a mass and no nodule (Fleischner Society glossary, Radiology 2008;246:697-722)."""


@dataclass(frozen=True)
class Nodule:
    """One nodule; None is "not known"."""

    ordinal: int
    type: NoduleType
    long_axis_mm: float
    short_axis_mm: float
    solid_part_mm: float | None = None
    """Mean diameter of the solid part of a part-solid nodule..."""
    solid_part_within_mm: float = 0.0
    """...and how far that may be from the true one."""
    upper_lobe: bool | None = None
    spiculated: bool | None = None
    courses: tuple[Course, ...] = (Course.BASELINE,)
    """What may have become of it since an earlier exam..."""
    earlier_mm: float | None = None
    """...its mean diameter then, one decimal, where sizes can be compared..."""
    days: int = 0
    """...and how long ago that was."""

    @property
    def label(self) -> str:
        """As in the report."""
        return f"N{self.ordinal}"

    @property
    def mean_mm(self) -> Decimal:
        """Mean of both axes as they were measured, not rounded."""
        return (exact(self.long_axis_mm) + exact(self.short_axis_mm)) / 2

    @property
    def solid_part_bounds_mm(self) -> tuple[Decimal, Decimal] | None:
        """Least and most that its solid part may measure; None where it was not measured."""
        if self.solid_part_mm is None:
            return None
        part, within = exact(self.solid_part_mm), exact(self.solid_part_within_mm)
        return max(part - within, Decimal(0)), part + within

    @property
    def is_mass(self) -> bool:
        """Larger than a nodule, in whole millimetres."""
        return to_whole(self.mean_mm) > MASS_MM


def nodule_of(finding: Finding, change: NoduleChange | None = None, days: int = 0) -> Nodule:
    """A finding, and what became of it in so many days. Nothing tells its lobe or spiculation yet."""
    sizes, part = finding.measurements, finding.solid_part
    known = change.earlier if change and change.growth else None
    return Nodule(
        finding.ordinal,
        finding.type,
        sizes.long_axis_mm,
        sizes.short_axis_mm,
        solid_part_mm=part.mean_diameter_mm if part else None,
        solid_part_within_mm=part.within_mm if part else 0.0,
        courses=courses_of(change, days),
        earlier_mm=known.mean_diameter_mm if known else None,
        days=days,
    )


def exact(number: float | Decimal) -> Decimal:
    """The decimal number that a float was written as: 5.95 is halfway between 5.9 and 6.0, its binary form is not."""
    return number if isinstance(number, Decimal) else Decimal(str(number))


def to_tenth(mm: float | Decimal) -> Decimal:
    """One decimal, halves up."""
    return exact(mm).quantize(Decimal("0.1"), ROUND_HALF_UP)


def to_whole(mm: float | Decimal) -> Decimal:
    """Whole millimetres, halves up."""
    return exact(mm).quantize(Decimal(1), ROUND_HALF_UP)
