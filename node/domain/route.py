"""What is done with a study: whether it is read, how soon, and who gets its results and its images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class Pipeline(StrEnum):
    """What becomes of the images of a study."""

    ANALYSE = "analyse"
    """They are read, where they can be."""
    STORE = "store"
    """They are kept, and forwarded where that is asked for; nothing is read."""


@dataclass(frozen=True)
class Route:
    """What somebody says of a study. None: they leave it to the next who has a say."""

    pipeline: Pipeline | None = None
    priority: int | None = None
    """Of the analysis."""
    destinations: tuple[str, ...] | None = None
    """AE titles of those that get the results; None: every destination."""
    forward: tuple[str, ...] | None = None
    """AE titles of destinations that get the images as they came."""
    max_study_age_days: int | None = None
    """Older studies are kept and not read."""

    def over(self, other: "Route") -> "Route":
        """This, and what the other says where this leaves it open."""
        return replace(other, **{name: value for name, value in vars(self).items() if value is not None})


@dataclass(frozen=True)
class Decision:
    """What was decided about a study, and by what."""

    rule: str = ""
    """Name of the rule that fired; empty where none did."""
    why: str = "no rule fired"
    route: Route = field(default_factory=Route)

    def said(self) -> str:
        """Who decided, for people."""
        return f"rule {self.rule!r} says so" if self.rule else self.why

    def kept(self) -> dict[str, Any]:
        """As it stands in SQL; nothing where nothing was decided."""
        return {} if self == Decision() else {"rule": self.rule, "why": self.why, **vars(self.route)}


def decision_of(kept: Mapping[str, Any]) -> Decision:
    """The opposite of `kept`."""
    if not kept:
        return Decision()
    pipeline, priority = kept.get("pipeline"), kept.get("priority")
    route = Route(
        Pipeline(pipeline) if pipeline else None,
        priority,
        _titles(kept.get("destinations")),
        _titles(kept.get("forward")),
        kept.get("max_study_age_days"),
    )
    return Decision(kept["rule"], kept["why"], route)


def _titles(kept: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if kept is None else tuple(kept)
