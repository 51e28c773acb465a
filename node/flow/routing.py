"""Rules of the settings to decisions about studies: read once, again on SIGHUP, and asked whenever a series closes."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session

from node.catalog import audit, forwards, prefetch, routes, studies
from node.domain.audit import Detail, Event, EventKind
from node.domain.peers import Sender
from node.domain.rules import Attributes, RuleBook, Subject
from node.errors import BadInput, SettingsError
from node.headers.attributes import attributes_of, criterion_of
from node.settings import Settings

log = logging.getLogger(__name__)

NO_PRIORS = "not forwarded, because we fetched it as an earlier exam"
SAMPLES = 3
"""Images of a series that are looked at until one can be read."""


def book_of(settings: Settings) -> RuleBook:
    """The rules of the settings. Raises SettingsError with the first thing that is wrong."""
    rules = []
    for each in settings.rules:
        try:
            rules.append(each.rule(criterion_of))
        except ValueError as error:
            raise SettingsError(f"Rule {each.name!r}: {error}.") from None
    titles = [each.ae_title for each in settings.aes]
    ours = {settings.ae_title, *titles}
    for sender in settings.senders:
        if unknown := next((title for title in sender.called if title not in ours), ""):
            raise SettingsError(f"Sender {sender.ae_title} may call {unknown}, which is none of ours: see [[aes]].")
    if twice := next((title for title in titles if titles.count(title) > 1), ""):
        raise SettingsError(f"AE title {twice} is there twice in [[aes]].")
    book = RuleBook(tuple(rules), {each.ae_title: each.route() for each in settings.aes})
    trouble = next(book.troubles([settings.ae_title, *titles], [each.ae_title for each in settings.destinations]), "")
    if trouble:
        raise SettingsError(trouble)
    return book


@dataclass
class Router:
    """Decides about studies by the rules as they are now."""

    book: RuleBook = field(default_factory=RuleBook)
    absolute: Callable[[str], Path] = Path
    """Where a file of the spool is."""

    def decide(self, session: Session, study_id: int, now: datetime) -> None:
        """A series of a study is complete: keep what the rules say of the study, and let its images go where they say.

        Raises OSError where images cannot be read now.
        """
        ae_title, address, called = routes.caller(session, study_id)
        subject = Subject(ae_title, address, called, self._series(session, study_id))
        decision = self.book.decide(subject)
        if decision.route.forward and prefetch.is_prior(session, study_id):  # whoever it came from has it
            why, route = f"{decision.why}; {NO_PRIORS}", replace(decision.route, forward=())
            decision = replace(decision, why=why, route=route)
        if routes.keep(session, study_id, decision):
            route, uid = decision.route, studies.study_uid(session, study_id)
            detail: Detail = {"rule": decision.rule, "why": decision.why, "pipeline": route.pipeline,
                              "forward": " ".join(route.forward or ())}  # fmt: skip
            audit.append(session, Event(EventKind.STUDY_ROUTED, study_instance_uid=uid, detail=detail, at=now))
        forwards.plan(session, study_id, decision.route.forward or (), now)

    def _series(self, session: Session, study_id: int) -> Sequence[Attributes]:
        if not self.book.reads_images:
            return ()
        keywords = {each.keyword for rule in self.book.rules for each in rule.where}
        return [self._attributes(paths, keywords) for paths in routes.samples(session, study_id, SAMPLES).values()]

    def _attributes(self, paths: Sequence[str], keywords: set[str]) -> Mapping[str, Sequence[str]]:
        """Of the first image that can be read; none where they are all damaged or lost."""
        for path in paths:
            file = self.absolute(path)
            try:
                return attributes_of(file, keywords)
            except (BadInput, FileNotFoundError) as error:
                if isinstance(error, FileNotFoundError) and not file.parent.is_dir():
                    raise  # a volume is away, and may come back
                log.error("rules cannot read an image", extra={"file": file.name, "error": type(error).__name__})
        return {}


class Rules:
    """Reads the settings again for the parts that follow them while the node runs."""

    def __init__(self, started: Settings, router: Router, read: Callable[[], Settings]) -> None:
        self._started = started
        self._router = router
        self._read = read

    def senders(self) -> list[Sender]:
        """The senders of the settings as they are now; from now on their rules are used, too.

        Which destinations and AE titles there are stays as it was when the node started. Raises SettingsError, and
        keeps the old rules.
        """
        settings, titles = self._read(), {each.ae_title for each in self._started.aes}
        if {each.ae_title for each in settings.aes} != titles:
            raise SettingsError("AE titles in [[aes]] come and go with a restart of the node only.")
        fixed = {name: getattr(self._started, name) for name in ("ae_title", "destinations")}
        self._router.book = book_of(settings.model_copy(update=fixed))
        log.info("the settings were read again: senders and rules", extra={"rules": len(settings.rules)})
        return settings.all_senders()
