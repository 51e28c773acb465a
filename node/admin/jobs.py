"""Jobs, and what an operator does with them."""

from datetime import UTC, datetime

from node.admin.opened import opened, reading
from node.admin.view import View
from node.catalog import audit, revisions
from node.catalog import jobs as job_rows
from node.catalog import studies as study_rows
from node.domain.audit import Event, EventKind
from node.domain.job import JobKind, JobState
from node.errors import CatalogError, SettingsError
from node.settings import Settings


def jobs(settings: Settings, state: str) -> View:
    """One row a job."""
    if state and state not in list(JobState):
        raise SettingsError(f"There is no job state {state!r}; there are {', '.join(JobState)}.")
    with reading(settings) as session:
        rows = job_rows.listing(session, state)
    columns = ("id", "study_instance_uid", "revision", "kind", "state", "stage", "progress", "attempts", "outcome",
               "failure_text")  # fmt: skip
    return View(rows, columns, rows)


def retry(settings: Settings, job_id: int) -> View:
    """Open a new revision for the study of a dead job: the same analysis, or the same notice, again."""
    with opened(settings) as catalog, catalog.writing() as session:
        job, now = job_rows.get(session, job_id), datetime.now(UTC)
        if job.state is not JobState.DEAD:
            raise CatalogError(f"Job {job_id} is {job.state}, only a dead one can be retried.")
        uid = job.study_instance_uid
        if job.kind is JobKind.NOTICE:  # a notice leaves dead jobs in sight; this one it replaces
            job_rows.change_state(session, job, JobState.SUPERSEDED)
            audit.append(session, Event(EventKind.JOB_SUPERSEDED, study_instance_uid=uid, job_id=job.id, at=now))
        else:
            study_rows.set_outcome(session, job.study_id, "", ())
        new = revisions.open_revision(session, _same_again(job), now)
        event = Event(EventKind.JOB_RETRIED, actor="operator", study_instance_uid=uid, job_id=new, at=now)
        audit.append(session, event)
    return View({"job": new}, note=f"Job {new} takes the place of job {job_id}.")


def _same_again(job: job_rows.Job) -> revisions.Plan:
    reasons = job.reasons if job.kind is JobKind.NOTICE else ()
    return revisions.Plan(job.study_id, job.kind, job.series_id, job.digest, reasons)
