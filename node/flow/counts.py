"""What was told of studies to the catalog; archives are asked how many images a study has."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy.orm import Session

from node.catalog import announcements, audit, peers, studies
from node.catalog.session import Catalog
from node.dicom import query_scu
from node.dicom.store_scu import Patience
from node.domain.announcement import Announcement, StepState, Teller
from node.domain.audit import Detail, Event, EventKind, EventOutcome
from node.domain.peers import Destination, standing_of
from node.domain.reception import CountRefused, CountTold
from node.domain.study import OpenStudy
from node.errors import PeerFailed
from node.flow.destinations import doubted
from node.flow.loop import HANGS_AFTER_S, Loop, goes_on
from node.settings import Settings

log = logging.getLogger(__name__)

QUIET_FIRST = timedelta(seconds=1)
"""While images come, every count is short."""
ASKED_AGAIN_AFTER = timedelta(seconds=30)
"""Where the archive had more than is here, or did not answer."""
EVERY_S = 1.0
WAITS = 3
"""Of one question: for the association, the answer and the release."""
KEPT_FOR = timedelta(days=30)
"""What was told of a study of which no image came."""


def told(session: Session, event: CountTold) -> None:
    """A modality or an archive told, and was told that we have it."""
    count = Announcement(event.teller, event.uid, event.study_instance_uid, event.state, dict(event.series), event.at)
    known = announcements.told(session, count, event.calling_ae_title)
    if known is not None:
        _append(session, known, event.calling_ae_title, event.address)
    announcements.forget_before(session, event.at - KEPT_FOR)


def refused(session: Session, event: CountRefused) -> None:
    """Somebody told what cannot be taken."""
    detail: Detail = {"teller": event.teller, "uid": event.uid, "status": f"0x{event.status:04X}"}
    kind, outcome = EventKind.COUNT_REFUSED, EventOutcome.MINOR_FAILURE
    audit.append(session, Event(kind, outcome, event.calling_ae_title, event.address, detail=detail, at=event.at))


def _append(session: Session, count: Announcement, actor: str, address: str) -> None:
    detail: Detail = {
        "teller": str(count.teller),
        "uid": count.uid,
        "state": str(count.state),
        "series": len(count.series),
        "images": sum(count.series.values()),
    }
    kind, study = EventKind.COUNT_TOLD, count.study_instance_uid
    audit.append(session, Event(kind, actor=actor, address=address, study_instance_uid=study, detail=detail))


@dataclass(frozen=True)
class Counting:
    """Asks the archives of those senders that have one."""

    catalog: Catalog
    ask: Callable[[Destination, str], Mapping[str, int]]
    """Series Instance UID to instances, of a study. Raises PeerFailed."""
    now: Callable[[], datetime]
    _asked: dict[str, datetime] = field(default_factory=dict)
    """Of open studies, when it was tried last."""

    def step(self) -> bool:
        """Ask about each open study for which that is due. True when something was told."""
        with self.catalog.reading() as session:
            due = list(self._due(session))
        for study, archive in due:
            goes_on()
            self._ask(study, archive)
        return bool(due)

    def _due(self, session: Session) -> list[tuple[str, Destination]]:
        known = peers.senders(session)
        if not any(each.count_at for each in known):
            return []
        archives = {each.destination.ae_title: each.destination for each in peers.destinations(session)}
        opened, now, due = studies.open_studies(session), self.now(), []
        for gone in self._asked.keys() - {one.study_instance_uid for one in opened}:
            del self._asked[gone]
        for one in opened:
            sender = standing_of(known, one.calling_ae_title, one.address) if one.address else None
            archive = archives.get(sender.count_at) if sender else None
            if archive and now - one.last_received_at >= QUIET_FIRST and self._is_due(one, now):
                due.append((one.study_instance_uid, archive))
        return due

    def _is_due(self, one: OpenStudy, now: datetime) -> bool:
        asked = self._asked.get(one.study_instance_uid)
        return asked is None or asked < one.last_received_at or now - asked >= ASKED_AGAIN_AFTER

    def _ask(self, study: str, archive: Destination) -> None:
        now = self._asked[study] = self.now()
        try:
            series = self.ask(archive, study)
        except PeerFailed as error:
            doubted(self.catalog, archive, error)
            log.warning("an archive did not say how many images a study has", extra={"reason": str(error)})
            return
        count = Announcement(Teller.FIND, study, study, StepState.COMPLETED, series, now)
        with self.catalog.writing() as session:
            if announcements.told(session, count, archive.ae_title) is not None:
                _append(session, count, archive.ae_title, f"{archive.host}:{archive.port}")


def counting(catalog: Catalog, settings: Settings, then: Loop) -> Loop:
    """The loop that asks."""
    ask = partial(query_scu.count, settings.ae_title, Patience(answer_s=settings.answer_timeout_s))
    step = Counting(catalog, ask, lambda: datetime.now(UTC)).step
    hangs_after_s = HANGS_AFTER_S + WAITS * settings.answer_timeout_s
    return Loop("count", step, EVERY_S, then=[then], hangs_after_s=hangs_after_s)
