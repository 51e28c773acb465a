"""Jobs, and what an operator does with them."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from node.admin.opened import opened, reading
from node.admin.view import View
from node.catalog import audit, control, revisions
from node.catalog import jobs as job_rows
from node.catalog import studies as study_rows
from node.catalog.session import Catalog
from node.domain.audit import Event, EventKind
from node.domain.job import ENDED_WITHOUT_READING, HIGHEST_PRIORITY, LEAST_PRIORITY, JobKind, JobState
from node.errors import CatalogError, SettingsError
from node.settings import Settings

LOOK_EVERY_S = 0.5


def jobs(settings: Settings, state: str) -> View:
    """One row a job."""
    if state and state not in list(JobState):
        raise SettingsError(f"There is no job state {state!r}; there are {', '.join(JobState)}.")
    with reading(settings) as session:
        rows = job_rows.listing(session, state)
    columns = ("id", "study_instance_uid", "revision", "pipeline", "kind", "state", "priority", "stage", "progress",
               "attempts", "outcome", "failure", "failure_text")  # fmt: skip
    return View(rows, columns, rows)


def retry(settings: Settings, job_id: int) -> View:
    """Open a new revision for the study of a dead or cancelled job: the same analysis, or the same notice, again."""
    with opened(settings) as catalog, catalog.writing() as session:
        new = _retry(session, _locked(session, job_id))
    return View({"job": new}, note=f"Job {new} takes the place of job {job_id}.")


def retry_all(settings: Settings) -> View:
    """The same for every dead job, each in its own transaction."""
    taken: dict[int, int] = {}
    waiting = 0
    with opened(settings) as catalog:
        with catalog.reading() as session:
            dead = [*job_rows.dead(session), *job_rows.dead(session, shadow=True)]
        for each in dead:
            with catalog.writing() as session:
                job = _locked(session, each.id)
                if job.state is not JobState.DEAD:  # one that was retried took a dead notice of its study with it
                    continue
                if _hindrance(session, job):
                    waiting += 1
                else:
                    taken[each.id] = _retry(session, job)
    rows = [{"dead": old, "job": new} for old, new in taken.items()]
    left = f" {waiting} cannot be: `nodus retry JOB` says why." if waiting else ""
    return View(rows, ("dead", "job"), rows, note=f"{len(rows)} dead jobs are done again.{left}")


def _locked(session: Session, job_id: int) -> job_rows.Job:
    """A job of a study that nobody else changes in this transaction."""
    job = job_rows.get(session, job_id)
    study_rows.lock(session, job.study_instance_uid)
    job_rows.lock(session, job.study_id)
    return job_rows.get(session, job_id)


def _retry(session: Session, job: job_rows.Job) -> int:
    if job.state not in ENDED_WITHOUT_READING:
        raise CatalogError(f"Job {job.id} is {job.state}, only a dead or cancelled one can be retried.")
    if hindrance := _hindrance(session, job):
        raise CatalogError(hindrance)
    now, uid = datetime.now(UTC), job.study_instance_uid
    new = job_rows.open_again(session, job, now) if job.shadow else _revise(session, job, now)
    audit.append(session, Event(EventKind.JOB_RETRIED, actor="operator", study_instance_uid=uid, job_id=new, at=now))
    return new


def _revise(session: Session, job: job_rows.Job, now: datetime) -> int:
    if job.kind is JobKind.NOTICE:  # a notice leaves dead jobs in sight; this one it replaces
        job_rows.change_state(session, job, JobState.SUPERSEDED)
        uid = job.study_instance_uid
        audit.append(session, Event(EventKind.JOB_SUPERSEDED, study_instance_uid=uid, job_id=job.id, at=now))
    else:
        study_rows.set_outcome(session, job.study_id, "", ())
    return revisions.open_revision(session, _same_again(job), now)


def _hindrance(session: Session, job: job_rows.Job) -> str:
    """Why a job cannot be done again now: its images are gone, or nobody has decided which versions are right."""
    if job.kind is JobKind.NOTICE or job.series_id is None:  # names one image of those that are here
        gone, in_doubt = not study_rows.ct_files_of_study(session, job.study_id, job.series_id), False
    else:
        gone = study_rows.has_removed(session, job.series_id)
        in_doubt = study_rows.has_conflict(session, job.series_id)
    if gone:
        return f"Images of job {job.id} were removed: send the whole series again first."
    settle = "came twice with different content: settle them first, `nodus conflicts`."
    return f"Images that job {job.id} reads {settle}" if in_doubt else ""


def _same_again(job: job_rows.Job) -> revisions.Plan:
    reasons = job.reasons if job.kind is JobKind.NOTICE else ()
    return revisions.Plan(job.study_id, job.kind, job.series_id, job.digest, reasons)


def cancel(settings: Settings, job_id: int) -> View:
    """Stop an analysis that waits or runs; the study ends as not analysed, and the PACS is told.

    What runs in shadow ends alone.
    """
    with opened(settings) as catalog, catalog.writing() as session:
        job = _unfinished(session, job_id, "cancelled")
        if job.kind is JobKind.NOTICE:
            raise CatalogError(f"Job {job_id} only tells why a study was not analysed; that cannot be cancelled.")
        revisions.cancel(session, job, datetime.now(UTC))
    return View({"job": job_id}, note=f"Job {job_id} is cancelled; `nodus retry {job_id}` does it again.")


def prioritise(settings: Settings, job_id: int, priority: int) -> View:
    """Let a job that waits go earlier or later."""
    if not LEAST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        raise SettingsError(f"A priority is a number from {LEAST_PRIORITY} to {HIGHEST_PRIORITY}.")
    with opened(settings) as catalog, catalog.writing() as session:
        job = _unfinished(session, job_id, "prioritised")
        job_rows.prioritise(session, job, priority)
        event = Event(
            EventKind.JOB_PRIORITISED,
            actor="operator",
            study_instance_uid=job.study_instance_uid,
            job_id=job_id,
            detail={"from": job.priority, "to": priority},
        )
        audit.append(session, event)
    return View({"job": job_id, "priority": priority}, note=f"Job {job_id} has priority {priority}.")


def _unfinished(session: Session, job_id: int, done_to: str) -> job_rows.Job:
    job = job_rows.get(session, job_id)
    if job.state not in (JobState.QUEUED, JobState.RUNNING):
        raise CatalogError(f"Job {job_id} is {job.state}, only one that waits or runs can be {done_to}.")
    return job


def drain(settings: Settings, timeout_s: float, tell: Callable[[str], None]) -> View:
    """Let no job begin, and wait until none runs; reception and delivery go on. Well: none runs."""
    with opened(settings) as catalog:
        with catalog.writing() as session:
            control.begin_drain(session, datetime.now(UTC))
        running = _wait_until_none_runs(catalog, time.monotonic() + timeout_s, tell)
    note = "No job runs, and none will begin before `nodus drain --off` or the next start of the node."
    if running:
        note = f"{running} jobs still run; none will begin. Stopping the node gives them back, to be done again."
    return View({"drained": True, "running": running}, note=note, well=not running)


def _wait_until_none_runs(catalog: Catalog, deadline: float, tell: Callable[[str], None]) -> int:
    told = None
    while True:
        time.sleep(LOOK_EVERY_S)  # also before the first look: a claim of this very moment is seen by then
        with catalog.reading() as session:
            running = sum(
                job_rows.count_by_state(session, shadow=shadow).get(JobState.RUNNING, 0) for shadow in (False, True)
            )
        if not running or time.monotonic() > deadline:
            return running
        if running != told:
            tell(f"{running} jobs still run")
        told = running


def end_drain(settings: Settings) -> View:
    """Let jobs begin again."""
    with opened(settings) as catalog, catalog.writing() as session:
        was = control.end_drain(session, "operator", datetime.now(UTC))
        job_rows.unpublish(session)  # messages that came meanwhile were for nothing
    return View({"drained": False}, note="Jobs begin again." if was else "The node was not drained.")
