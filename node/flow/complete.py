"""Enough evidence to complete to job: series are judged, the best is chosen, and a study ends in an outcome."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy.orm import Session

from node.catalog import audit, jobs, outbox, peers, studies
from node.catalog.revisions import Plan, open_revision, tell_not_analysed
from node.catalog.session import Catalog
from node.domain.audit import Event, EventKind
from node.domain.completeness import Activity, Evidence, Patience, evidence
from node.domain.eligibility import Eligibility, best, judge, may_be_chest
from node.domain.job import JobKind, JobState
from node.domain.peers import Sender, standing_of
from node.domain.reception import OpenAssociations
from node.domain.stack import stack_of
from node.domain.study import OpenSeries, OpenStudy

CONFLICT = "Images came twice with different content; a person must decide which are right."

LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Clock:
    """When it is, up to when the catalog knows everything that came, and since when it can come at all."""

    now: Callable[[], datetime]
    registered_until: Callable[[datetime], datetime] = lambda now: now
    listening_since: datetime = LONG_AGO


@dataclass(frozen=True)
class _Watch:
    """What evidence is judged by, at one moment."""

    senders: Sequence[Sender]
    associations: OpenAssociations
    now: datetime
    listening_since: datetime

    def evidence(self, one: OpenSeries | OpenStudy, gapless: Callable[[], bool]) -> Evidence | None:
        """Why it is complete, if it is. Time when nobody listened is no quiet time; `gapless` is asked last."""
        activity = Activity(
            first_received_at=max(one.first_received_at, self.listening_since),
            last_received_at=max(one.last_received_at, self.listening_since),
            gapless=True,
            released=self.associations.done(one.last_association_id, one.calling_ae_title, one.address),
        )
        patience = _patience(self.senders, one.calling_ae_title, one.address)
        why = evidence(activity, patience, self.now)
        if why is Evidence.GAPLESS and not gapless():
            why = evidence(replace(activity, gapless=False), patience, self.now)
        return why


def step(catalog: Catalog, associations: OpenAssociations, clock: Clock) -> bool:
    """Close what is complete, one transaction for each series and study. True when something was closed."""
    now = clock.registered_until(clock.now())
    with catalog.reading() as session:
        watch = _Watch(peers.senders(session), associations, now, clock.listening_since)
        closing = _complete_series(session, watch)
        ready = _complete_studies(session, watch)
    closed = False
    for series, why in closing:
        with catalog.writing() as session:
            closed |= _close_series(session, series, why, now)
    for study, why in ready:
        with catalog.writing() as session:
            closed |= _close_study(session, study, why, now)
    return closed


def _complete_series(session: Session, watch: _Watch) -> list[tuple[OpenSeries, Evidence]]:
    found = []
    for one in studies.open_series(session):
        if why := watch.evidence(one, partial(_is_gapless, session, one.id)):
            found.append((one, why))
    return found


def _complete_studies(session: Session, watch: _Watch) -> list[tuple[OpenStudy, Evidence]]:
    closed = [one for one in studies.open_studies(session) if not one.series_open]
    return [(one, why) for one in closed if (why := watch.evidence(one, partial(bool, one.gapless)))]


def _patience(senders: Sequence[Sender], ae_title: str, address: str) -> Patience:
    sender = standing_of(senders, ae_title, address) if address else None
    if sender is None:
        return Patience()
    return Patience(timedelta(seconds=sender.gapless_quiet_s), timedelta(seconds=sender.quiet_s))


def _is_gapless(session: Session, series_id: int) -> bool:
    stack = stack_of([frame for h in studies.headers_of_series(session, series_id) if h.ct for frame in h.ct.frames])
    return stack is not None and stack.gapless


def _close_series(session: Session, one: OpenSeries, why: Evidence, now: datetime) -> bool:
    if not studies.close_series(session, one, why):
        return False
    verdict = judge(studies.headers_of_series(session, one.id))
    studies.keep_verdict(session, one.id, verdict)
    detail = {"series": one.series_instance_uid, "evidence": str(why), "eligibility": str(verdict.level)}
    uid = studies.study_uid(session, one.study_id)
    audit.append(session, Event(EventKind.SERIES_COMPLETE, study_instance_uid=uid, detail=detail))
    _read_best(session, one.study_id, now)
    return True


def choose(verdicts: dict[int, tuple[str, Eligibility]]) -> int | None:
    """The series to read: the best of those that are complete and eligible."""
    uid = best(verdicts.values())
    return next((series_id for series_id, (series_uid, _) in verdicts.items() if series_uid == uid), None)


@dataclass(frozen=True)
class _Best:
    """The series to read."""

    series_id: int
    digest: str
    in_conflict: bool
    """Some image of it came twice with different content: nothing is read before a person has decided."""


def _best(session: Session, study_id: int) -> _Best | None:
    verdicts = studies.verdicts_of_study(session, study_id)
    chosen = choose(verdicts)
    if chosen is None:
        return None
    return _Best(chosen, verdicts[chosen][1].digest, studies.has_conflict(session, chosen))


def _read_best(session: Session, study_id: int, now: datetime) -> None:
    """Open a revision when the images to read are others than those of the job that stands.

    Not while the series of that job is open again: what came may be nothing that is read.
    """
    standing = jobs.current(session, study_id)
    if standing is not None and standing.series_id is not None and studies.is_open(session, standing.series_id):
        return
    one = _best(session, study_id)
    if one is not None and not one.in_conflict and (standing is None or standing.digest != one.digest):
        open_revision(session, Plan(study_id, JobKind.ANALYSIS, one.series_id, one.digest), now)
        studies.set_outcome(session, study_id, "", ())


def _close_study(session: Session, one: OpenStudy, why: Evidence, now: datetime) -> bool:
    if not studies.close_study(session, one, why, now):
        return False
    detail = {"evidence": str(why)}
    audit.append(session, Event(EventKind.STUDY_COMPLETE, study_instance_uid=one.study_instance_uid, detail=detail))
    if not _is_told(session, one.id):
        _end_unread(session, one, now)
    return True


def _is_told(session: Session, study_id: int) -> bool:
    """Whether a job stands that says, or will say, what there is to say of a complete study.

    A reading that is out already is not taken back by a conflict: the first version of an image stays the right one.
    """
    standing = jobs.current(session, study_id)
    if standing is None or standing.kind is JobKind.NOTICE:
        return standing is not None
    one = _best(session, study_id)
    if one is None or one.digest != standing.digest:
        return False
    return not one.in_conflict or (standing.state is JobState.DONE and not outbox.is_held(session, standing.id))


def _end_unread(session: Session, one: OpenStudy, now: datetime) -> None:
    """Nothing in the study can be read: say why, and tell the PACS where somebody may have waited for a reading."""
    ct_series = studies.ct_series_ids(session, one.id)
    if not ct_series:
        tell_not_analysed(session, one.id, ("There is no CT image in the study.",), now, notice=False)
        return
    headers = [header for series_id in ct_series for header in studies.headers_of_series(session, series_id)]
    verdicts = studies.verdicts_of_study(session, one.id)
    reasons = dict.fromkeys(reason for series_id in ct_series for reason in verdicts[series_id][1].reasons)
    if choose(verdicts) is not None:
        reasons = {CONFLICT: None}  # it could be read otherwise
    tell_not_analysed(session, one.id, tuple(reasons), now, notice=may_be_chest(headers))
