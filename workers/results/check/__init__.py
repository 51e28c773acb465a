"""Every result is read again before it may leave: bytes, and what they were made from, to the rules that they break."""

from workers.results.check.rules import Broken, Object, Rule, broken
from workers.results.check.table import RULES
from workers.results.check.twins import OF_EACH, is_twin
from workers.results.request import EncodedResult, ResultRequest

__all__ = ["RULES", "Broken", "Rule", "broken_rules"]


def broken_rules(
    encoded: EncodedResult, request: ResultRequest, first: EncodedResult | None = None
) -> tuple[Broken, ...]:
    """The rules that one encoded result breaks; none where it may leave. What else it holds than must be there does
    not matter. `first`: one of the same request that broke none; what has its bytes is not asked all of it again.
    """
    one = Object(encoded, request)
    if first is not None and is_twin(one, Object(first, request)):
        return broken(one, [rule for rule in RULES if rule.name in OF_EACH])
    return broken(one, RULES)
