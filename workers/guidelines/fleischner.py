"""Fleischner 2017: what follows from nodules that were found by chance, by type, number, size and risk."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from node.domain.finding import NoduleType
from workers.guidelines.nodule import ENDLESS, Nodule, to_whole

NAME = "Fleischner 2017"
SOURCE = "MacMahon et al., Radiology 2017;284:228-243"
LEAST_AGE_YEARS = 35
NOT_KNOWN = "cancer and immunosuppression, for which it is not made"
HIGH_RISK = "older age, heavy smoking, spiculation, upper lobe, emphysema, fibrosis or family history"


@dataclass(frozen=True)
class Advice:
    """What the guideline wants of patients of either risk."""

    low_risk: str
    high_risk: str

    def text(self, is_high_risk: bool | None) -> str:
        """One branch, or both where the risk is not known."""
        if self.low_risk == self.high_risk:
            return self.low_risk
        if is_high_risk is None:
            return f"at low risk {self.low_risk}; at high risk {self.high_risk}"
        return self.high_risk if is_high_risk else self.low_risk


def _whatever_the_risk(text: str) -> Advice:
    return Advice(text, text)


Rows = tuple[tuple[Decimal, Advice], ...]
"""Below which mean diameter in whole mm what is wanted; smallest first."""
SMALL_MM, LARGE_MM = Decimal(6), Decimal(9)
"""Solid: under 6, 6 to 8, over 8 mm; subsolid: under 6, 6 or more; in whole mm."""
SOLID_PART_MM = Decimal(6)
"""From here on the solid part of a nodule that persists is highly suspicious."""

NONE = "no routine follow-up"
SOLID_SINGLE: Rows = (
    (SMALL_MM, Advice(NONE, "CT at 12 months is optional")),
    (
        LARGE_MM,
        Advice(
            "CT at 6 to 12 months, then consider it at 18 to 24 months", "CT at 6 to 12 months, then at 18 to 24 months"
        ),
    ),
    (ENDLESS, _whatever_the_risk("consider CT at 3 months, PET/CT or tissue sampling")),
)
_SEVERAL = Advice(
    "CT at 3 to 6 months, then consider it at 18 to 24 months", "CT at 3 to 6 months, then at 18 to 24 months"
)
SOLID_SEVERAL: Rows = ((SMALL_MM, Advice(NONE, "CT at 12 months is optional")), (ENDLESS, _SEVERAL))
GROUND_GLASS_SINGLE: Rows = (
    (SMALL_MM, _whatever_the_risk(NONE)),
    (ENDLESS, _whatever_the_risk("CT at 6 to 12 months to confirm that it persists, then every 2 years until 5 years")),
)
PART_SOLID_SINGLE: Rows = (
    (SMALL_MM, _whatever_the_risk(NONE)),
    (ENDLESS, _whatever_the_risk("CT at 3 to 6 months to confirm that it persists")),
)
SUBSOLID_SEVERAL: Rows = (
    (SMALL_MM, _whatever_the_risk("CT at 3 to 6 months; if stable, consider it at 2 and 4 years")),
    (ENDLESS, _whatever_the_risk("CT at 3 to 6 months, then by the most suspicious nodule")),
)
SMALL_SOLID_PART = "then, with a solid part under 6 mm, CT every year for 5 years"
LARGE_SOLID_PART = "then a solid part of 6 mm or more is highly suspicious"


def is_for(age_years: int | None) -> bool:
    """Whether the patient is known to be of an age that the guideline is made for."""
    return age_years is not None and age_years >= LEAST_AGE_YEARS


def recommendations(nodules: Sequence[Nodule], is_high_risk: bool | None = None) -> Iterator[str]:
    """One sentence for the solid nodules and one for the subsolid ones, each by its largest; and who is left out."""
    inside = [each for each in nodules if each.type is not NoduleType.CALCIFIED and not each.is_mass]
    several = sum(each.type is not NoduleType.CALCIFIED for each in nodules) > 1
    for name, belongs in (("solid", _is_solid), ("subsolid", _is_subsolid)):
        of_kind = [each for each in inside if belongs(each)]
        if of_kind:
            largest = max(of_kind, key=lambda each: (to_whole(each.mean_mm), -each.ordinal))
            number = f"one of several nodules, the largest {name} one" if several else "single"
            size = f"{largest.label}, {largest.type}, {to_whole(largest.mean_mm)} mm, {number}"
            yield f"{NAME} ({size}): {_wanted(largest, several, is_high_risk)}."
    yield from _left_out(nodules, "a mass of more than 30 mm: no guideline for nodules covers it", lambda n: n.is_mass)
    calcified = "calcified, in a pattern that was not assessed, and left out"
    yield from _left_out(nodules, calcified, lambda n: n.type is NoduleType.CALCIFIED and not n.is_mass)


def _is_solid(nodule: Nodule) -> bool:
    return nodule.type is NoduleType.SOLID


def _is_subsolid(nodule: Nodule) -> bool:
    return nodule.type in (NoduleType.PART_SOLID, NoduleType.GROUND_GLASS)


def _left_out(nodules: Sequence[Nodule], why: str, applies: Callable[[Nodule], bool]) -> Iterator[str]:
    labels = [each.label for each in nodules if applies(each)]
    if labels:
        yield f"{NAME}: {', '.join(labels)} {'is' if len(labels) == 1 else 'are'} {why}."


def _wanted(nodule: Nodule, several: bool, is_high_risk: bool | None) -> str:
    size = to_whole(nodule.mean_mm)
    wanted = next(advice for below, advice in _rows(nodule, several) if size < below).text(is_high_risk)
    if several or nodule.type is not NoduleType.PART_SOLID or size < SMALL_MM:
        return wanted
    return f"{wanted}; {_by_solid_part(nodule)}"


def _rows(nodule: Nodule, several: bool) -> Rows:
    if _is_solid(nodule):
        return SOLID_SEVERAL if several else SOLID_SINGLE
    if several:
        return SUBSOLID_SEVERAL
    return PART_SOLID_SINGLE if nodule.type is NoduleType.PART_SOLID else GROUND_GLASS_SINGLE


def _by_solid_part(nodule: Nodule) -> str:
    """Both ways where the solid part was not measured, or not well enough."""
    bounds = nodule.solid_part_bounds_mm
    if bounds is None:
        return f"{SMALL_SOLID_PART}; {LARGE_SOLID_PART} (not measured)"
    least, most = map(to_whole, bounds)
    if least < SOLID_PART_MM <= most:
        return f"{SMALL_SOLID_PART}; {LARGE_SOLID_PART} (measured to within {nodule.solid_part_within_mm:.1f} mm)"
    return SMALL_SOLID_PART if most < SOLID_PART_MM else LARGE_SOLID_PART
