"""Images that were told of and did not come to images that are here: an archive that may have them is asked."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from node.catalog import announcements, audit, missing, peers, prefetch, studies
from node.catalog.session import Catalog
from node.dicom.archive_scu import Archive
from node.domain.audit import Detail, Event, EventKind, EventOutcome
from node.domain.completeness import patience_of
from node.domain.missing import is_due, lacking
from node.domain.study import OpenStudy
from node.errors import PeerFailed
from node.flow.loop import Loop, goes_on
from node.flow.prefetch import asks
from node.settings import Settings

log = logging.getLogger(__name__)

EVERY_S = 1.0
NO_MORE = "it has no more of the study than is here."
Lacking = tuple[OpenStudy, list[str]]
"""A study, and Series Instance UIDs of what it lacks images of."""


@dataclass(frozen=True)
class Fetching:
    """One archive, and the studies that lack images."""

    catalog: Catalog
    ae_title: str
    """Ours: where it is to send to."""
    archive: str
    """Its AE title."""
    connect: Callable[[], AbstractContextManager[Archive]]
    now: Callable[[], datetime]

    def step(self) -> bool:
        """Ask for what each study lacks of which that is due. True when something was asked.

        It waits for nothing that comes: the study is complete when its images are counted. An archive that cannot be
        reached is called once in a turn.
        """
        with self.catalog.reading() as session:
            due = self._due(session)
        down = ""
        for study, series in due:
            goes_on()
            with self.catalog.writing() as session:
                missing.begin(session, study, self.archive, self.now())
            if down:
                self._failed(study, down)
            else:
                down = self._ask(study, series)
        return bool(due)

    def _due(self, session: Session) -> list[Lacking]:
        told = announcements.counts_of_open(session)
        if not told:
            return []
        senders, now, due = peers.senders(session), self.now(), []
        for one in studies.open_studies(session):
            quiet = patience_of(senders, one.calling_ae_title, one.address).quiet
            if one.id not in told or not is_due(one, missing.of_study(session, one.id), quiet, now):
                continue
            series = lacking(told[one.id], studies.count_by_series(session, one.id))
            if series and not prefetch.is_prior(session, one.id):
                due.append((one, series))
        return due

    def _ask(self, study: OpenStudy, series: Sequence[str]) -> str:
        """Ask for one study; returns why the archive cannot be reached, or nothing."""
        reached = False
        try:
            with self.connect() as archive:
                reached = True
                self._fetch(study, series, archive)
        except PeerFailed as error:
            self._failed(study, str(error))
            return "" if reached else str(error)
        return ""

    def _fetch(self, study: OpenStudy, series: Sequence[str], archive: Archive) -> None:
        wanted = self._not_here({uid: archive.images_of(study.study_instance_uid, uid) for uid in series})
        number = sum(map(len, wanted.values()))
        if not number:
            self._ended(study, EventKind.MISSING_NOT_FETCHED, NO_MORE)
            return
        with self.catalog.writing() as session:  # before it sends: what comes is known for what it is
            missing.coming(session, study.id, [uid for uids in wanted.values() for uid in uids])
            self._record(session, study, EventKind.MISSING_ASKED_FOR, {"images": number})
        for uid, uids in wanted.items():
            archive.send_images_to(self.ae_title, study.study_instance_uid, uid, uids)
        self._ended(study, EventKind.MISSING_FETCHED, f"it sent what it has of them: {number}.")

    def _not_here(self, found: Mapping[str, set[str]]) -> dict[str, list[str]]:
        """Of the images that an archive has of each series, those that never came."""
        with self.catalog.reading() as session:
            here = missing.here(session, set[str]().union(*found.values()))
        return {uid: sorted(uids - here) for uid, uids in found.items()}

    def _failed(self, study: OpenStudy, reason: str) -> None:
        told = {"study": study.study_instance_uid, "reason": reason}
        log.warning("missing images were not fetched", extra=told)
        self._ended(study, EventKind.MISSING_NOT_FETCHED, reason)

    def _ended(self, study: OpenStudy, kind: EventKind, said: str) -> None:
        with self.catalog.writing() as session:
            missing.ended(session, study.id, said)
            self._record(session, study, kind, {"said": said})

    def _record(self, session: Session, study: OpenStudy, kind: EventKind, detail: Detail) -> None:
        outcome = EventOutcome.MINOR_FAILURE if kind is EventKind.MISSING_NOT_FETCHED else EventOutcome.SUCCESS
        said = {"archive": self.archive, **detail}
        audit.append(session, Event(kind, outcome, study_instance_uid=study.study_instance_uid, detail=said))


def loops(settings: Settings, catalog: Catalog) -> list[Loop]:
    """One where the settings name an archive."""
    archive, title = settings.archive, settings.ae_title
    if archive is None:
        return []
    fetching = Fetching(catalog, title, archive.ae_title, asks(settings, catalog, archive), lambda: datetime.now(UTC))
    return [Loop("missing", fetching.step, EVERY_S)]
