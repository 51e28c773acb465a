"""Growth between two exams: volume doubling time, and which change is more than error of measurement."""

import math
from enum import StrEnum

SOURCE = (
    "British Thoracic Society, Thorax 2015;70(Suppl 2):ii1-ii54 (limits, 25 %); Lung-RADS v2022 (1.5 mm); "
    "Fleischner Society, Bankier et al., Radiology 2017;285:584-600 (2 mm)"
)
SUSPICIOUS_BELOW_DAYS, LOW_ABOVE_DAYS = 400, 600
LEAST_VOLUME_CHANGE = 0.25
"""Share of the earlier volume from which a change counts."""
MOST_STABLE_MM = 1.5
"""Change of the mean diameter within 12 months above which a nodule grows, by Lung-RADS."""


LEAST_CHANGE_MM = 2.0
"""Change of the mean diameter from which it counts, by the Fleischner Society."""


class Pace(StrEnum):
    """How fast a nodule doubles."""

    SUSPICIOUS = "suspicious"
    INTERMEDIATE = "intermediate"
    LOW = "low"


def doubling_time_days(earlier_mm3: float, later_mm3: float, days: float) -> float:
    """Volume doubling time in days: days * ln 2 / ln(later / earlier). Infinite without a change, negative where it
    shrinks. Volumes and days are positive."""
    growth = math.log(later_mm3 / earlier_mm3)
    return days * math.log(2) / growth if growth else math.inf


def doubling_time_by_diameter_days(earlier_mm: float, later_mm: float, days: float) -> float:
    """The same from diameters, of a nodule that grows alike in every direction."""
    return doubling_time_days(earlier_mm**3, later_mm**3, days)


def pace_of(days: float) -> Pace:
    """What a doubling time means. One that shrinks or stays is of low suspicion."""
    if 0 < days < SUSPICIOUS_BELOW_DAYS:
        return Pace.SUSPICIOUS
    return Pace.INTERMEDIATE if 0 < days <= LOW_ABOVE_DAYS else Pace.LOW


def volume_changed(earlier_mm3: float, later_mm3: float) -> bool:
    """Whether two volumes differ by more than error of measurement."""
    return abs(later_mm3 - earlier_mm3) >= LEAST_VOLUME_CHANGE * earlier_mm3


def diameter_changed(earlier_mm: float, later_mm: float, least_mm: float) -> bool:
    """Whether mean diameters, one decimal each, differ by more than error of measurement: by Lung-RADS where `least_mm`
    is its MOST_STABLE_MM, which itself is none, else by `least_mm` or more."""
    change = abs(round(later_mm - earlier_mm, 1))
    return change > least_mm if least_mm == MOST_STABLE_MM else change >= least_mm


def grew_by_lung_rads(earlier_mm: float, later_mm: float) -> bool:
    """Whether mean diameters, one decimal each and at most 12 months apart, show growth."""
    return round(later_mm - earlier_mm, 1) > MOST_STABLE_MM
