"""The Brock (PanCan) risk calculator: probability that a nodule is cancer, as bounds where inputs are not known."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from node.domain.finding import NoduleType
from node.domain.guidance import Risk, RiskCalculator

SOURCE = "McWilliams et al., N Engl J Med 2013;369:910-919"
ADULT_AGES = (18, 100)
"""Years over which the bounds lie where the age is not known."""


@dataclass(frozen=True)
class Coefficients:
    """One of the published models: x is the sum of its terms, the probability 1 / (1 + e^-x)."""

    calculator: RiskCalculator
    age: float
    """Per year from 62."""
    female: float
    family_history: float
    emphysema: float
    size: float
    """Times (size / 10 mm) ^ -0.5 - 1.58113883: 4 mm is the reference."""
    part_solid: float
    ground_glass: float
    upper_lobe: float
    count: float
    """Per nodule of the exam, from 4."""
    spiculation: float | None
    """None in the model that does not ask for it."""
    intercept: float


WITH_SPICULATION = Coefficients(
    calculator=RiskCalculator.BROCK_2B,
    age=0.0287,
    female=0.6011,
    family_history=0.2961,
    emphysema=0.2953,
    size=-5.3854,
    part_solid=0.3770,
    ground_glass=-0.1276,
    upper_lobe=0.6581,
    count=-0.0824,
    spiculation=0.7729,
    intercept=-6.7892,
)
WITHOUT_SPICULATION = Coefficients(
    calculator=RiskCalculator.BROCK_2A,
    age=0.0321,
    female=0.5635,
    family_history=0.3013,
    emphysema=0.3462,
    size=-5.6693,
    part_solid=0.3395,
    ground_glass=-0.3055,
    upper_lobe=0.7116,
    count=-0.0803,
    spiculation=None,
    intercept=-6.8071,
)


@dataclass(frozen=True)
class Inputs:
    """What the calculator asks for; None is "not known"."""

    longest_mm: float
    type: NoduleType
    """Not calcified: the calculator was made on nodules without benign calcification."""
    count: int
    """Nodules of the exam."""
    age_years: int | None = None
    female: bool | None = None
    family_history: bool | None = None
    """Lung cancer in the family."""
    emphysema: bool | None = None
    upper_lobe: bool | None = None
    spiculated: bool | None = None


def risk(inputs: Inputs, model: Coefficients = WITH_SPICULATION) -> Risk:
    """Bounds over everything that an unknown input may be; equal where all are known."""
    terms = _terms(inputs, model)
    lower, upper = (model.intercept + sum(map(end, terms.values())) for end in (min, max))
    missing = tuple(name for name, values in terms.items() if len(values) > 1)
    used = tuple(name for name in terms if name not in missing)
    return Risk(model.calculator, _probability(lower), _probability(upper), used, missing)


def _terms(inputs: Inputs, model: Coefficients) -> Mapping[str, tuple[float, ...]]:
    """Input by name to what it adds to x: one value where it is known, else the least and the most."""
    types = {NoduleType.PART_SOLID: model.part_solid, NoduleType.GROUND_GLASS: model.ground_glass}
    ages = ADULT_AGES if inputs.age_years is None else (inputs.age_years,)
    terms = {
        "longest diameter": (model.size * ((inputs.longest_mm / 10) ** -0.5 - 1.58113883),),
        "type": (types.get(inputs.type, 0.0),),
        "number of nodules": (model.count * (inputs.count - 4),),
        "age": tuple(model.age * (years - 62) for years in ages),
        "sex": _either(model.female, inputs.female),
        "family history of lung cancer": _either(model.family_history, inputs.family_history),
        "emphysema": _either(model.emphysema, inputs.emphysema),
        "upper lobe": _either(model.upper_lobe, inputs.upper_lobe),
    }
    if model.spiculation is not None:
        terms["spiculation"] = _either(model.spiculation, inputs.spiculated)
    return terms


def _either(coefficient: float, known: bool | None) -> tuple[float, ...]:
    return (0.0, coefficient) if known is None else (coefficient * known,)


def _probability(x: float) -> float:
    return 1 / (1 + math.exp(-x))
