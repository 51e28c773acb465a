"""Routing rules: which of them fires for a study, why the others do not, and which are wrong."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network

from node.domain.criteria import Criterion
from node.domain.peers import plain_address
from node.domain.route import Decision, Route

Attributes = Mapping[str, Sequence[str]]
"""Keyword to values; what is absent is not in it."""


@dataclass(frozen=True)
class Subject:
    """What rules ask of a study."""

    ae_title: str
    """Of who sent it last; empty where nobody knows."""
    address: str
    called_ae_title: str
    series: Sequence[Attributes] = ()
    """One image of each series."""


@dataclass(frozen=True)
class Caller:
    """Who may have sent a study: a pattern of AE titles, and a network."""

    ae_title: str = "*"
    network: str = ""
    """CIDR; empty: any."""

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.network}" if self.network else self.ae_title

    def is_like(self, ae_title: str, address: str) -> bool:
        """Whether somebody is one of them."""
        if not ae_title or not fnmatchcase(ae_title, self.ae_title.replace("[", "[[]")):
            return False
        return not self.network or (bool(address) and ip_address(plain_address(address)) in ip_network(self.network))


def caller(text: str) -> Caller:
    """AET or AET@NETWORK. Raises ValueError with a sentence."""
    ae_title, _, network = text.rpartition("@") if _is_network(text.rpartition("@")[2]) else (text, "", "")
    if not ae_title or len(ae_title) > 16:
        raise ValueError(f"sender {text!r} is no AE title or AET@NETWORK, such as CT1@10.0.0.5 or *@10.0.0.0/24")
    return Caller(ae_title, str(ip_network(network, strict=False)) if network else "")


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Rule:
    """What is to be done with the studies that it matches. Whatever it does not name does not matter."""

    name: str
    senders: tuple[Caller, ...] = ()
    called: tuple[str, ...] = ()
    where: tuple[Criterion, ...] = ()
    """All of them must hold for one series of the study."""
    route: Route = field(default_factory=Route)

    def misses(self, subject: Subject) -> str:
        """Why it does not match; empty where it does."""
        if self.senders and not any(each.is_like(subject.ae_title, subject.address) for each in self.senders):
            who = f"the sender is {subject.ae_title}@{subject.address}" if subject.ae_title else "no sender is known"
            return f"{who}, not {' or '.join(map(str, self.senders))}"
        if self.called and subject.called_ae_title not in self.called:
            who = f"{subject.called_ae_title} was called" if subject.called_ae_title else "no called AE title is known"
            return f"{who}, not {' or '.join(self.called)}"
        return self._misses_every(subject.series) if self.where else ""

    def _misses_every(self, series: Sequence[Attributes]) -> str:
        """Of the series that comes nearest, what is missing."""
        missed = [self._misses(of) for of in series]
        nearest: list[str] = min(missed, key=len, default=["there is no series yet"])
        return "; ".join(nearest)

    def _misses(self, series: Attributes) -> list[str]:
        values = {each: series.get(each.keyword, ()) for each in self.where}
        return [each.missed(found) for each, found in values.items() if not each.holds(found)]

    def matched(self) -> str:
        """What it asked for, for people."""
        parts = [*map(str, self.where)]
        parts += [f"sent by {' or '.join(map(str, self.senders))}"] if self.senders else []
        parts += [f"called {' or '.join(self.called)}"] if self.called else []
        return "; ".join(parts) or "it matches every study"

    def leaves_nothing_of(self, later: "Rule") -> bool:
        """Whether whatever a later rule matches is matched by this one before."""
        who = not self.senders or (set(later.senders) and set(later.senders) <= set(self.senders))
        where = not self.called or (later.called and set(later.called) <= set(self.called))
        return bool(who and where) and set(self.where) <= set(later.where)


@dataclass(frozen=True)
class Verdict:
    """What became of one rule."""

    rule: str
    fired: bool
    why: str


@dataclass(frozen=True)
class RuleBook:
    """Every rule of a site, in order, and the routing of its AE titles."""

    rules: tuple[Rule, ...] = ()
    aes: Mapping[str, Route] = field(default_factory=dict)
    """What the called AE title says, where the rule that fired leaves it open."""

    def decide(self, subject: Subject) -> Decision:
        """The first rule that matches, completed by the called AE title."""
        fired = next((rule for rule in self.rules if not rule.misses(subject)), None)
        called = self.aes.get(subject.called_ae_title, Route())
        if fired is not None:
            return Decision(fired.name, fired.matched(), fired.route.over(called))
        if called != Route():
            return Decision("", f"AE title {subject.called_ae_title} was called", called)
        return Decision()

    def explain(self, subject: Subject) -> list[Verdict]:
        """What became of each rule."""
        verdicts: list[Verdict] = []
        fired = ""
        for rule in self.rules:
            missed = rule.misses(subject)
            if missed or fired:
                verdicts.append(Verdict(rule.name, False, missed or f"it matches too, but rule {fired!r} comes first"))
            else:
                fired = rule.name
                verdicts.append(Verdict(rule.name, True, rule.matched()))
        return verdicts

    @property
    def reads_images(self) -> bool:
        """Whether some rule asks for attributes."""
        return any(rule.where for rule in self.rules)

    def troubles(self, ae_titles: Collection[str], destinations: Collection[str]) -> Iterator[str]:
        """Sentences, one for each thing that is wrong. `destinations`: AE titles of the settings."""
        for place, rule in enumerate(self.rules):
            earlier = self.rules[:place]
            if any(each.name == rule.name for each in earlier):
                yield f"Rule {rule.name!r} is there twice: give each a name of its own."
            blocking = next((each.name for each in earlier if each.leaves_nothing_of(rule)), "")
            if blocking:
                yield f"Rule {rule.name!r} is never reached: rule {blocking!r} before it matches all that it does."
            for title in set(rule.called) - set(ae_titles):
                yield f"Rule {rule.name!r} asks for called AE title {title}, which is none of ours: name it in [[aes]]."
            yield from _unknown(f"Rule {rule.name!r}", rule.route, destinations)
        for title, route in self.aes.items():
            yield from _unknown(f"AE title {title}", route, destinations)


def _unknown(who: str, route: Route, destinations: Collection[str]) -> Iterator[str]:
    for title in dict.fromkeys([*(route.destinations or ()), *(route.forward or ())]):
        if title not in destinations:
            yield f"{who} sends to {title}, which is no destination: name it in [[destinations]]."
