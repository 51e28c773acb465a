"""Order to job: a study that is here is read, or read again, because somebody asked for it."""

from datetime import datetime

from sqlalchemy.orm import Session

from node.catalog import audit, jobs, studies, workitems
from node.catalog.revisions import Plan, open_revision
from node.dicom.ups_orders import Order
from node.domain.admins import Caller
from node.domain.audit import Detail, Event, EventKind, EventOutcome
from node.domain.job import JobKind, JobState
from node.domain.procedure_rules import UpsStatus
from node.errors import StepRefused
from node.flow.complete import choose

UNFINISHED = (JobState.QUEUED, JobState.RUNNING)


def order(session: Session, asked: Order, by: Caller, now: datetime) -> str:
    """Open a revision for a study; returns the UID of its step. Raises StepRefused."""
    if asked.uid and workitems.of_uid(session, asked.uid) is not None:
        raise StepRefused(UpsStatus.DUPLICATE, "There is a step of this SOP Instance UID.")
    uid = asked.study_instance_uid
    study_id = studies.id_of(session, uid)
    if study_id is None:
        raise StepRefused(UpsStatus.INVALID_VALUE, "The study is not here: send it first.")
    studies.lock(session, uid)
    jobs.lock(session, study_id)
    series_id, digest = _input(session, study_id)
    job_id = open_revision(session, Plan(study_id, JobKind.ANALYSIS, series_id, digest), now)
    studies.set_outcome(session, study_id, "", ())
    if asked.priority:
        jobs.prioritise(session, jobs.get(session, job_id), asked.priority)
    made = workitems.order(session, job_id, asked.uid, asked.given, by.ae_title)
    detail: Detail = {"sop_instance_uid": made, "priority": asked.priority}
    kind = EventKind.ANALYSIS_ORDERED
    audit.append(session, Event(kind, EventOutcome.SUCCESS, by.ae_title, by.address, uid, job_id, detail, now))
    return made


def _input(session: Session, study_id: int) -> tuple[int, str]:
    """The series to read and the digest of its images. Raises StepRefused."""
    current = jobs.current(session, study_id)
    if current is not None and current.kind is JobKind.ANALYSIS and current.state in UNFINISHED:
        raise StepRefused(UpsStatus.PROCESSING_FAILURE, "The study is being read: see its step.")
    verdicts = studies.verdicts_of_study(session, study_id)
    chosen = choose(verdicts)
    if chosen is None:
        raise StepRefused(UpsStatus.PROCESSING_FAILURE, "No complete series of the study can be read.")
    if studies.has_conflict(session, chosen):
        raise StepRefused(UpsStatus.PROCESSING_FAILURE, "Images came in several versions: settle them first.")
    if studies.has_removed(session, chosen):
        raise StepRefused(UpsStatus.PROCESSING_FAILURE, "Images were removed by retention: send them again.")
    return chosen, verdicts[chosen][1].digest
