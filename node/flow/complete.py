"""Enough evidence to complete to job: series are judged, the best is chosen, and a study ends in an outcome."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from node.catalog import announcements, audit, jobs, outbox, peers, prefetch, routes, studies
from node.catalog.instant import now_of
from node.catalog.revisions import Plan, open_revision, tell_not_analysed
from node.catalog.session import Catalog
from node.domain.announcement import NOBODY_TOLD, Count, Tally, count_of_study
from node.domain.audit import Detail, Event, EventKind
from node.domain.completeness import Evidence
from node.domain.eligibility import Eligibility, are_of_one_patient, best, judge, may_be_chest
from node.domain.instance import InstanceHeader
from node.domain.job import JobKind, JobState
from node.domain.peers import standing_of
from node.domain.reception import OpenAssociations
from node.domain.retention import REMOVED
from node.domain.route import Pipeline
from node.domain.study import OpenSeries, OpenStudy, age_days
from node.flow.clock import Clock
from node.flow.evidence import Shape, Watch, gap_of
from node.flow.loop import Apart
from node.flow.routing import Router

CONFLICT = "Images came twice with different content; a person must decide which are right."
FETCHED = "An earlier exam that was fetched from the archive: kept for comparison, not read."
NOT_GAPLESS = "not every series is a gapless stack"
Told = Mapping[int, Mapping[str, Count]]
"""Study id to Series Instance UID to what was told of it."""
IN_ONE_TURN = 50
"""Series, and studies, closed before we look again: after a rush, what comes now must not wait for all of it."""


def step(
    catalog: Catalog,
    associations: OpenAssociations,
    clock: Clock,
    router: Router | None = None,
    prior_wait: timedelta = timedelta(0),
) -> bool:
    """Close what is complete, one transaction for each series and study. True when something was closed.

    `prior_wait`: how long a reading waits for earlier exams that an archive may have; 0: none is asked.
    """
    clock.follow(catalog)
    now = clock.registered_until(clock.now())
    apart, series_closed, studies_closed = Apart(), 0, 0
    with catalog.reading() as looking:
        watch = Watch(peers.senders(looking), associations, now, clock.listening_since, router or Router(), prior_wait)
        told = announcements.counts_of_open(looking)
        ready = _complete_studies(looking, watch, told)
        for series, why, count in _complete_series(looking, watch, told, apart):
            with apart.one(), catalog.writing() as session:
                series_closed += _close_series(session, series, why, watch, count)
            if series_closed == IN_ONE_TURN:
                break
    for study, why, count in ready:
        with apart.one(), catalog.writing() as session:
            studies_closed += _close_study(session, study, why, watch, count)
        if studies_closed == IN_ONE_TURN:
            break
    apart.end()
    return bool(series_closed or studies_closed)


def _complete_series(
    session: Session, watch: Watch, told: Told, apart: Apart
) -> Iterator[tuple[OpenSeries, Evidence, Count]]:
    for one in studies.open_series(session):
        why = None
        count = told.get(one.study_id, {}).get(one.series_instance_uid, NOBODY_TOLD)
        with apart.one(DBAPIError):  # they share a session
            why = watch.evidence(one, partial(_shape, session, one), _tally_of_series(session, one, count))
        if why:
            yield one, why, count


def _tally_of_series(session: Session, one: OpenSeries, count: Count) -> Tally:
    if not count.expected:
        return Tally.UNKNOWN
    return count.tally(studies.count_images(session, one.study_id, one.id))


def _shape(session: Session, one: OpenSeries) -> Shape:
    pause = studies.usual_pause(session, one.id, one.first_received_at)
    return Shape(gap_of(studies.headers_of_series(session, one.id)), pause)


def _complete_studies(session: Session, watch: Watch, told: Told) -> list[tuple[OpenStudy, Evidence, Count]]:
    complete = []
    for one in studies.open_studies(session):
        if not one.series_open:
            count, tally = _count_of_study(session, one, told)
            if why := watch.evidence(one, partial(Shape, _gap_of_study(one)), tally):
                complete.append((one, why, count))
    return complete


def _count_of_study(session: Session, one: OpenStudy, told: Told) -> tuple[Count, Tally]:
    if one.id not in told:
        return NOBODY_TOLD, Tally.UNKNOWN
    here = studies.count_by_series(session, one.id)
    count = count_of_study(told[one.id], here)
    return count, count.tally(sum(here.values()))


def _gap_of_study(one: OpenStudy) -> str:
    return "" if one.gapless else NOT_GAPLESS


def _close_series(session: Session, one: OpenSeries, why: Evidence, watch: Watch, count: Count) -> bool:
    uid = studies.study_uid(session, one.study_id)
    studies.lock(session, uid)  # before its images are read: one that was told late leaves the time of the last alone
    headers = studies.headers_of_series(session, one.id)
    grounds = watch.grounds(one, studies.count_images(session, one.study_id, one.id), gap_of(headers), count)
    if not studies.close_series(session, one, why, grounds):
        return False
    verdict = judge(headers)
    studies.keep_verdict(session, one.id, verdict)
    detail: Detail = {
        "series": one.series_instance_uid,
        "evidence": str(why),
        "images": grounds.images,
        "eligibility": str(verdict.level),
    }
    audit.append(session, Event(EventKind.SERIES_COMPLETE, study_instance_uid=uid, detail=detail))
    watch.router.decide(session, one.study_id, watch.now)
    _read_best(session, one.study_id, watch)
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
    has_removed: bool
    """Retention has removed some image of it: nothing is read before all have come again."""


def _best(session: Session, study_id: int) -> _Best | None:
    verdicts = studies.verdicts_of_study(session, study_id)
    chosen = choose(verdicts)
    if chosen is None:
        return None
    in_conflict, removed = studies.has_conflict(session, chosen), studies.has_removed(session, chosen)
    return _Best(chosen, verdicts[chosen][1].digest, in_conflict, removed)


def _read_best(session: Session, study_id: int, watch: Watch) -> None:
    """Open a revision when the images to read are others than those of the job that stands.

    Not while the series of that job is open again: what came may be nothing that is read.
    """
    standing = jobs.current(session, study_id)
    if standing is not None and standing.series_id is not None and studies.is_open(session, standing.series_id):
        return
    one = _best(session, study_id)
    if one is None or one.in_conflict or one.has_removed or _why_kept(session, study_id, watch):
        return
    if standing is None or standing.digest != one.digest:
        wait = watch.prior_wait if _asks_for_priors(session, study_id, watch) else timedelta(0)
        open_revision(session, Plan(study_id, JobKind.ANALYSIS, one.series_id, one.digest, wait=wait), watch.now)
        studies.set_outcome(session, study_id, "", ())


def _asks_for_priors(session: Session, study_id: int, watch: Watch) -> bool:
    return bool(watch.prior_wait) and prefetch.want(session, study_id, now_of(session) + watch.prior_wait)


def _why_kept(session: Session, study_id: int, watch: Watch) -> str:
    """Why a study is only kept: we fetched it ourselves, a rule or its sender says so, or its sender's studies of this
    age are prefetched priors; empty where it is to be read. What was decided goes before what its sender has."""
    if prefetch.is_prior(session, study_id):
        return FETCHED
    ae_title, address = studies.last_caller(session, study_id)
    sender, decision = standing_of(watch.senders, ae_title, address) if address else None, routes.of(session, study_id)
    pipeline = decision.route.pipeline or (sender.pipeline if sender else Pipeline.ANALYSE)
    if pipeline is Pipeline.STORE:
        who = decision.said() if decision.route.pipeline else "its sender in the settings says so"
        return f"Kept, not read: {who}."
    limit = decision.route.max_study_age_days
    if limit is None and sender:
        limit = sender.max_study_age_days
    return _too_old(session, study_id, limit, watch)


def _too_old(session: Session, study_id: int, limit: int | None, watch: Watch) -> str:
    """Why studies of this age are only kept: prefetched priors; empty where it is to be read."""
    age = age_days(studies.study_date(session, study_id), watch.now.date())
    return f"The study is older than {limit} days: kept, not read." if limit is not None and age > limit else ""


def _close_study(session: Session, one: OpenStudy, why: Evidence, watch: Watch, count: Count) -> bool:
    studies.lock(session, one.study_instance_uid)
    jobs.lock(session, one.id)
    grounds = watch.grounds(one, studies.count_images(session, one.id), _gap_of_study(one), count)
    if not studies.close_study(session, one, why, grounds, watch.now):
        return False
    detail: Detail = {"evidence": str(why), "images": grounds.images}
    audit.append(session, Event(EventKind.STUDY_COMPLETE, study_instance_uid=one.study_instance_uid, detail=detail))
    _end(session, one, watch)
    return True


def _end(session: Session, one: OpenStudy, watch: Watch) -> None:
    """Say how a complete study ends, where no job stands that does."""
    if kept := _why_kept(session, one.id, watch):
        if not _is_begun(session, one.id):
            tell_not_analysed(session, one.id, (kept,), watch.now, notice=False)
    elif not _is_told(session, one.id):
        _end_unread(session, one, watch.now)


def _is_begun(session: Session, study_id: int) -> bool:
    """Whether a job stands that ended, or reads the images that are there: only one made for others never would."""
    standing = jobs.current(session, study_id)
    if standing is None:
        return False
    works = standing.kind is JobKind.ANALYSIS and standing.state in (JobState.QUEUED, JobState.RUNNING)
    return not works or _would_read(session, standing)


def _would_read(session: Session, job: jobs.Job) -> bool:
    one = _best(session, job.study_id)
    return one is not None and one.digest == job.digest


def _is_told(session: Session, study_id: int) -> bool:
    """Whether a job stands that says, or will say, what there is to say of a complete study.

    A reading that is out already is not taken back by a conflict: the first version of an image stays the right one.
    """
    standing = jobs.current(session, study_id)
    if standing is None:
        return False
    if standing.kind is JobKind.NOTICE:
        return _notice_stands(session, standing)
    one = _best(session, study_id)
    if one is None or one.digest != standing.digest:
        return False
    return not one.in_conflict or (standing.state is JobState.DONE and not outbox.is_held(session, standing.id))


def _notice_stands(session: Session, notice: jobs.Job) -> bool:
    """Of an analysis that failed: while its images are the ones to read.

    Of a study: under the same demographics, and while all its images name one patient.
    """
    if not notice.digest:
        return True
    if notice.series_id is not None:
        return _would_read(session, notice)
    if notice.digest != studies.subject_digest(session, notice.study_id):
        return False
    return are_of_one_patient(_headers(session, studies.ct_series_ids(session, notice.study_id)))


def _end_unread(session: Session, one: OpenStudy, now: datetime) -> None:
    """Nothing in the study can be read: say why, and tell the PACS where somebody may have waited for a reading."""
    ct_series = studies.ct_series_ids(session, one.id)
    if not ct_series:
        tell_not_analysed(session, one.id, ("There is no CT image in the study.",), now, notice=False)
        return
    headers = _headers(session, ct_series)
    verdicts = studies.verdicts_of_study(session, one.id)
    reasons = dict.fromkeys(reason for series_id in ct_series for reason in verdicts[series_id][1].reasons)
    if (unread := _best(session, one.id)) is not None:  # it could be read otherwise
        reasons = {REMOVED if unread.has_removed else CONFLICT: None}
    notice = are_of_one_patient(headers) and may_be_chest(headers)
    tell_not_analysed(session, one.id, tuple(reasons), now, notice=notice)


def _headers(session: Session, series_ids: Iterable[int]) -> list[InstanceHeader]:
    return [header for series_id in series_ids for header in studies.headers_of_series(session, series_id)]
