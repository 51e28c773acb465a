"""What clinical rules say of an exam and its nodules: decision support, nothing that a network found."""

from dataclasses import dataclass
from enum import StrEnum

from node.domain.exam import Purpose


class RiskCalculator(StrEnum):
    """Published formulas; what they say is never the finding of a network."""

    BROCK_2A = "Brock full model without spiculation (2a)"
    BROCK_2B = "Brock full model with spiculation (2b)"


@dataclass(frozen=True)
class Risk:
    """Probability of cancer of one nodule by a published risk calculator: from the least to the most possible value."""

    calculator: RiskCalculator
    lower: float
    """0..1."""
    upper: float
    """Equal to `lower` only where every input is known."""
    used: tuple[str, ...]
    """Inputs that were known, by name."""
    missing: tuple[str, ...]
    """Inputs that were not: the bounds lie over everything that they may be."""


@dataclass(frozen=True)
class NoduleGuidance:
    """What the rules say of one nodule."""

    ordinal: int
    """Of the finding."""
    lung_rads: tuple[str, ...] = ()
    """Categories that remain possible, least first; none where Lung-RADS is not applied."""
    risk: Risk | None = None


@dataclass(frozen=True)
class Guidance:
    """What the rules say of one exam."""

    purpose: Purpose
    because: str
    """What decided the purpose."""
    rules: tuple[str, ...]
    """Each rule that was applied, with its version."""
    sentences: tuple[str, ...]
    """For people, most important first."""
    lung_rads: tuple[str, ...] = ()
    """Categories of the exam that remain possible, least first; none where Lung-RADS is not applied."""
    nodules: tuple[NoduleGuidance, ...] = ()
