"""Study to be read to an earlier exam of its patient: an archive is asked, and what it sends is kept, not read."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy.orm import Session

from node.catalog import audit, prefetch
from node.catalog.instant import now_of
from node.catalog.session import Catalog
from node.dicom import archive_scu
from node.dicom.store_scu import Patience
from node.domain.audit import Event, EventKind, EventOutcome
from node.domain.eligibility import CHEST_WORDS, OTHER_BODY_PARTS
from node.domain.prefetch import ArchivedStudy, Fetch, Wanted
from node.domain.prior import Person, days_between, is_same_person
from node.errors import PeerFailed
from node.flow.destinations import doubted
from node.flow.loop import Loop, goes_on
from node.settings import Settings
from node.settings.priors import ArchiveSettings

log = logging.getLogger(__name__)

EVERY_S = 0.5
TOO_LATE = "it took too long."
NO_ID = "the patient has no id that can be asked for."
WILD = frozenset("*?\\")
"""Would be taken for "anything" by an archive (PS3.4 C.2.2.2.4), or for several ids."""
EVENTS = {
    Fetch.COMING: EventKind.PRIOR_ASKED_FOR,
    Fetch.FETCHED: EventKind.PRIOR_FETCHED,
    Fetch.NOTHING: EventKind.NO_PRIOR_IN_ARCHIVE,
    Fetch.FAILED: EventKind.PRIORS_NOT_FETCHED,
}


class Archive(Protocol):
    """An open association to an archive."""

    def studies_of(self, person: Person) -> list[ArchivedStudy]:
        """What it has of a patient. Raises PeerFailed."""

    def send_to(self, ae_title: str, study_instance_uid: str) -> None:
        """Have it send a study. Raises PeerFailed."""


def earlier_exams(wanted: Wanted, answers: Sequence[ArchivedStudy], most_days: int) -> list[ArchivedStudy]:
    """Of what an archive has: CTs of this very patient, from before and not too old, that may show a chest. Those that
    say so first, each kind with the newest first."""
    found = []
    for each in answers:
        days = days_between(each.study_date, wanted.study_date)
        person = replace(each.person, issuer=each.person.issuer or wanted.person.issuer)  # few archives tell it
        if days is None or days > most_days or not each.study_instance_uid or not is_same_person(person, wanted.person):
            continue
        says_chest = bool(CHEST_WORDS.search(each.description))
        if each.modalities and "CT" not in each.modalities:
            continue
        if says_chest or not OTHER_BODY_PARTS.search(each.description):
            found.append((not says_chest, days, each.study_instance_uid, each))
    return [each for *_, each in sorted(found, key=lambda one: one[:3])]


@dataclass(frozen=True)
class Prefetch:
    """One archive, and the studies that wait for what it has."""

    catalog: Catalog
    ae_title: str
    """Ours: where it is to send to."""
    archive: str
    """Its AE title."""
    connect: Callable[[], AbstractContextManager[Archive]]
    most_days: int

    def step(self) -> bool:
        """Go on with every look for an earlier exam. True when one came to an end, so that its reading can begin.

        An archive that fails is asked once in a turn: the others that wait would wait for the same.
        """
        with self.catalog.reading() as session:
            waiting, now = prefetch.open_ones(session), now_of(session)
        ended, down = False, ""
        for wanted in waiting:
            goes_on()
            if wanted.state is Fetch.COMING:
                ended |= self._look(wanted, now)
            elif down or now >= wanted.until:
                ended |= self._advance(wanted, Fetch.FAILED, down or TOO_LATE)
            else:
                down = self._ask(wanted)
                ended = True
        return ended

    def _look(self, wanted: Wanted, now: datetime) -> bool:
        """Whether what was sent is all here."""
        with self.catalog.reading() as session:
            complete = prefetch.is_complete(session, wanted.prior_study_instance_uid)
        if complete:
            return self._advance(wanted, Fetch.FETCHED)
        return now >= wanted.until and self._advance(wanted, Fetch.FAILED, TOO_LATE)

    def _ask(self, wanted: Wanted) -> str:
        """Ask for one; returns why the archive failed, or nothing."""
        if not wanted.person.patient_id.strip() or WILD & set(wanted.person.patient_id):
            self._advance(wanted, Fetch.FAILED, NO_ID)
            return ""
        try:
            with self.connect() as archive:
                return self._fetch(wanted, archive)
        except PeerFailed as error:
            reason = str(error)
            log.warning("the archive failed", extra={"study": wanted.study_instance_uid, "reason": reason})
            self._advance(wanted, Fetch.FAILED, reason)
            return reason

    def _fetch(self, wanted: Wanted, archive: Archive) -> str:
        exams = earlier_exams(wanted, archive.studies_of(wanted.person), self.most_days)
        with self.catalog.reading() as session:
            here = prefetch.here(session, [each.study_instance_uid for each in exams])
        begun = wanted.prior_study_instance_uid  # before the node was stopped in the middle of it
        if not exams or (exams[0].study_instance_uid in here and exams[0].study_instance_uid != begun):
            self._advance(wanted, Fetch.NOTHING)
            return ""
        uid = exams[0].study_instance_uid
        with self.catalog.writing() as session:  # before it sends: what comes is known for what it is
            prefetch.coming(session, wanted, uid)
        archive.send_to(self.ae_title, uid)
        self._advance(replace(wanted, prior_study_instance_uid=uid), Fetch.COMING)
        return ""

    def _advance(self, wanted: Wanted, then: Fetch, reason: str = "") -> bool:
        with self.catalog.writing() as session:
            prefetch.advance(session, wanted, then, reason)
            self._record(session, wanted, then, reason)
        return True

    def _record(self, session: Session, wanted: Wanted, then: Fetch, reason: str) -> None:
        failed = EventOutcome.MINOR_FAILURE if then is Fetch.FAILED else EventOutcome.SUCCESS
        detail = {"archive": self.archive, "prior": wanted.prior_study_instance_uid, "reason": reason}
        said = {key: value for key, value in detail.items() if value}
        uid = wanted.study_instance_uid
        audit.append(session, Event(EVENTS[then], failed, study_instance_uid=uid, detail=said))


def asks(
    settings: Settings, catalog: Catalog, archive: ArchiveSettings
) -> Callable[[], AbstractContextManager[archive_scu.Archive]]:
    """Associates with an archive, whatever it is asked for."""
    patience, to = Patience(archive.connect_timeout_s, archive.wait_s), archive.destination(settings.secured)

    @contextmanager
    def call() -> Iterator[archive_scu.Archive]:
        try:
            with archive_scu.connected(settings.ae_title, patience, to) as asked:
                yield asked
        except PeerFailed as error:
            doubted(catalog, to, error)
            raise

    return call


def prior_wait(settings: Settings) -> timedelta:
    """How long a reading waits for what an archive may have; 0 where none is asked."""
    return timedelta(seconds=settings.archive.wait_s if settings.archive and settings.priors.compare else 0)


def prior_loops(settings: Settings, catalog: Catalog, then: Loop) -> list[Loop]:
    """One where the settings name an archive, and compare what it has; `then` lets readings begin."""
    archive, title = settings.archive, settings.ae_title
    if archive is None or not prior_wait(settings):
        return []
    asking = Prefetch(catalog, title, archive.ae_title, asks(settings, catalog, archive), settings.priors.max_age_days)
    return [Loop("prefetch", asking.step, EVERY_S, then=[then])]
