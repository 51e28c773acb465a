"""`[[rules]]` and `[[aes]]` of nodus.toml: what is done with which study."""

from collections.abc import Callable
from datetime import date

from pydantic import BaseModel, ConfigDict, Field, field_validator

from node.domain.criteria import Criterion
from node.domain.job import HIGHEST_PRIORITY, LEAST_PRIORITY
from node.domain.route import Pipeline, Route
from node.domain.rules import Rule, caller
from node.settings.titles import AeTitle

Asked = str | int | float | date


class RouteSettings(BaseModel):
    """What is done with a study. What is not given is left to the next who has a say: rule, called AE title, sender."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    pipeline: Pipeline | None = None
    """`analyse`, or only `store`."""
    priority: int | None = Field(default=None, ge=LEAST_PRIORITY, le=HIGHEST_PRIORITY)
    """Of the analysis: each step goes before those below that came up to 10 minutes earlier."""
    destinations: tuple[AeTitle, ...] | None = None
    """AE titles of `[[destinations]]` that get the results; not given: every destination."""
    forward: tuple[AeTitle, ...] | None = None
    """AE titles of `[[destinations]]` that get the images as they came."""
    max_study_age_days: int | None = Field(default=None, ge=0)
    """Studies of a StudyDate before this are kept and not read."""

    def route(self) -> Route:
        """As the domain knows it."""
        return Route(self.pipeline, self.priority, self.destinations, self.forward, self.max_study_age_days)


class AeSettings(RouteSettings):
    """`[[aes]]`: an AE title of ours beside `ae_title`, or that one again, and what is done with what it gets."""

    ae_title: AeTitle
    """Called AE title."""


class RuleSettings(RouteSettings):
    """`[[rules]]`: the first rule that matches a study decides."""

    name: str = Field(min_length=1, max_length=64)
    """By which people know it."""
    sender: tuple[str, ...] = ()
    """AET or AET@NETWORK, * and ? stand for any characters of the AE title; a list where there are several."""
    called: tuple[AeTitle, ...] = ()
    """AE titles of ours that were called."""
    where: dict[str, Asked | list[Asked]] = Field(default_factory=dict)
    """DICOM keyword to what its value must be like, for one series of the study; see domain/criteria.py."""

    @field_validator("sender", "called", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    def rule(self, criterion_of: Callable[[str, list[Asked]], Criterion]) -> Rule:
        """As the domain knows it. Raises ValueError with a sentence, also what `criterion_of` raises."""
        where = (
            criterion_of(keyword, asked if isinstance(asked, list) else [asked])
            for keyword, asked in self.where.items()
        )
        return Rule(self.name, tuple(map(caller, self.sender)), self.called, tuple(where), self.route())
