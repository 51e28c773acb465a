"""Study complete to released: results that were held become due."""

from datetime import datetime

from node.catalog import audit, outbox, studies
from node.catalog.session import Catalog
from node.domain.audit import Event, EventKind


def step(catalog: Catalog, now: datetime) -> bool:
    """Release what may go. True when something was released."""
    with catalog.reading() as session:
        waiting = outbox.jobs_to_release(session)
    released = [_release(catalog, job_id, study_uid, now) for job_id, study_uid in waiting]
    return any(released)


def _release(catalog: Catalog, job_id: int, study_uid: str, now: datetime) -> bool:
    """Let the results of a job go, unless more of its study came since it was looked at."""
    with catalog.writing() as session:
        studies.lock(session, study_uid)
        released = studies.stays_complete(session, study_uid) and outbox.release(session, job_id, now)
        if released:
            audit.append(session, Event(EventKind.RESULTS_RELEASED, study_instance_uid=study_uid, job_id=job_id))
    return released
